"""PIDC: the information that two genes share, as far as no third gene has it too."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer
from llm4grn.inference.expression import Expression, require_choice, require_whole
from llm4grn.inference.states import States

if TYPE_CHECKING:
    import anndata
    import numpy as np

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class PIDC(Inferer):
    """Partial information decomposition and context (Chan, Stumpf and Babtie, Cell Systems 5:251, 2017).

    Two genes get their proportional unique contribution: over every third gene, the share of their mutual information
    that the third does not have as well. What that says of a pair depends on the two genes, so the importance is the
    sum of where it stands in the distribution of all scores of the one gene and of all scores of the other: from 0 to
    2. The scores know no direction; the TFs give one. All genes take part as partners and as third genes, not the TFs
    alone.

    Parameters
    ----------
    discretizer
        How expression becomes states: ``bayesian_blocks`` (as many and as wide as the values say) or ``uniform_width``.
    n_bins
        For ``uniform_width``; None takes the square root of the number of cells.
    distribution
        Of a gene's scores: ``gamma``, fitted by maximum likelihood, or ``empirical``.

    Raises
    ------
    UserError
        For impossible values.

    Notes
    -----
    Probabilities are relative frequencies (the maximum likelihood estimator). The sum over third genes needs no triple
    loop: the redundancy of two sources is a mean of minima, and sums of minima come from one sort per gene and state.
    What is left is counting the states of all pairs: (genes expressed in a cell)^2, summed over cells.
    """

    uses_expression: ClassVar[bool] = True

    discretizer: Literal["bayesian_blocks", "uniform_width"] = "bayesian_blocks"
    n_bins: int | None = None
    distribution: Literal["gamma", "empirical"] = "gamma"

    def __post_init__(self) -> None:
        require_choice("discretizer", self.discretizer, ["bayesian_blocks", "uniform_width"])
        require_choice("distribution", self.distribution, ["gamma", "empirical"])
        if self.n_bins is not None:
            require_whole("n_bins", self.n_bins, 2)
            if self.discretizer != "uniform_width":
                raise UserError(
                    f"inferer.n_bins={self.n_bins}: only inferer.discretizer=uniform_width has a number of bins"
                )

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Score every pair of genes, rank those of TF and target; the seed changes nothing.

        Raises
        ------
        UserError
            If fewer than three genes vary: there is no third.
        """
        from llm4grn.grn import GRN

        expression = Expression.of(adata, tf_names, "PIDC")
        if len(expression.genes) < 3:
            raise UserError(
                f"PIDC needs at least 3 genes whose expression varies, got {len(expression.genes)}; give more"
            )
        states = States.of(expression.matrix, self._cuts)
        _report_single(expression.genes[states.first[:-1] == states.first[1:]], len(expression.genes))
        scores = unique_contributions(states)
        confidence = _confidence(scores, self.distribution)[expression.tfs][:, expression.targets]
        provenance = {"method": "pidc", "discretizer": self.discretizer, "distribution": self.distribution}
        return GRN.from_edges(expression.edges(confidence), {**provenance, "cells": adata.n_obs})

    def _cuts(self, values: np.ndarray) -> np.ndarray:
        from llm4grn.inference.states import bayesian_blocks, uniform_cuts

        if self.discretizer == "bayesian_blocks":
            return bayesian_blocks(values)
        return uniform_cuts(values, self.n_bins or max(2, round(len(values) ** 0.5)))


def _report_single(genes: np.ndarray, n_genes: int) -> None:
    if len(genes):
        logger.warning(
            "PIDC: %d of %d genes have one state only after discretisation and get no edges, for instance %s",
            *(len(genes), n_genes, genes[0]),
        )


def unique_contributions(states: States) -> np.ndarray:
    """The proportional unique contribution of each pair of genes: symmetric, (n_genes, n_genes), diagonal 0.

    u(x, y) = sum over z of U(x; y without z) / I(x; y) + U(y; x without z) / I(x; y), where
    U(x; y without z) = I(x; y) - R(x; y, z) and R(x; y, z) = sum over states of x of p(state) min(I(state; y),
    I(state; z)). A pair without mutual information has 0. At most 2 (n_genes - 2).
    """
    import numpy as np

    from llm4grn.runtime.progress import progress

    n_genes = len(states.first) - 1
    halves = np.zeros((n_genes, n_genes))
    bar = progress(states.specific_information(), total=n_genes, desc="PIDC", unit="gene")
    for gene, (information, probability) in enumerate(bar):
        others = np.arange(n_genes) != gene
        specific = information[:, others]
        mutual = probability @ specific
        redundancy = probability @ _sums_of_minima(specific)
        informative = mutual > 1e-12  # nats: less is rounding
        halves[gene, others] = np.where(informative, n_genes - 2 - redundancy / np.where(informative, mutual, 1), 0)
    return halves + halves.T


def _sums_of_minima(rows: np.ndarray) -> np.ndarray:
    """For each element of each row the sum of min(element, other) over the other elements of the row.

    Examples
    --------
    >>> import numpy as np
    >>> _sums_of_minima(np.array([[3.0, 1.0, 2.0]]))
    array([[3., 2., 3.]])
    """
    import numpy as np

    order = np.argsort(rows, axis=1)
    ascending = np.take_along_axis(rows, order, axis=1)
    below = np.cumsum(ascending, axis=1) - ascending
    n_above = np.arange(rows.shape[1] - 1, -1, -1)
    sums = np.empty_like(rows)
    np.put_along_axis(sums, order, below + n_above * ascending, axis=1)
    return sums


def _confidence(scores: np.ndarray, distribution: str) -> np.ndarray:
    """Where each score stands among those of its row, plus where it stands among those of its column: from 0 to 2.

    A pair without mutual information keeps 0.
    """
    import numpy as np

    place = {"gamma": _gamma, "empirical": _empirical}[distribution]
    places = np.zeros_like(scores)
    for gene, row in enumerate(scores):
        others = np.arange(len(row)) != gene
        places[gene, others] = place(row[others])
    return np.where(scores > 0, places + places.T, 0)


def _empirical(values: np.ndarray) -> np.ndarray:
    """The share of the values that are no larger."""
    from scipy.stats import rankdata

    return rankdata(values, method="max") / len(values)


def _gamma(values: np.ndarray) -> np.ndarray:
    """The cumulative distribution at each value of the gamma distribution fitted to those above 0."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import digamma, gammainc

    positive = values[values > 0]
    spread = np.log(positive.mean()) - np.log(positive).mean() if len(positive) else 0.0
    if spread < 1e-9:  # all but equal: no shape would be steep enough
        return _empirical(values)
    # log(shape) - digamma(shape) lies between 1 / (2 shape) and 1 / shape, so the root lies between these ends.
    shape = brentq(lambda shape: np.log(shape) - digamma(shape) - spread, 0.4 / spread, 1.1 / spread)
    return gammainc(shape, values * shape / positive.mean())
