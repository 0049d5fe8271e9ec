"""The numbers that the paper prints in its Tables 1, 2 and 4, to set beside one's own."""

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
    """One line of a table of the paper, named as ours are.

    Parameters
    ----------
    table
        Its number in the paper.
    dataset, source, kb, inferer, llm
        As in :class:`~llm4grn.evaluation.scores.summary.Row`.
    printed
        Metric -> mean and standard deviation as printed, so with the paper's digits.
    """

    table: str
    dataset: str
    source: str
    kb: str
    inferer: str
    llm: str
    printed: dict[str, tuple[str, str]]
    # Always model=paper and graph.k=10: said once, below the table, as no row differs from another in them.
    model: str = ""
    graph: str = ""

    @property
    def setting(self) -> str:
        """As of our own rows."""
        return setting_of(self.source, self.kb, self.llm)

    @property
    def mean(self) -> dict[str, float]:
        """Per metric."""
        return {name: float(mean) for name, (mean, _) in self.printed.items()}

    @property
    def std(self) -> dict[str, float]:
        """Per metric: the spread over 4 synthetic sets and 2 seeds (section 5.2)."""
        return {name: float(std) for name, (_, std) in self.printed.items()}


def paper_rows(datasets: Iterable[str]) -> list[PaperRow]:
    """The paper's lines on these data sets, in its order; none for a data set it does not have."""
    wanted = set(datasets)
    return [row for row in _all_rows() if row.dataset in wanted]


@cache
def _all_rows() -> tuple[PaperRow, ...]:
    text = files("llm4grn.evaluation.scores").joinpath("paper_tables.tsv").read_text(encoding="utf-8")
    return tuple(_parse(line) for line in csv.DictReader(text.splitlines(), delimiter="\t"))


def _parse(line: dict[str, str]) -> PaperRow:
    mean_and_std = {name: tuple(line[name].split("±")) for name in METRICS if name in line}
    labels = {name: line[name] for name in ("table", "dataset", "source", "kb", "inferer", "llm")}
    return PaperRow(**labels, printed=mean_and_std)
