"""Tiny data in the exact formats of the real ones, and a loopback HTTP server that can misbehave."""

import gzip
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

SYMBOLS = ["CD3D", "CD8A", "NKG7", "LYZ", "MS4A1", "RGS5", "GNLY"]
CELLS = 12


@pytest.fixture
def counts():
    """12 cells x 7 genes."""
    return np.random.default_rng(0).poisson(1.5, (CELLS, len(SYMBOLS))).astype(np.int64) + np.eye(CELLS, 7, dtype=int)


@pytest.fixture
def write_10x(counts):
    """Write a 10x folder: genes x cells, as Cell Ranger does."""

    def write(folder, symbols=SYMBOLS, matrix=counts, zipped=False, third_column=None):
        folder.mkdir(parents=True)
        buffer = io.BytesIO()
        scipy.io.mmwrite(buffer, sp.coo_matrix(matrix.T), field="integer")
        genes = "".join(
            f"ENSG{i:05d}\t{symbol}" + (f"\t{third_column[i]}" if third_column else "") + "\n"
            for i, symbol in enumerate(symbols)
        )
        files = {
            "matrix.mtx": buffer.getvalue(),
            "features.tsv" if third_column else "genes.tsv": genes.encode(),
            "barcodes.tsv": "".join(f"{barcode}\n" for barcode in barcodes()).encode(),
        }
        for name, content in files.items():
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
        return folder

    return write


def barcodes():
    return [f"{'ACGT'[i % 4]}{'ACGT'[i // 4]}CC-1" for i in range(CELLS)]


def annotation_lines():
    types = ["CD8+ Cytotoxic T", "CD19+ B", "CD56+ NK"]
    return ["barcodes\tcelltype", *(f"{barcode}\t{types[i % 3]}" for i, barcode in enumerate(barcodes()))]


@pytest.fixture
def annotations():
    return "\n".join(annotation_lines()) + "\n"


@pytest.fixture
def tutorial_folder(tmp_path, write_10x, counts, annotations):
    """The tutorial's demo folder, small: 12 x 7 PBMC, 9 x 5 dense float bone marrow."""
    folder = tmp_path / "made" / "demo"
    write_10x(folder / "PBMC")
    (folder / "PBMC" / "barcodes_annotations.tsv").write_text(annotations)
    obs = pd.DataFrame(index=[f"W{i}" for i in range(9)])
    var = pd.DataFrame(index=["Gata1", "Mpo", "Cebpa", "Klf1", "Elane"])
    anndata.AnnData(counts[:9, :5].astype(np.float32), obs=obs, var=var).write_h5ad(folder / "BoneMarrow.h5ad")
    for name in ("Homo_sapiens_TF.csv", "Mus_musculus_TF.csv"):
        (folder / name).write_text("Species\tSymbol\nx\tGATA1\n")
    return folder


@pytest.fixture
def make_tar(tutorial_folder):
    """Pack the demo folder; ``top`` is the folder inside the archive, ``extra`` are more members."""

    def make(top="demo", mode="w", leave_out=(), extra=()):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            for path in sorted(p for p in tutorial_folder.rglob("*") if p.is_file()):
                name = path.relative_to(tutorial_folder).as_posix()
                if name not in leave_out:
                    tar.add(path, f"{top}/{name}" if top else name)
            for name, content in extra:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    return make


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, content = self.server, self.server.content
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.statuses:
            return self._send(server.statuses.pop(0), b"")
        offset = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if asked and server.ranges and offset >= len(content):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers = {"Content-Range": f"bytes {offset}-{len(content) - 1}/{len(content)}"} if offset else {}
        return self._send(206 if offset else 200, content[offset:], headers)

    def _send(self, status, body, headers=()):
        self.send_response(status)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        if self.server.announce_length or not body:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if body and self.server.drops > 0:
            self.server.drops -= 1
            body = body[: self.server.drop_after or len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """A file server on the loopback interface; set its attributes to make it misbehave."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("llm4grn.data.download.BACKOFF_S", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.content, server.requests, server.statuses = b"", [], []
    server.drops, server.drop_after, server.ranges, server.announce_length = 0, None, True, True
    server.url = f"http://127.0.0.1:{server.server_port}/s/download"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
