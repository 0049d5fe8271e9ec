"""Curated lists of transcription factors: shipped with the package, or the user's own file."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from llm4grn.data.name_lists import EXPECTED, NameList, read_name_file
from llm4grn.data.names import Matched, match_names, shortened
from llm4grn.data.symbols import ORGANISMS, foreign_symbols, likely_organism
from llm4grn.errors import UserError
from llm4grn.knowledge.base import KnowledgeBase, TFSet

logger = logging.getLogger("llm4grn")

#: Number of names that are not in other case by chance.
_MANY = 5
_FOLDER = Path(__file__).with_name("curated")
# The first list of an organism is its default.
_SHIPPED = {
    "human": {"lambert2018": "human_tfs_lambert2018.txt", "scenic": "human_tfs_scenic_hg38.txt"},
    "mouse": {"scenic": "mouse_tfs_scenic_mm.txt", "grnndata": "mouse_tfs_grnndata.txt"},
}


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
        File with the user's own list, see :func:`~llm4grn.data.name_lists.read_names`. It is read when the object is
        constructed, so that an invalid file is reported before any work is done.
    aliases
        True to match symbols by case and by former symbols and aliases too, see
        :func:`~llm4grn.data.names.match_names`; so is every ``path``. The shipped data sets are matched exactly, as in
        the paper.

    Raises
    ------
    UserError
        If there is no such list, or the file cannot be used.
    """

    organism: str = "human"
    source: str = "default"
    path: str | None = field(default=None, compare=False)  # the key holds the file's content, see fingerprint
    aliases: bool = field(default=False, metadata={"optional": True})

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
    def _file(self) -> NameList:
        if self.path is not None:
            return _read(str(self.path))  # Hydra reads a name of digits as a number
        return _read(_FOLDER / _SHIPPED[self.organism][self.list_name])

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """All symbols of the list, sorted."""
        return tuple(sorted(self._file.names))

    @property
    def _by_alias(self) -> bool:
        return self.aliases or self.path is not None

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the list's symbols, and how they are matched if not exactly."""
        matching = {"matching": "case and aliases"} if self._by_alias else {}
        return {"tf_list": hashlib.sha256("\n".join(self.symbols).encode()).hexdigest(), **matching}

    def match(self, genes: Sequence[str]) -> Matched:
        """Return what becomes of the symbols among the genes of a data set."""
        if self._by_alias:
            return match_names(self.symbols, genes, self.organism)
        known = set(genes)
        found = {symbol: symbol for symbol in self.symbols if symbol in known}
        absent = tuple(symbol for symbol in self.symbols if symbol not in known)
        return Matched(found, absent=absent, n_genes=len(known))

    def report(self, genes: Sequence[str]) -> str:
        """Return one line on what became of the symbols, and of the entries of the user's own file."""
        matched = self.match(genes)
        line = f"{self._label}: {matched.report('TFs')}"
        if len(matched.other_case) == len(matched.genes) >= _MANY:
            line += "; all match in other case only: is this a list of another species?"
        if not self._by_alias:
            more = match_names(self.symbols, genes, self.organism)
            if names := [*more.other_case, *more.other_symbol]:
                pairs = [f"{name} = {more.genes[name]}" for name in names]
                line += f"; {len(names)} more would be by case or former symbols ({shortened(pairs)}; kb.aliases=true)"
        return line if self.path is None else f"{line}; the file has {self._file.report()}"

    def found(self, genes: Sequence[str]) -> set[str]:
        """Return the genes that are on the list, which may be all of them.

        Raises
        ------
        UserError
            If there is none, or the names are those of the other species and match by case only.
        """
        matched = self.match(genes)
        if not matched.genes or _is_of_other_species(matched, genes, self.organism):
            raise UserError(f"no TF among the {len(genes)} genes by {self._label}: {_why_none(genes, self.symbols)}")
        return set(matched.genes.values())

    @property
    def _label(self) -> str:
        if self.path is not None:
            return f"the list {self.path}"
        return f"the {self.organism} list {self.list_name}"

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """Return the genes that are on the list; ``context`` and ``seed`` are not used."""
        tfs = self.found(genes)
        if len(tfs) == len(set(genes)):
            raise UserError(
                f"all {len(tfs)} genes are TFs by {self._label}, so no target is left; use more genes or a narrower "
                "list (kb.path)"
            )
        provenance = {"method": "curated", "organism": self.organism, "list": self.list_name, **self.fingerprint()}
        return TFSet(tuple(tfs), provenance=provenance)


def _is_of_other_species(matched: Matched, genes: Sequence[str], organism: str) -> bool:
    """Return True if names match by case only, because they are those of the other organism, as Gata1 and GATA1."""
    if organism not in ORGANISMS or len(matched.other_case) < len(matched.genes):
        return False
    foreign, n_own = foreign_symbols(genes, organism)
    return len(foreign) > n_own


def curated_list(organism: str) -> CuratedList | None:
    """Return the default shipped list of an organism; None if there is none."""
    return CuratedList(organism) if organism in _SHIPPED else None


def listed(tf_list: str | Path, organism: str | None = None) -> CuratedList:
    """Return a list that is matched by case and former symbols: ``human`` or ``mouse``, the shipped ones, or a file.

    Raises
    ------
    UserError
        If the file cannot be used.
    """
    if str(tf_list) in _SHIPPED and not Path(tf_list).exists():
        return CuratedList(str(tf_list), aliases=True)
    return CuratedList(organism or "", path=str(Path(tf_list).expanduser()))


def tfs_among(genes: Sequence[str], tf_list: str | Path) -> list[str]:
    """Return the genes that are on a list, sorted; one line says what became of its names.

    Parameters
    ----------
    genes
        Genes of a data set, whose organism is recognised by them.
    tf_list
        See :func:`listed`.

    Raises
    ------
    UserError
        If the file cannot be used, no gene is on the list, or its names are those of another species.
    """
    organism = likely_organism(genes)
    tfs = listed(tf_list, organism)
    of_list = likely_organism(tfs.symbols)
    if organism and of_list and organism != of_list:
        raise UserError(
            f"{tf_list}: its names are those of {of_list}, and the genes those of {organism}; give a list of {organism}"
        )
    found = tfs.found(genes)
    logger.info("%s", tfs.report(genes))
    return sorted(found)


def read_symbols(path: str | Path) -> tuple[str, ...]:
    """Read gene symbols from a list or a table, see :func:`~llm4grn.data.name_lists.read_names`; sorted, each once.

    Raises
    ------
    UserError
        If the file is missing, binary, empty, or a table without that column.
    """
    return tuple(sorted(_read(path).names))


def _read(path: str | Path) -> NameList:
    try:
        return read_name_file(path)
    except UserError as error:
        raise UserError(f"kb.path={path}: {error}; {EXPECTED}") from error


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
