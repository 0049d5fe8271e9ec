"""PIDC: the information that two genes share and that no third gene provides."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer
from llm4grn.inference.expression import Expression
from llm4grn.inference.states import States
from llm4grn.validation import check_fields

if TYPE_CHECKING:
    import anndata
    import numpy as np

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class PIDC(Inferer):
    """Partial information decomposition and context (Chan, Stumpf and Babtie, Cell Systems 5:251, 2017).

    The score of two genes is their proportional unique contribution: summed over every third gene, the share of their
    mutual information that the third gene does not provide as well. The scale of the scores differs between genes, so
    the importance is the sum of the score's cumulative probability among the scores of either gene, from 0 to 2. The
    scores are symmetric; the direction of an edge comes from the list of TFs. All genes, not only TFs, are used as
    partners and as third genes.

    Parameters
    ----------
    discretizer
        Discretisation of the expression: ``bayesian_blocks`` (number and width of the bins adapt to the values) or
        ``uniform_width``.
    n_bins
        Number of bins for ``uniform_width``; None takes the square root of the number of cells.
    distribution
        Distribution of a gene's scores: ``gamma``, fitted by maximum likelihood, or ``empirical``.

    Raises
    ------
    UserError
        If a value is invalid.

    Notes
    -----
    Probabilities are relative frequencies (the maximum likelihood estimator). The sum over third genes needs no triple
    loop: the redundancy of two sources is a mean of minima, and one sort per gene and state gives the sums of minima.
    The remaining cost is counting the states of all pairs: (genes expressed in a cell)^2, summed over cells.
    """

    uses_expression: ClassVar[bool] = True

    discretizer: Literal["bayesian_blocks", "uniform_width"] = "bayesian_blocks"
    n_bins: Annotated[int, Field(ge=2)] | None = None
    distribution: Literal["gamma", "empirical"] = "gamma"

    def __post_init__(self) -> None:
        check_fields(self, "inferer")
        if self.n_bins is not None and self.discretizer != "uniform_width":
            raise UserError(
                f"inferer.n_bins={self.n_bins}: only inferer.discretizer=uniform_width has a number of bins"
            )

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Score every pair of genes and rank the pairs of TF and target; ``seed`` is not used.

        Raises
        ------
        UserError
            If fewer than three genes vary.
        """
        from llm4grn.grn import GRN

        expression = Expression.of(adata, tf_names, "PIDC")
        if len(expression.genes) < 3:
            raise UserError(
                f"PIDC needs at least 3 genes whose expression varies, got {len(expression.genes)}; give more"
            )
        states = States.of(expression.matrix, self._cuts)
        _warn_of_single_states(expression.genes[states.first[:-1] == states.first[1:]], len(expression.genes))
        scores = unique_contributions(states)
        confidence = _confidence(scores, self.distribution)[expression.tfs][:, expression.targets]
        provenance = {"method": "pidc", "discretizer": self.discretizer, "distribution": self.distribution}
        return GRN.from_edges(expression.edges(confidence), {**provenance, "cells": adata.n_obs})

    def _cuts(self, values: np.ndarray) -> np.ndarray:
        from llm4grn.inference.states import bayesian_blocks, uniform_cuts

        if self.discretizer == "bayesian_blocks":
            return bayesian_blocks(values)
        return uniform_cuts(values, self.n_bins or max(2, round(len(values) ** 0.5)))


def _warn_of_single_states(genes: np.ndarray, n_genes: int) -> None:
    """Warn about genes with only one state."""
    if len(genes):
        logger.warning(
            "PIDC: %d of %d genes have one state only after discretisation and get no edges, for instance %s",
            *(len(genes), n_genes, genes[0]),
        )


def unique_contributions(states: States) -> np.ndarray:
    """Compute the proportional unique contribution of each pair of genes.

    u(x, y) = sum over z of U(x; y without z) / I(x; y) + U(y; x without z) / I(x; y), where
    U(x; y without z) = I(x; y) - R(x; y, z) and R(x; y, z) = sum over states of x of p(state) min(I(state; y),
    I(state; z)).

    Returns
    -------
    array
        Shape (n_genes, n_genes), symmetric, with diagonal 0; at most 2 (n_genes - 2). A pair without mutual information
        has 0.
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
        informative = mutual > 1e-12  # nats; smaller values are rounding errors
        halves[gene, others] = np.where(informative, n_genes - 2 - redundancy / np.where(informative, mutual, 1), 0)
    return halves + halves.T


def _sums_of_minima(rows: np.ndarray) -> np.ndarray:
    """Compute for each element of each row the sum of min(element, other) over the other elements of the row.

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
    """Sum each score's cumulative probability among the scores of its row and of its column: from 0 to 2.

    A pair without mutual information keeps 0.
    """
    import numpy as np

    cumulative = {"gamma": _gamma, "empirical": _empirical}[distribution]
    probabilities = np.zeros_like(scores)
    for gene, row in enumerate(scores):
        others = np.arange(len(row)) != gene
        probabilities[gene, others] = cumulative(row[others])
    return np.where(scores > 0, probabilities + probabilities.T, 0)


def _empirical(values: np.ndarray) -> np.ndarray:
    """Compute the empirical cumulative distribution function at each value."""
    from scipy.stats import rankdata

    return rankdata(values, method="max") / len(values)


def _gamma(values: np.ndarray) -> np.ndarray:
    """Fit a gamma distribution to the positive values and evaluate its cumulative distribution at each value."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import digamma, gammainc

    positive = values[values > 0]
    spread = np.log(positive.mean()) - np.log(positive).mean() if len(positive) else 0.0
    if spread < 1e-9:  # nearly equal values: the shape parameter would diverge
        return _empirical(values)
    # log(shape) - digamma(shape) lies between 1 / (2 shape) and 1 / shape, which brackets the root.
    shape = brentq(lambda shape: np.log(shape) - digamma(shape) - spread, 0.4 / spread, 1.1 / spread)
    return gammainc(shape, values * shape / positive.mean())
