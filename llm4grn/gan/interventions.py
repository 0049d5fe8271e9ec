"""Interventions that set or multiply the expression of a gene, for ``do`` of the causal GAN."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm4grn.errors import UserError

_EXPECTED = 'expected a count such as 0 or 12.5, or a multiple such as "3.2x"'


@dataclass(frozen=True)
class Intervention:
    """``do(gene := amount)``, or ``do(gene := amount * its own value in the same cell)``.

    Attributes
    ----------
    gene
        Any gene of the graph, root or target.
    amount
        Counts after scaling to the library size, or a factor.
    is_multiple
        If True, ``amount`` is a factor of the cell's expression of the gene without any intervention.
    """

    gene: str
    amount: float
    is_multiple: bool

    def __str__(self) -> str:
        return f"{self.gene}={self.amount:g}{'x' if self.is_multiple else ''}"


def parse_interventions(do: Mapping[str, object], genes: Sequence[str]) -> tuple[Intervention, ...]:
    """Parse interventions as a user writes them: ``{"SPI1": 0, "GATA3": "3.2x"}``.

    Parameters
    ----------
    do
        Counts by gene, or factors with the suffix ``x``.
    genes
        All genes of the graph.

    Raises
    ------
    UserError
        If ``do`` is empty, a gene is not in the graph, or an amount is not a finite number of at least 0.

    Examples
    --------
    >>> [str(i) for i in parse_interventions({"SPI1": 0, "GATA3": "3.2x"}, ["GATA3", "SPI1"])]
    ['SPI1=0', 'GATA3=3.2x']
    """
    if not do:
        raise UserError('do={}: nothing to do; name genes and amounts, for instance do="{SPI1: 0, GATA3: 3.2x}"')
    unknown = [gene for gene in do if gene not in set(genes)]
    if unknown:
        raise UserError(f"do: {unknown[0]} is not among the {len(genes)} genes of the run; see its graph.json")
    return tuple(_parse(gene, amount) for gene, amount in do.items())


def _parse(gene: str, amount: object) -> Intervention:
    number = re.fullmatch(r"(.+?)\s*(x?)", str(amount).strip())
    try:
        value = float(number[1]) if number and not isinstance(amount, bool) else math.nan
    except ValueError:
        value = math.nan
    if not number or not (math.isfinite(value) and value >= 0):
        raise UserError(f"do: {gene}={amount}: {_EXPECTED}")
    return Intervention(gene, value, number[2] == "x")
