"""The paper's real data: the demo archive of the GRouNdGAN tutorial, downloaded once to ``paths.data``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.data import readers
from llm4grn.data.download import download, unpack
from llm4grn.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

URL = "https://nextcloud.computecanada.ca/index.php/s/WqrCqkH5zjYYMw9/download"
FIELD = "paths.data"
PBMC = {
    "matrix": "PBMC/matrix.mtx",
    "genes": "PBMC/genes.tsv",
    "barcodes": "PBMC/barcodes.tsv",
    "annotations": "PBMC/barcodes_annotations.tsv",
}
BONE_MARROW = ("BoneMarrow.h5ad", "BoneMarrow/BoneMarrow.h5ad")  # two possible locations
TF_TABLES = ("Homo_sapiens_TF.csv", "Mus_musculus_TF.csv")
MEMBERS = ("pbmc", "pbmc_ctl", "bone_marrow")
CTL = "CD8+ Cytotoxic T"


@dataclass(frozen=True)
class TutorialArchive:
    """One data set of the tutorial's archive (section 2 of the protocol).

    Unpacked files in ``folder`` or ``folder/demo`` are used directly. If any is missing, the archive
    ``folder/demo_data.tar``, which is downloaded if necessary, is unpacked to ``folder/demo`` and removed.

    Parameters
    ----------
    folder
        Folder of the files.
    member
        ``pbmc``, ``pbmc_ctl`` (its cytotoxic T cells) or ``bone_marrow``.
    url
        Address of the archive.
    pbmc_shape, bone_marrow_shape
        Required numbers of cells and genes, which are checked because no checksums are published.
    """

    folder: str = field(compare=False)  # the key holds the files' content, see fingerprint
    member: str
    url: str = field(default=URL, compare=False)
    pbmc_shape: tuple[int, int] = (68_579, 32_738)
    bone_marrow_shape: tuple[int, int] = (2_730, 3_451)

    def __post_init__(self) -> None:
        if self.member not in MEMBERS:
            raise UserError(f"dataset.source.member: {self.member!r} is none of {', '.join(MEMBERS)}; choose one")

    def prepare(self) -> None:
        """Download and unpack missing files, then compare the shapes of the files with the published ones."""
        from llm4grn.runtime.locks import KernelLock

        if self._find() is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with KernelLock(self._folder / ".demo_data.lock"):
                    if self._find() is None:
                        self._fetch()
            except OSError as error:
                reason = error.strerror or error
                raise UserError(f"{FIELD}: cannot write {self._folder} ({reason}); choose another folder") from error
        self._verify(self._present())

    def to_download(self) -> str | None:
        """Return the address of the archive if ``prepare`` needs to download it; else None."""
        available = self._find() is not None or (self._folder / "demo_data.tar").exists()
        return None if available else self.url

    def fingerprint(self) -> dict[str, str]:
        return {role: readers.digest(path) for role, path in self._present().items()} | {"member": self.member}

    def load(self) -> AnnData:
        files = self._present()
        if self.member == "bone_marrow":
            adata = readers.read_h5ad(files["counts"], FIELD)
            cell_types = adata.obs.get("cell_type")
            return readers.as_counts(adata, str(files["counts"]), cell_types)
        annotations = files.pop("annotations")
        adata = readers.read_10x(files, annotations, FIELD, FIELD)
        if self.member == "pbmc_ctl":
            chosen = adata.obs["cell_type"] == CTL
            if not chosen.any():
                raise UserError(f"{FIELD}: {annotations} calls no cell {CTL!r}; delete it and run this again")
            adata = adata[chosen].copy()
        return readers.as_counts(adata, str(files["matrix"]), adata.obs["cell_type"])

    @property
    def _folder(self) -> Path:
        return Path(self.folder).expanduser()

    def _find(self) -> dict[str, Path] | None:
        """Return the files of this member by role, if one of the possible folders has all of them; else None."""
        for root in (self._folder, self._folder / "demo"):
            if files := self._files_in(root):
                return files
        return None

    def _files_in(self, root: Path) -> dict[str, Path] | None:
        choices = [{"counts": name} for name in BONE_MARROW] if self.member == "bone_marrow" else [PBMC]
        for choice in choices:
            files = {role: root / name for role, name in choice.items()}
            if all(path.is_file() for path in files.values()):
                return files
        return None

    def _present(self) -> dict[str, Path]:
        files = self._find()
        if files is None:
            raise UserError(f"{FIELD}: {self._folder} lacks {self._expected}; run prepare() first")
        return files

    @property
    def _expected(self) -> str:
        return BONE_MARROW[0] if self.member == "bone_marrow" else ", ".join(PBMC.values())

    def _fetch(self) -> None:
        archive = self._folder / "demo_data.tar"
        fresh = not archive.exists()
        by_hand = f"put {self._expected} into {self._folder.resolve()} by hand, or the archive as {archive.name}"
        download(self.url, archive, by_hand)
        wanted = (*PBMC.values(), *BONE_MARROW, *TF_TABLES)
        try:
            unpack(archive, self._folder / "demo", wanted, self._verify_unpacked)
        except UserError as error:
            if not fresh:
                raise UserError(f"{error}; delete {archive} and run this again to fetch it anew") from error
            archive.unlink()
            raise UserError(f"{self.url} sent something else: {error}; try again later, or {by_hand}") from error
        archive.unlink()

    def _verify_unpacked(self, root: Path) -> None:
        files = self._files_in(root)
        if files is None:
            raise UserError(f"the archive lacks {self._expected}")
        self._verify(files)

    def _verify(self, files: dict[str, Path]) -> None:
        """Raise UserError unless the shapes in the headers of the files are the published ones."""
        if self.member == "bone_marrow":
            readers.check_is_h5ad(files["counts"], FIELD)
            shape, published = readers.h5ad_shape(files["counts"], FIELD), tuple(self.bone_marrow_shape)
            path = files["counts"]
        else:
            genes, cells = readers.mtx_shape(files["matrix"], FIELD)
            shape, published, path = (cells, genes), tuple(self.pbmc_shape), files["matrix"]
            lines = {"genes": published[1], "barcodes": published[0], "annotations": published[0] + 1}
            for role, expected in lines.items():
                if (have := _count_lines(files[role])) != expected:
                    raise UserError(
                        f"{FIELD}: {files[role]} has {have} lines and not {expected}: it is not whole or not the "
                        f"tutorial's; delete it and run this again"
                    )
        if shape != published:
            raise UserError(
                f"{FIELD}: {path} is {shape[0]} cells x {shape[1]} genes and not {published[0]} x {published[1]}: it "
                f"is not whole or not the tutorial's; delete it and run this again"
            )


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
