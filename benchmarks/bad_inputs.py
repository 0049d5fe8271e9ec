"""Mistakes that a user can make, and what the scripts answer: one line, before any training, without a traceback.

    python -m benchmarks.bad_inputs

runs every case in a temporary folder, prints a table of seconds and messages, and one JSON line last. The same cases
are tests (``tests/test_bad_inputs.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.io
from scipy.sparse import coo_matrix, csr_matrix

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 20.0
TRAINED = ("controller", "causal_gan")  # stages that no bad input may reach

N_CELLS = 60
TFS = ["ATF3", "CEBPB", "FOS", "GATA1", "IRF8", "JUN", "KLF4", "MYC", "PAX5", "RUNX3", "SPI1", "STAT1"]
GENES = TFS + [f"TARGET{i}" for i in range(28)]
BARCODES = [f"CELL{i}-1" for i in range(N_CELLS)]
COUNTS = np.random.default_rng(0).poisson(2.0, (N_CELLS, len(GENES))).astype(np.float32)
NORMALISED = 1e4 * COUNTS / COUNTS.sum(axis=1, keepdims=True)

SPLITS = ("dataset.preprocessing.n_test=10", "dataset.preprocessing.n_validation=10")
SMALL = (*SPLITS, "dataset.preprocessing.n_genes=40", "dataset.preprocessing.min_cells=5")
H5AD = ("dataset=h5ad", "dataset.path=counts.h5ad", *SMALL)
TENX = ("dataset=mtx", "dataset.path=tenx", *SMALL)
CLOSED = "http://127.0.0.1:9/demo_data.tar"  # the discard port, where nothing listens


@dataclass(frozen=True)
class Case:
    """A mistake.

    Parameters
    ----------
    name
        In the table.
    arguments
        What is typed after the script, in a folder that ``make`` has filled.
    says
        What the message must contain: the file or field, and a word of the remedy.
    make
        Writes files into the folder; ``None``: no file is needed.
    script
        ``train.py`` or ``infer_grn.py``.
    status
        Exit status; with 0 it is a warning that must say so.
    """

    name: str
    arguments: Sequence[str]
    says: Sequence[str]
    make: Callable[[Path], None] | None = None
    script: str = "train.py"
    status: int = 2

    @property
    def command(self) -> list[str]:
        """Script and arguments, without a tracker unless the case is about one."""
        logger = ["logger=csv"] if self.script == "train.py" and "logger" not in " ".join(self.arguments) else []
        return [self.script, *self.arguments, *logger]


@dataclass(frozen=True)
class Outcome:
    """What a script did with a case."""

    status: int
    output: str
    errors: str
    seconds: float
    trained: bool

    @property
    def message(self) -> str:
        """The line for the user: the error, or else the warning."""
        lines = [line for line in self.errors.splitlines() if line.startswith("error: ") or "warning: " in line]
        return lines[-1] if lines else ""


# -- files ------------------------------------------------------------------------------------------------------------


def h5ad(counts: object = COUNTS, genes: Sequence[str] = GENES, barcodes: Sequence[str] = BARCODES, **layers: object):
    """Writer of ``counts.h5ad``."""

    def make(folder: Path) -> None:
        shape = counts.shape
        obs, var = pd.DataFrame(index=list(barcodes)[: shape[0]]), pd.DataFrame(index=list(genes)[: shape[1]])
        anndata.AnnData(csr_matrix(counts), obs=obs, var=var, layers=layers).write_h5ad(folder / "counts.h5ad")

    return make


def with_value(value: float) -> np.ndarray:
    """The counts, one of them replaced."""
    counts = COUNTS.copy()
    counts[7, 3] = value
    return counts


def truncated(folder: Path) -> None:
    h5ad()(folder)
    path = folder / "counts.h5ad"
    path.write_bytes(path.read_bytes()[:3000])


def tenx(replace: dict[str, str] | None = None, leave_out: str | None = None):
    """Writer of a 10x folder ``tenx`` with an annotation table beside it, some of its files replaced by a text."""

    def make(path: Path) -> None:
        folder = path / "tenx"
        folder.mkdir()
        scipy.io.mmwrite(folder / "matrix.mtx", coo_matrix(COUNTS.T.astype(int)))
        (folder / "genes.tsv").write_text("".join(f"ENSG{i:011d}\t{gene}\n" for i, gene in enumerate(GENES)))
        (folder / "barcodes.tsv").write_text("\n".join(BARCODES) + "\n")
        for name, text in (replace or {}).items():
            (folder / name).write_text(text)
        if leave_out:
            (folder / leave_out).unlink()

    return make


def file(name: str, content: str | bytes):
    """Writer of one file."""

    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def both(*makers: Callable[[Path], None]):
    """Several writers as one."""

    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make


# -- cases ------------------------------------------------------------------------------------------------------------

MATRICES = [
    Case("negative counts", H5AD, ["counts.h5ad", "CELL7-1", "GATA1", "negative", "raw counts"], h5ad(with_value(-3))),
    Case("NaN", H5AD, ["counts.h5ad", "CELL7-1", "GATA1", "NaN", "repair"], h5ad(with_value(np.nan))),
    Case("infinite value", H5AD, ["counts.h5ad", "CELL7-1", "GATA1", "infinite", "repair"], h5ad(with_value(np.inf))),
    Case("normalised counts", H5AD, ["counts.h5ad", "normalised to 10000", "raw counts"], h5ad(NORMALISED)),
    Case("log-transformed counts", H5AD, ["counts.h5ad", "log1p", "raw counts"], h5ad(np.log1p(NORMALISED))),
    Case(
        "counts in a layer",
        H5AD,
        ["counts.h5ad", "set dataset.layer=raw_counts"],
        h5ad(np.log1p(NORMALISED), raw_counts=csr_matrix(COUNTS)),
    ),
    Case("duplicate gene names", H5AD, ["counts.h5ad", "FOS", "2 times", "rename"], h5ad(genes=["FOS", *GENES[1:]])),
    Case(
        "duplicate barcodes",
        H5AD,
        ["counts.h5ad", "CELL1-1", "2 times", "unique"],
        h5ad(barcodes=["CELL1-1", *BARCODES[1:]]),
    ),
    Case("empty matrix", H5AD, ["counts.h5ad", "empty", "60 cells x 40 genes", "give"], h5ad(0 * COUNTS)),
    Case("no cells", H5AD, ["counts.h5ad", "empty", "0 cells x 40 genes", "give"], h5ad(COUNTS[:0])),
    Case("too few cells for the splits", H5AD[:2], ["n_test=500", "n_validation=500", "60", "lower"], h5ad()),
    Case(
        "fewer genes than asked: goes on",
        [*H5AD[:2], *SPLITS, "inferer=random"],
        ["dataset.preprocessing.n_genes", "1000 asked", "40"],
        h5ad(),
        script="infer_grn.py",
        status=0,
    ),
    Case("genes of a mouse", H5AD, ["no TF", "dataset.organism"], h5ad(genes=[gene.capitalize() for gene in GENES])),
    Case("Ensembl ids", H5AD, ["no TF", "Ensembl", "symbols"], h5ad(genes=[f"ENSG{i:011d}" for i in range(40)])),
    Case("all genes are TFs", H5AD, ["all 12 genes are TFs", "kb.path"], h5ad(COUNTS[:, :12])),
]

FILES = [
    Case("text named .h5ad", H5AD, ["dataset.path", "counts.h5ad", "write_h5ad"], file("counts.h5ad", "gene,cell\n")),
    Case("truncated .h5ad", H5AD, ["dataset.path", "counts.h5ad", "cannot be read", "again"], truncated),
    Case("no such .h5ad", H5AD, ["dataset.path", "counts.h5ad", "no file", "give the path"]),
    Case("folder as .h5ad", [*H5AD[:1], "dataset.path=tenx"], ["dataset.path", "tenx", "dataset=mtx"], tenx()),
    Case("dataset.path not set", H5AD[:1], ["dataset.path", "not set", "add dataset.path="]),
    Case("dataset.path empty", [*H5AD[:1], "dataset.path="], ["dataset.path", "give"]),
    Case("no such layer", [*H5AD, "dataset.layer=spliced"], ["dataset.layer", "counts.h5ad", "spliced"], h5ad()),
    Case("no such column", [*H5AD, "dataset.cell_type_column=kind"], ["dataset.cell_type_column", "kind"], h5ad()),
    Case("10x: no barcodes", TENX, ["dataset.path", "tenx", "barcodes.tsv", "put"], tenx(leave_out="barcodes.tsv")),
    Case("10x: another's barcodes", TENX, ["matrix.mtx", "barcodes.tsv has 2"], tenx({"barcodes.tsv": "A-1\nB-1\n"})),
    Case(
        "10x: no MatrixMarket", TENX, ["dataset.path", "matrix.mtx", "MatrixMarket"], tenx({"matrix.mtx": "a,b\n1,2"})
    ),
    Case("10x: .h5ad given", [*TENX[:1], "dataset.path=counts.h5ad"], ["dataset.path", "dataset=h5ad"], h5ad()),
    Case(
        "annotations without columns",
        [*TENX, "dataset.annotations=types.tsv"],
        ["dataset.annotations", "types.tsv", "needs barcodes and celltype"],
        both(tenx(), file("types.tsv", "cell\ttype\nCELL0-1\tB\n")),
    ),
    Case("no such annotations", [*TENX, "dataset.annotations=types.tsv"], ["dataset.annotations", "types.tsv"], tenx()),
    Case(
        "paper's data without network",
        ["dataset=pbmc", f"+dataset.source.url={CLOSED}"],
        [CLOSED, "PBMC/matrix.mtx", "PBMC/barcodes.tsv", "PBMC/barcodes_annotations.tsv", "data by hand"],
    ),
    Case(
        "paper's archive is garbage",
        ["dataset=bone_marrow"],
        ["demo_data.tar", "not a whole tar archive", "delete"],
        file("data/demo_data.tar", b"\0garbage" * 1000),
    ),
    Case("paths.data in a file", ["dataset=pbmc", "paths.data=f/data"], ["paths.data", "f/data"], file("f", "")),
    Case("paths.store in a file", ["paths.store=f/store"], ["paths.store", "f/store", "writable"], file("f", "")),
    Case("paths.store empty", ["paths.store="], ["paths.store", "expected a folder"]),
    Case("paths.outputs in a file", ["paths.outputs=f/out"], ["paths.outputs", "f/out", "writable"], file("f", "")),
]

LISTS = [
    Case("no such TF list", ["kb.path=tfs.txt"], ["kb.path", "tfs.txt", "expected"]),
    Case("empty TF list", ["kb.path=tfs.txt"], ["kb.path", "tfs.txt", "no symbol", "expected"], file("tfs.txt", "")),
    Case("binary TF list", ["kb.path=tfs.txt"], ["kb.path", "tfs.txt", "text"], file("tfs.txt", bytes(range(256)))),
    Case(
        "TF table without symbols",
        ["kb.path=tf.csv"],
        ["kb.path", "tf.csv", "Symbol"],
        file("tf.csv", "Name,Id\nA,1\n"),
    ),
    Case("TF list named by digits", ["kb.path=2024"], ["kb.path=2024", "expected"]),
    Case("kb.list unknown", ["kb.list=aertslab"], ["kb.list=aertslab", "choose", "lambert2018", "scenic"]),
    Case(
        "kb.list with kb.path",
        ["kb.list=scenic", "kb.path=t.txt"],
        ["kb.list", "kb.path", "only one"],
        file("t.txt", "FOS"),
    ),
    Case("organism unknown", ["dataset.organism=yeast"], ["dataset.organism=yeast", "human and mouse", "kb.path"]),
    Case("kb.n=0", ["kb=random", "kb.n=0"], ["kb.n=0", "at least 1"]),
    Case("kb.n above the genes", [*H5AD, "kb=random", "kb.n=99"], ["kb.n=99", "40 genes", "choose"], h5ad()),
]

OPTIONS = [
    Case("dataset=foo", ["dataset=foo"], ["dataset=foo", "choose one of", "pbmc3k"]),
    Case("inferer=foo", ["inferer=foo"], ["inferer=foo", "choose one of", "grnboost2"], script="infer_grn.py"),
    Case("field unknown", ["grahp.k=3"], ["grahp.k", "no such", "--help"]),
    Case("field unknown, in a group", ["kb.paht=t.txt"], ["kb.paht", "no such", "--help"]),
    Case("field unknown, appended", ["+kb.method.paht=t.txt"], ["paht", "remove"]),
    Case("field missing", ["~dataset.preprocessing.n_test"], ["Preprocessing", "n_test", "add"], script="infer_grn.py"),
    Case("group unknown", ["optimizer=adam"], ["optimizer", "no such", "--help"]),
    Case("no equals sign", ["pbmc3k"], ["pbmc3k", "field=value"]),
    Case("unbalanced bracket", ["evaluation.metrics=[mmd"], ["evaluation.metrics=[mmd", "field=value"]),
    Case("with dashes", ["--seed=3"], ["--seed=3", "without dashes"]),
    Case("text with a comma", ["dataset.context=liver, 10x"], ["dataset.context=liver, 10x", "\"'liver, 10x'\""]),
    Case("sweep without -m", ["seed=1,2"], ["seed=1,2", "one value", "--multirun"]),
]

VALUES = [
    Case("graph.k=0", ["graph.k=0"], ["graph.k=0", "1 or more"]),
    Case("graph.k above the TFs", [*H5AD, "graph.k=13"], ["graph.k=13", "12 TFs", "graph.k=12 or less"], h5ad()),
    Case("strategy unknown", ["graph.strategy=best"], ["graph.strategy=best", "choose one of", "top"]),
    Case("seed negative", ["seed=-1"], ["seed=-1", "0 or more"]),
    Case("seed no number", ["seed=abc"], ["seed=abc", "whole number"], script="infer_grn.py"),
    Case("steps no number", ["model.controller.steps=many"], ["model.controller.steps=many", "whole number"]),
    Case("batch_size=1", ["model.causal_gan.batch_size=1"], ["model.causal_gan.batch_size=1", "at least 2"]),
    Case("no layers", ["model.controller.critic_layers=[]"], ["model.controller.critic_layers=[]", "expected a list"]),
    Case(
        "learning rate negative",
        ["model.causal_gan.generator_lr=[-1,1]"],
        ["model.causal_gan.generator_lr", "positive"],
    ),
    Case("metric unknown", ["evaluation.metrics=[fid]"], ["evaluation.metrics", "fid", "choose", "rf_auroc"]),
    Case("metrics no list", ["evaluation.metrics=rf_auroc"], ["evaluation.metrics", "rf_auroc", "list"]),
    Case("n_samples=0", ["evaluation.n_samples=0"], ["evaluation.n_samples=0", "1 or more"]),
    Case("n_genes=0", ["dataset.preprocessing.n_genes=0"], ["dataset.preprocessing.n_genes", "at least 2"]),
    Case("n_test=0", ["dataset.preprocessing.n_test=0"], ["dataset.preprocessing.n_test", "at least 1"]),
    Case("n_jobs=0", ["inferer.n_jobs=0"], ["inferer.n_jobs=0", "-1 for all cores"], script="infer_grn.py"),
    Case("k_max=0", ["inferer=random", "inferer.k_max=0"], ["inferer.k_max=0", "at least 1"]),
    Case("accelerator unknown", ["trainer.accelerator=abacus"], ["trainer.accelerator=abacus", "choose one of", "cpu"]),
    Case("no GPU here", ["trainer.accelerator=cuda"], ["trainer.accelerator=cuda", "no GPU", "trainer=cpu"]),
    Case("devices=0", ["trainer.devices=0"], ["trainer.devices=0", "1 or more"]),
    Case("tracker's mode unknown", ["logger=wandb", "logger.mode=loud"], ["logger.mode=loud", "choose", "offline"]),
]

ONE_ANSWER = '{"messages": [{"role": "user", "content": "SPI1?"}], "text": "yes"}'
SERVER = ("llm=openai_compatible", "llm.model=m", f"llm.base_url={CLOSED.removesuffix('/demo_data.tar')}/v1")
RECORDED = ("llm=recorded", "llm.path=answers.jsonl")
ASK = ("inferer=llm", "graph.k=3", *H5AD)

LANGUAGE_MODELS = [
    Case("no llm to ask", [*ASK], ["inferer=llm", "llm=gpt4", "llm=local"], h5ad()),
    Case("kb of another llm", ["kb=gpt4", "llm=llama"], ["kb=gpt4", "llm=llama", "use kb=llm"]),
    Case("no key", ["llm=gpt4", *ASK], ["OPENAI_API_KEY", "export it"], h5ad()),
    Case("key in the config", ["llm=gpt4", "llm.api_key_env=sk-123", *ASK], ["llm.api_key_env", "name here"], h5ad()),
    Case("no address", ["llm=llama", *ASK], ["LLAMA_BASE_URL", "not set"], h5ad()),
    Case(
        "address that is none",
        [*SERVER[:2], "llm.base_url=localhost", *ASK],
        ["llm.base_url=localhost", "http"],
        h5ad(),
    ),
    Case("no server", [*SERVER, "llm.max_retries=1", *ASK], ["no answer after 2 attempts", "check the server"], h5ad()),
    Case("prompts missing", [*SERVER, "llm.prompts=mine.yaml", *ASK], ["mine.yaml", "zero_shot"], h5ad()),
    Case(
        "prompts without genes",
        [*SERVER, "llm.prompts=mine.yaml", *ASK],
        ["mine.yaml", "the keys are"],
        both(h5ad(), file("mine.yaml", "system: hello")),
    ),
    Case("recording missing", [*RECORDED, *ASK], ["answers.jsonl", "cannot be read"], h5ad()),
    Case(
        "recording broken", [*RECORDED, *ASK], ["answers.jsonl", "line 1"], both(h5ad(), file("answers.jsonl", "yes"))
    ),
    Case(
        "question not recorded",
        [*RECORDED, *ASK],
        ["answers.jsonl", "TARGET"],
        both(h5ad(), file("answers.jsonl", ONE_ANSWER)),
    ),
    Case("no GGUF", ["llm=local", "llm.path=counts.h5ad", *ASK], ["llm.path=counts.h5ad", "GGUF"], h5ad()),
    Case("max_cost negative", [*SERVER, "llm.max_cost=-1", *ASK], ["llm.max_cost=-1", "0 or more"], h5ad()),
    Case("temperature negative", [*SERVER, "llm.temperature=-1", *ASK], ["llm.temperature=-1", "0 or more"], h5ad()),
    Case("samples alike", [*SERVER, "inferer.n_samples=3", *ASK], ["inferer.n_samples=3", "llm.temperature"], h5ad()),
    Case("windows that stand", ["kb=llm", *SERVER, "kb.overlap=20", *H5AD], ["kb.overlap=20", "kb.window"], h5ad()),
]

CASES = [*MATRICES, *FILES, *LISTS, *OPTIONS, *VALUES, *LANGUAGE_MODELS]


# -- running ----------------------------------------------------------------------------------------------------------


def run(case: Case, folder: Path) -> Outcome:
    """The script as a user starts it, in ``folder``."""
    if case.make:
        case.make(folder)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "LLAMA_BASE_URL")
    }
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(REPOSITORY / case.command[0]), *case.command[1:]]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=3 * LIMIT_S)
    except subprocess.TimeoutExpired:
        return Outcome(-1, "", "", time.perf_counter() - start, has_trained(folder))
    return Outcome(done.returncode, done.stdout, done.stderr, time.perf_counter() - start, has_trained(folder))


def has_trained(folder: Path) -> bool:
    """Whether the store of a script that ran in ``folder`` shows that a training was begun."""
    return any((folder / "outputs" / "store" / stage).exists() for stage in TRAINED)


def problems(case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with the answer to a mistake; nothing, if all is well."""
    n_errors = sum(line.startswith("error: ") for line in outcome.errors.splitlines())
    wrong = {
        f"exit status {outcome.status}, not {case.status}": outcome.status != case.status,
        f"{n_errors} lines of error": n_errors != (case.status != 0),
        "a traceback": "Traceback" in outcome.output + outcome.errors,
        f"{outcome.seconds:.1f} s": outcome.seconds >= LIMIT_S,
        "training had begun": outcome.trained,
    }
    unsaid = [f"no {text!r} in the message" for text in case.says if text not in outcome.message]
    return [what for what, is_wrong in wrong.items() if is_wrong] + unsaid


def main() -> None:
    """Run all cases, or those whose names contain a word of the command line."""
    chosen = [case for case in CASES if all(word in case.name for word in sys.argv[1:])]
    seconds, passed = [], 0
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(case, Path(folder))
        wrong = problems(case, outcome)
        seconds.append(outcome.seconds)
        passed += not wrong
        print(
            f"{'FAILS' if wrong else 'ok':5}  {case.name:30}  {outcome.seconds:5.1f} s  {outcome.message}", flush=True
        )
        for what in wrong:
            print(f"{'':9}{what}")
        if wrong and not outcome.message:
            print(outcome.errors[-2000:])
    print(json.dumps({"cases": len(chosen), "passed": passed, "slowest_seconds": round(max(seconds, default=0), 1)}))
    sys.exit(passed != len(chosen))


if __name__ == "__main__":
    main()
