"""Match names of genes between a list and a data set, and recognise names that something has spoilt."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llm4grn.data.symbols import ORGANISMS, SymbolTable, foreign_symbols, symbol_table

_SHOWN = 5
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)"
#: What spreadsheets make of MARCH1, SEPT2, DEC1 and their like: 1-Mar, Sep-02, 2-sept, 2023-03-01, 01/03/2023.
_DATE = re.compile(
    rf"\d{{1,2}}[-/. ]{_MONTH}[a-z]*(?:[-/. ]\d{{2,4}})?|{_MONTH}[-/. ]\d{{1,4}}|\d{{4}}-\d{{2}}-\d{{2}}(?: 00:00:00)?"
    r"|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"(GRCh\d+|GRCm\d+|hg\d+|mm\d+|hs|human|mouse)_+(?=.)", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+)[-.](\d+)")


@dataclass(frozen=True)
class Matched:
    """What became of the names of a list among the genes of a data set.

    Every given name is in exactly one of ``genes``, ``ambiguous`` and ``absent``.

    Parameters
    ----------
    genes
        Name of the list to gene of the data set.
    other_case, other_symbol
        Names of ``genes`` that differ from their gene in case, or are another symbol of it.
    ambiguous
        Name to the genes that it could be; none of them is used.
    absent
        Names of no gene.
    n_genes
        Number of genes in the data set.
    """

    genes: Mapping[str, str]
    other_case: tuple[str, ...] = ()
    other_symbol: tuple[str, ...] = ()
    ambiguous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    n_genes: int = 0

    @property
    def n_given(self) -> int:
        """Number of different names that were given."""
        return len(self.genes) + len(self.ambiguous) + len(self.absent)

    def report(self, what: str) -> str:
        """Return one line that accounts for every given name.

        Parameters
        ----------
        what
            What the names are, for instance ``TFs``.

        Examples
        --------
        >>> match_names(["GATA1", "T", "SPI1"], ["gata1", "TBXT", "ACTB"], "human").report("TFs")
        '2 TFs found, 1 of them in other case (GATA1 = gata1), 1 of them by other symbols (T = TBXT); 2 of 3 \
listed names are among the 3 genes'
        """
        found = len(set(self.genes.values()))
        text = f"{found} {what} found"
        for names, how in (self.other_case, "in other case"), (self.other_symbol, "by other symbols"):
            if names:
                pairs = [f"{name} = {self.genes[name]}" for name in names]
                text += f", {len(names)} of them {how} ({shortened(pairs)})"
        if self.ambiguous:
            pairs = [f"{name} could be {' or '.join(genes[:3])}" for name, genes in self.ambiguous.items()]
            text += f"; {len(pairs)} ambiguous and not used ({shortened(pairs)})"
        dates = [name for name in self.absent if is_date(name)]
        if dates:
            text += f"; {len(dates)} are dates that a spreadsheet made of symbols ({shortened(dates)}): restore them"
        return f"{text}; {len(self.genes)} of {self.n_given} listed names are among the {self.n_genes} genes"


def match_names(given: Iterable[str], genes: Sequence[str], organism: str | None = None) -> Matched:
    """Match names to genes: by exact name, then by case, then by the approved symbol that both stand for.

    Parameters
    ----------
    given
        Names, for instance of a list of TFs; repeated ones count once.
    genes
        Genes of the data set.
    organism
        ``human`` or ``mouse``, which have a table of symbols; names of any other are matched by name and case only.

    Examples
    --------
    >>> match_names(["MARCH1", "Actb"], ["MARCHF1", "ACTB", "actb"], "human").ambiguous
    {'Actb': ('ACTB', 'actb')}
    """
    names, known = list(dict.fromkeys(given)), set(genes)
    by_case = defaultdict(list)
    for gene in genes:
        by_case[gene.casefold()].append(gene)
    found: dict[str, str] = {name: name for name in names if name in known}
    ambiguous: dict[str, tuple[str, ...]] = {}
    other_case, left = [], []
    for name in names:
        alike = by_case.get(name.casefold(), [])
        if name in found:
            continue
        if len(alike) == 1:
            found[name] = alike[0]
            other_case.append(name)
        elif alike:
            ambiguous[name] = tuple(sorted(alike))
        else:
            left.append(name)
    table = symbol_table(organism) if left else None
    other_symbol, absent = ([], left) if table is None else _by_symbol(left, genes, table, found, ambiguous)
    return Matched(found, tuple(other_case), tuple(other_symbol), ambiguous, tuple(absent), len(known))


def _by_symbol(
    names: Sequence[str],
    genes: Sequence[str],
    table: SymbolTable,
    found: dict[str, str],
    ambiguous: dict[str, tuple[str, ...]],
) -> tuple[list[str], list[str]]:
    """Add to ``found`` and ``ambiguous``, and return the names matched by symbol and the absent ones."""
    of_symbol: dict[str, list[tuple[str, bool]]] = defaultdict(list)  # symbol: genes, and whether they are surely it
    for gene in genes:
        stands_for = table.candidates(gene)
        for symbol in stands_for:
            of_symbol[symbol].append((gene, len(stands_for) == 1))
    matched, absent = [], []
    for name in names:
        symbols = table.candidates(name)
        hits = {gene: sure and len(symbols) == 1 for symbol in symbols for gene, sure in of_symbol.get(symbol, ())}
        if not hits:
            absent.append(name)
        elif len(hits) == 1 and all(hits.values()):
            found[name] = next(iter(hits))
            matched.append(name)
        else:
            ambiguous[name] = tuple(sorted(hits))
    return matched, absent


def is_date(name: str) -> bool:
    """Return True for what a spreadsheet makes of a symbol such as MARCH1.

    Examples
    --------
    >>> [is_date(name) for name in ("1-Mar", "Sep-02", "2023-03-01 00:00:00", "DEC1", "MAR1")]
    [True, True, True, False, False]
    """
    return _DATE.fullmatch(name) is not None


def common_prefix(names: Sequence[str]) -> dict[str, int]:
    """Return the prefixes of genomes, such as ``GRCh38_``, that most names carry, with their numbers; else nothing.

    Examples
    --------
    >>> common_prefix(["GRCh38_GATA1", "GRCh38_ACTB"]), common_prefix(["GATA1", "mm10_x"])
    ({'GRCh38_': 2}, {})
    """
    found = Counter(match[0] for name in names if (match := _PREFIX.match(name)))
    return dict(found) if found.total() > 0.9 * len(names) else {}


def warnings_about(genes: Sequence[str], organism: str | None) -> list[str]:
    """Return what is odd about the genes of a data set, each with its remedy: dates, made-up suffixes, other species.

    Parameters
    ----------
    genes
        Names of all genes.
    organism
        Organism of the data set; names of other species are only recognised for ``human`` and ``mouse``.
    """
    lines, known = [], set(genes)
    if dates := [gene for gene in genes if is_date(gene)]:
        lines.append(
            f"{len(dates)} genes are named by dates that a spreadsheet made of symbols ({shortened(dates)}): take the "
            "names from the original file, as these match no list"
        )
    numbered = [gene for gene in genes if (match := _NUMBERED.fullmatch(gene)) and match[1] in known]
    if numbered:
        lines.append(
            f"{len(numbered)} genes have a symbol that occurs before with a number appended ({shortened(numbered)}): "
            "they are used as genes of their own and match no list; sum or drop the duplicates if you need them"
        )
    if organism in ORGANISMS:
        other = next(name for name in ORGANISMS if name != organism)
        foreign, n_own = foreign_symbols(genes, organism)
        if foreign and n_own > len(foreign):
            lines.append(
                f"{len(foreign)} genes have symbols of {other} ({shortened(foreign)}): transgenes, or a mixture of "
                f"species; they stay as genes, and drop them if they are not wanted (dataset.organism={organism})"
            )
        elif len(foreign) > max(n_own, 1):
            lines.append(
                f"{len(foreign)} of {len(genes)} genes have symbols of {other} ({shortened(foreign)}) and {n_own} of "
                f"{organism}: check dataset.organism={organism}"
            )
    return lines


def shortened(names: Sequence[str], limit: int = _SHOWN) -> str:
    """Join the first names and add the number of the others."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
