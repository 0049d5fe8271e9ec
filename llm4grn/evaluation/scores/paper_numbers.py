"""The numbers of the paper's Tables 1, 2 and 4, for comparison with one's own."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from llm4grn.evaluation.scores.summary import setting_of
from llm4grn.metrics.registry import METRICS


@dataclass(frozen=True)
class PaperRow:
    """One row of a table of the paper, with our names.

    Parameters
    ----------
    table
        Number of the table in the paper.
    dataset, source, kb, inferer, llm
        As in :class:`~llm4grn.evaluation.scores.summary.Row`.
    printed
        Metric to mean and standard deviation as printed, with the paper's digits.
    """

    table: str
    dataset: str
    source: str
    kb: str
    inferer: str
    llm: str
    printed: dict[str, tuple[str, str]]
    # All rows have model=paper and graph.k=10, which a note below the table says; no column is needed.
    model: str = ""
    graph: str = ""

    @property
    def setting(self) -> str:
        """Return the group of the paper's tables, as for our own rows."""
        return setting_of(self.source, self.kb, self.llm)

    @property
    def mean(self) -> dict[str, float]:
        """Return the mean of each metric."""
        return {name: float(mean) for name, (mean, _) in self.printed.items()}

    @property
    def std(self) -> dict[str, float]:
        """Return the standard deviation of each metric over 4 synthetic sets and 2 seeds (section 5.2)."""
        return {name: float(std) for name, (_, std) in self.printed.items()}


def paper_rows(datasets: Iterable[str]) -> list[PaperRow]:
    """Return the paper's rows on these data sets, in its order; none for a data set that it does not have."""
    wanted = set(datasets)
    return [row for row in _all_rows() if row.dataset in wanted]


@cache
def _all_rows() -> tuple[PaperRow, ...]:
    text = files("llm4grn.evaluation.scores").joinpath("paper_tables.tsv").read_text(encoding="utf-8")
    return tuple(_parse(line) for line in csv.DictReader(text.splitlines(), delimiter="\t"))


def _parse(line: dict[str, str]) -> PaperRow:
    printed = {}
    for name in (name for name in METRICS if name in line):
        mean, std = line[name].split("±")
        printed[name] = mean, std
    labels = {name: line[name] for name in ("table", "dataset", "source", "kb", "inferer", "llm")}
    return PaperRow(**labels, printed=printed)
