"""Simulated counts with non-linear regulation in layers, hubs, cell types, and the noise of 10x data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm4grn.data.networks import layered_graph
from llm4grn.data.simulated import Constants, SimulatedSource, names
from llm4grn.errors import UserError
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import Amount, Positive, PositiveFloat, Share, check_fields

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class NonLinear(SimulatedSource):
    """Saturating, combinatorial regulation over a layered random network, with droplet-based measurement noise.

    The TFs form layers; those of the first layer are the roots. A gene of a later layer has a few regulators among the
    TFs of earlier layers, drawn so that few TFs are hubs. In each cell:

    1. the levels of the roots are log-normal around the means of the cell's type;
    2. the level of any other gene is ``(b + sum_a w_a h_a) / (b + sum_a w_a)`` over its activators, times
       ``prod_r (1 - w_r h_r)`` over its repressors, times log-normal noise. ``h`` is the Hill function
       ``x^n / (x^n + K^n)`` of the regulator's level, with K near the median of that level;
    3. levels, times a log-normal factor per gene, are normalised to shares of the cell's transcripts. Counts are
       negative binomial with mean share x library size and log-normal library sizes; this sampling causes most zeros.

    The model is the steady state of common simulators (SERGIO, BoolODE), without their dynamics.

    Parameters
    ----------
    n_genes, n_tfs, n_roots, n_layers
        Number of genes, of TFs among them, of TFs without regulators, and of layers of TFs including the roots.
        ``n_layers=1`` makes the network bipartite.
    mean_regulators
        Mean number of regulators of a gene that has any; the number is 1 + Poisson.
    hub_exponent
        The i-th TF is drawn with a weight of i^-hub_exponent; 0 for no hubs.
    repressors
        Share of the edges that repress.
    n_cell_types
        Number of cell types, of unequal size.
    hill
        Exponent n of the Hill function.
    basal
        Basal level b above, compared with activators' weights of 0.5 to 1.5.
    noise
        Standard deviation of the natural logarithm of the noise of roots and other genes.
    library_size, library_size_sd
        Median counts per cell, and the standard deviation of their natural logarithm.
    gene_sd
        Standard deviation of the natural logarithm of a gene's mean expression.
    dispersion
        Dispersion of the negative binomial: variance = mean + dispersion x mean^2.
    """

    n_cells: Positive = 3000
    n_genes: Annotated[int, Field(ge=2)] = 500
    n_tfs: Positive = 60
    n_roots: Positive = 20
    n_layers: Positive = 3
    mean_regulators: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    hub_exponent: Amount = 0.8
    repressors: Share = 0.3
    n_cell_types: Positive = 6
    hill: PositiveFloat = 2.0
    basal: PositiveFloat = 0.1
    noise: Amount = 0.5
    library_size: PositiveFloat = 300.0
    library_size_sd: Amount = 0.4
    gene_sd: Amount = 1.1
    dispersion: PositiveFloat = 0.1

    def __post_init__(self) -> None:
        check_fields(self, "dataset.source")
        if self.n_tfs >= self.n_genes:
            raise UserError(f"dataset.source.n_tfs={self.n_tfs}: with {self.n_genes} genes no target would be left")
        later = self.n_tfs - self.n_roots
        if later < self.n_layers - 1 or (self.n_layers == 1 and later):
            raise UserError(
                f"dataset.source.n_roots={self.n_roots} of {self.n_tfs} TFs leave {later} for {self.n_layers - 1} "
                "layers below the roots; n_layers=1 needs n_roots equal to n_tfs, any further layer at least one TF"
            )

    @property
    def genes(self) -> list[str]:
        return [*names("TF", self.n_tfs), *names("gene", self.n_genes - self.n_tfs)]

    def layers(self) -> list[list[str]]:
        """Return the genes in the order they are computed: the roots, the TFs of each further layer, all others."""
        import numpy as np

        tfs, others = self.genes[: self.n_tfs], self.genes[self.n_tfs :]
        below = np.array_split(np.array(tfs[self.n_roots :]), self.n_layers - 1) if self.n_layers > 1 else []
        return [tfs[: self.n_roots], *(layer.tolist() for layer in below), others]

    def true_graph(self) -> pd.DataFrame:
        seed = derive_seed(self.seed, "graph")
        return layered_graph(self.layers(), self.mean_regulators, self.hub_exponent, self.repressors, seed)

    def _simulate(
        self, graph: pd.DataFrame, rng: np.random.Generator, constants: Constants, n_cells: int, do: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        shares = constants.of("shares", lambda: rng.dirichlet(np.full(self.n_cell_types, 3.0)))
        types = rng.choice(self.n_cell_types, n_cells, p=shares)
        means = constants.of("means", lambda: rng.lognormal(0, 1, (self.n_cell_types, self.n_roots)))
        levels = self._levels(means[types], graph, rng, constants, do)
        levels *= constants.of(
            "scale", lambda: rng.lognormal(0, self.gene_sd, self.n_genes) / np.maximum(levels.mean(axis=0), 1e-12)
        )
        library = self.library_size * rng.lognormal(0, self.library_size_sd, (n_cells, 1))
        expected = library * levels / levels.sum(axis=1, keepdims=True)
        counts = rng.poisson(rng.gamma(1 / self.dispersion, self.dispersion * expected))
        return counts, np.array([f"type{i}" for i in range(self.n_cell_types)])[types]

    def _levels(
        self,
        roots: np.ndarray,
        graph: pd.DataFrame,
        rng: np.random.Generator,
        constants: Constants,
        do: Mapping[str, float],
    ) -> np.ndarray:
        """Compute the levels (n_cells, n_genes) from the expected levels of the roots (n_cells, n_roots)."""
        import numpy as np

        column = {gene: i for i, gene in enumerate(self.genes)}
        levels = np.empty((len(roots), self.n_genes))
        noise = rng.lognormal(0, self.noise, levels.shape)
        noise *= [do.get(gene, 1.0) for gene in self.genes]
        levels[:, : self.n_roots] = roots * noise[:, : self.n_roots]
        edges = {target: table for target, table in graph.groupby("target", sort=False)}
        for gene in (gene for layer in self.layers()[1:] for gene in layer):
            regulators, weights = levels[:, edges[gene]["TF"].map(column)], edges[gene]["weight"].to_numpy()
            half = constants.of(f"half {gene}", partial(_half_saturation, regulators, rng))
            levels[:, column[gene]] = self._production(regulators, weights, half) * noise[:, column[gene]]
        return levels

    def _production(self, regulators: np.ndarray, weights: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Compute one gene's production (n_cells,) in [0, 1] from its regulators (n_cells, n_regulators)."""
        import numpy as np

        powered = (regulators / np.maximum(half, 1e-12)) ** self.hill
        bound = powered / (1 + powered)
        on, off = weights > 0, weights < 0
        activation = (self.basal + bound[:, on] @ weights[on]) / (self.basal + weights[on].sum())
        return activation * np.prod(1 + bound[:, off] * weights[off], axis=1)


def _half_saturation(regulators: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the level of each regulator (n_cells, n_regulators) at which its effect is half of the largest."""
    import numpy as np

    return np.median(regulators, axis=0) * rng.lognormal(0, 0.3, regulators.shape[1])
