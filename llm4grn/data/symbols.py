"""Approved symbols of human and mouse genes, the former symbols and aliases that stand for them, and Ensembl ids."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("symbol_tables")
#: Organisms with a table, with the prefix of their Ensembl ids.
ORGANISMS = {"human": "ENSG", "mouse": "ENSMUSG"}
_ENSEMBL = re.compile(r"ENS([A-Z]*)G(\d{11})(\.\d+)?(_PAR_Y)?")
_BARCODE = re.compile(r"(.*[^A-Za-z])?[ACGTN]{10,}([^A-Za-z].*)?")
_SAMPLE = 2000  # names are enough to determine of which kind they are


@dataclass(frozen=True, eq=False)
class SymbolTable:
    """The symbols of one organism.

    Parameters
    ----------
    organism
        ``human`` or ``mouse``.
    approved
        Approved symbols.
    former, aliases
        Names in capitals, with the approved symbols that they were, or are informally, used for.
    ensembl
        Number of each Ensembl id, with the approved symbol.
    """

    organism: str
    approved: frozenset[str]
    former: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, tuple[str, ...]]
    ensembl: Mapping[int, str]

    @cached_property
    def _in_capitals(self) -> dict[str, tuple[str, ...]]:
        return _grouped((symbol.upper(), symbol) for symbol in self.approved)

    def candidates(self, name: str) -> tuple[str, ...]:
        """Return the approved symbols that a name can stand for, sorted; several if it is ambiguous, none if unknown.

        An approved symbol stands for itself only, then a former symbol for its genes, then an alias. Upper and lower
        case do not matter. Ensembl ids are known with and without version.

        Examples
        --------
        >>> human = symbol_table("human")
        >>> human.candidates("T"), human.candidates("tbxt"), human.candidates("ENSG00000102145.15")
        (('TBXT',), ('TBXT',), ('GATA1',))
        """
        if name in self.approved:
            return (name,)
        if name.isdecimal():  # a number of Entrez or of a row, though some are listed as aliases
            return ()
        if match := _ENSEMBL.fullmatch(name):
            symbol = self.ensembl.get(int(match[2])) if f"ENS{match[1]}G" == ORGANISMS[self.organism] else None
            return () if symbol is None else (symbol,)
        capitals = name.upper()
        for names in self._in_capitals, self.former, self.aliases:
            if capitals in names:
                return names[capitals]
        return ()


@lru_cache
def symbol_table(organism: str | None) -> SymbolTable | None:
    """Return the table of an organism; None if none is shipped for it."""
    if organism not in ORGANISMS:
        return None
    text = gzip.decompress((_FOLDER / f"{organism}.tsv.gz").read_bytes()).decode()
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return SymbolTable(
        organism,
        frozenset(row[0] for row in rows),
        _grouped((name.upper(), row[0]) for row in rows if row[2] for name in row[2].split("|")),
        _grouped((name.upper(), row[0]) for row in rows if row[3] for name in row[3].split("|")),
        {int(row[1]): row[0] for row in rows if row[1]},
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for name, symbol in pairs:
        others = groups.get(name)
        if others is None:
            groups[name] = (symbol,)
        elif symbol not in others:
            groups[name] = tuple(sorted((*others, symbol)))
    return groups


def are_ensembl_ids(names: Sequence[str]) -> bool:
    """Return True if most names are Ensembl ids of genes."""
    return _share(names, lambda name: _ENSEMBL.fullmatch(name) is not None) > 0.5


def are_barcodes(names: Sequence[str]) -> bool:
    """Return True if most names are barcodes of cells: ten or more bases, with or without a sample's prefix or suffix.

    Examples
    --------
    >>> are_barcodes(["AAACATACAACCAC-1", "sample1_AAACGCACTGGTAC"]), are_barcodes(["ACTB", "GATA1"])
    (True, False)
    """
    return _share(names, lambda name: _BARCODE.fullmatch(name) is not None) > 0.5


def share_known(names: Sequence[str]) -> float:
    """Return the share of names that are symbols or Ensembl ids of human or mouse genes."""
    tables = [table for organism in ORGANISMS if (table := symbol_table(organism)) is not None]
    return _share(names, lambda name: any(table.candidates(name) for table in tables))


def foreign_symbols(names: Iterable[str], organism: str) -> tuple[list[str], int]:
    """Return the names that are approved in the other organism only, and how many are approved in this one.

    Examples
    --------
    >>> foreign_symbols(["Gata1", "Actb", "EGFP", "MAPT"], "mouse")
    (['MAPT'], 2)
    """
    own = symbol_table(organism)
    other = symbol_table(next(name for name in ORGANISMS if name != organism))
    assert own is not None
    assert other is not None
    names = list(names)
    return [n for n in names if n in other.approved and n not in own.approved], sum(n in own.approved for n in names)


def likely_organism(names: Sequence[str]) -> str | None:
    """Return the organism of which most names are approved symbols; None if few are.

    Examples
    --------
    >>> likely_organism(["Gata1", "Actb", "EGFP"]), likely_organism(["GATA1", "x"]), likely_organism(["tbx16", "her1"])
    ('mouse', 'human', None)
    """
    tables = [table for organism in ORGANISMS if (table := symbol_table(organism)) is not None]
    shares = {table.organism: _share(names, table.approved.__contains__) for table in tables}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] > 0.2 else None


def _share(names: Sequence[str], test: Callable[[str], bool]) -> float:
    some = names[:: max(len(names) // _SAMPLE, 1)]
    return sum(map(test, some)) / len(some) if len(some) else 0.0
