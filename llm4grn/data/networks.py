"""Random regulatory networks as tables of edges, the ground truth of simulated cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def linear_graph(causes: Sequence[str], effects: Sequence[str], per_effect: int, seed: int) -> pd.DataFrame:
    """Draw ``per_effect`` distinct causes of each effect uniformly, with weights from U(0, 1).

    Returns
    -------
    DataFrame
        Columns ``TF``, ``target``, ``weight``; len(effects) x per_effect rows, grouped by effect.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.choice(len(causes), per_effect, replace=False)) for _ in effects]
    edges = [(causes[i], effect) for effect, of_effect in zip(effects, chosen, strict=True) for i in of_effect]
    return _table(edges, rng.random(len(edges)))


def layered_graph(
    layers: Sequence[Sequence[str]], mean_regulators: float, hub_exponent: float, repressors: float, seed: int
) -> pd.DataFrame:
    """Draw for each gene a few regulators from the layers above its own, some of which regulate many genes.

    Parameters
    ----------
    layers
        Genes of each layer: the roots first, the genes that regulate nothing last.
    mean_regulators
        Mean number of regulators: a gene has 1 + Poisson(mean_regulators - 1), limited to those available.
    hub_exponent
        The i-th regulator in a random order is drawn with a weight of i^-hub_exponent. A regulator that is never drawn
        gets a gene of the last layer, so that every regulator has a target.
    repressors
        Share of the edges with a negative weight.
    seed
        Seed for all draws.

    Returns
    -------
    DataFrame
        Columns ``TF``, ``target``, ``weight``; weights from U(0.5, 1.5) for activators, U(-1, -0.5) for repressors.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    tfs = [gene for layer in layers[:-1] for gene in layer]
    popularity = (1.0 + rng.permutation(len(tfs))) ** -hub_exponent
    regulators = {}
    for depth, layer in enumerate(layers[1:], 1):
        n_above = sum(len(above) for above in layers[:depth])
        for gene in layer:
            n = min(1 + rng.poisson(mean_regulators - 1), n_above)
            regulators[gene] = _draw(popularity[:n_above], n, rng)
    idle = np.setdiff1d(np.arange(len(tfs)), np.concatenate([*regulators.values()]))
    for tf, gene in zip(idle, rng.choice(layers[-1], len(idle)), strict=True):
        regulators[gene] = np.union1d(regulators[gene], [tf])
    edges = [(tfs[i], gene) for gene, of_gene in regulators.items() for i in of_gene]
    represses = rng.random(len(edges)) < repressors
    size = rng.random(len(edges))
    return _table(edges, np.where(represses, -0.5 - 0.5 * size, 0.5 + size))


def _draw(popularity: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(popularity), n, replace=False, p=popularity / popularity.sum())


def _table(edges: Sequence[tuple[str, str]], weights: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(edges, columns=["TF", "target"]).assign(weight=weights)
