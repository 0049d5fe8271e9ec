"""Curated lists of transcription factors: shipped with the package, or the user's own file."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.knowledge.base import KnowledgeBase, TFSet

_FOLDER = Path(__file__).with_name("curated")
# The first list of an organism is its default.
_SHIPPED = {
    "human": {"lambert2018": "human_tfs_lambert2018.txt", "scenic": "human_tfs_scenic_hg38.txt"},
    "mouse": {"scenic": "mouse_tfs_scenic_mm.txt", "grnndata": "mouse_tfs_grnndata.txt"},
}
_EXPECTED = "expected one gene symbol per line, or a tab- or comma-separated table with a column Symbol (AnimalTFDB)"


@dataclass(frozen=True)
class CuratedList(KnowledgeBase):
    """Transcription factors from a curated list (section 3 of the protocol).

    Parameters
    ----------
    organism
        ``human`` or ``mouse``; any other organism needs ``path``.
    source
        Name of the shipped list: ``default``, for human ``lambert2018`` or ``scenic``, for mouse ``scenic`` or
        ``grnndata``.
    path
        File with the user's own list: one symbol per line, or a table with a column ``Symbol``. It is read when the
        object is constructed, so that an invalid file is reported before any work is done.

    Raises
    ------
    UserError
        If there is no such list, or the file cannot be used.
    """

    organism: str = "human"
    source: str = "default"
    path: str | None = field(default=None, compare=False)  # the key holds the file's content, see fingerprint

    def __post_init__(self) -> None:
        if self.path is None and self.organism not in _SHIPPED:
            raise UserError(
                f"dataset.organism={self.organism}: lists are shipped for {' and '.join(_SHIPPED)} only; "
                "set kb.path to a file with your TFs"
            )
        if self.path is None and self.source not in {"default", *_SHIPPED[self.organism]}:
            choices = ", ".join(["default", *_SHIPPED[self.organism]])
            raise UserError(f"kb.list={self.source}: for {self.organism} choose one of {choices}")
        if self.path is not None and self.source != "default":
            raise UserError(f"kb.list={self.source} and kb.path={self.path}: set only one of the two")
        _ = self.symbols

    @property
    def list_name(self) -> str:
        """Name of the shipped list, or ``file``: results depend on a file's content, not on its name."""
        if self.path is not None:
            return "file"
        return next(iter(_SHIPPED[self.organism])) if self.source == "default" else self.source

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """All symbols of the list, sorted."""
        if self.path is not None:
            return read_symbols(str(self.path))  # Hydra reads a name of digits as a number
        return read_symbols(_FOLDER / _SHIPPED[self.organism][self.list_name])

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the list's symbols."""
        return {"tf_list": hashlib.sha256("\n".join(self.symbols).encode()).hexdigest()}

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """Return the genes that are on the list, matched exactly; ``context`` and ``seed`` are not used."""
        tfs = set(self.symbols) & set(genes)
        label = f"the {self.organism} list {self.path or self.list_name}"
        if not tfs:
            raise UserError(f"no TF among the {len(genes)} genes by {label}: {_why_none(genes, self.symbols)}")
        if len(tfs) == len(set(genes)):
            raise UserError(
                f"all {len(tfs)} genes are TFs by {label}, so no target is left; use more genes or a narrower list "
                "(kb.path)"
            )
        provenance = {"method": "curated", "organism": self.organism, "list": self.list_name, **self.fingerprint()}
        return TFSet(tuple(tfs), provenance=provenance)


def curated_list(organism: str) -> CuratedList | None:
    """Return the default shipped list of an organism; None if there is none."""
    return CuratedList(organism) if organism in _SHIPPED else None


def read_symbols(path: str | Path) -> tuple[str, ...]:
    """Read gene symbols from a plain list or from a table with a column ``Symbol``; sorted, without duplicates.

    Raises
    ------
    UserError
        If the file is missing, binary, empty, or a table without that column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"kb.path={path}: cannot be read ({error.strerror}); {_EXPECTED}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"kb.path={path}: not a text file; {_EXPECTED}") from error
    if "\0" in text:
        raise UserError(f"kb.path={path}: not a text file; {_EXPECTED}")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise UserError(f"kb.path={path}: no symbol in it; {_EXPECTED}")
    symbols = _column(lines, path) if re.search(r"[\t,]", lines[0]) else _plain(lines, path)
    if not symbols:
        raise UserError(f"kb.path={path}: no symbol in it; {_EXPECTED}")
    return tuple(sorted(symbols))


def _column(lines: list[str], path: str | Path) -> set[str]:
    # Tabs first: AnimalTFDB names its tab-separated tables .csv, and their other fields hold commas.
    separator = "\t" if "\t" in lines[0] else ","
    rows = list(csv.reader(lines, delimiter=separator))
    header = [name.strip().lower() for name in rows[0]]
    if "symbol" not in header:
        raise UserError(f"kb.path={path}: no column Symbol among {', '.join(rows[0][:6])}; {_EXPECTED}")
    at = header.index("symbol")
    return {row[at].strip() for row in rows[1:] if len(row) > at} - {""}


def _plain(lines: list[str], path: str | Path) -> set[str]:
    symbols = [line.strip() for line in lines]
    if symbols[0].lower() == "symbol":
        symbols = symbols[1:]
    invalid = next((symbol for symbol in symbols if re.search(r"[\s,;]", symbol)), None)
    if invalid:
        raise UserError(f"kb.path={path}: the line {invalid[:60]!r} is not one gene symbol; {_EXPECTED}")
    return set(symbols)


def _why_none(genes: Sequence[str], symbols: Sequence[str]) -> str:
    """Return the most likely reason why no gene is on the list."""
    if any(re.match(r"ENS[A-Z]*G\d+", gene) for gene in genes):
        return "the genes are Ensembl ids and the list holds symbols; put symbols into the data set's gene names"
    upper = {symbol.upper() for symbol in symbols}
    alike = sum(gene.upper() in upper for gene in genes)
    if alike:
        return (
            f"{alike} would match if upper and lower case were the same, as between human (GATA1) and mouse (Gata1); "
            "check dataset.organism"
        )
    return "set dataset.organism to the organism of the data, or kb.path to a list of its TFs"
