"""Score a graph against single-gene perturbations of its transcription factors.

The pairs that are scored are those of a perturbed TF and a measured target of the graph: the candidates. A graph
without knowledge would choose any of them as edges.

Percentile
    Share of the candidates of the same TF on which the perturbation of the TF has a smaller effect than on the edge's
    target, in percent; 50 by chance. It compares targets of one TF, so neither the strength of a perturbation nor its
    number of cells matters. Once by Wasserstein distance, once by the p-value of the Mann-Whitney test.
Precision
    Share of the edges with p < 0.05 by the Mann-Whitney test.
Precision at the graph's size
    Share of the n edges that are among the n candidates of smallest p-value, over all TFs.
False omission rate
    Share with p < 0.05 among sampled candidates that the graph omits: those without a directed path from the TF. With
    the mean Wasserstein distance of the edges it is the pair of numbers that CausalBench compares (Chevalley et al.,
    Communications Biology 8, 2025).

Two baselines choose as many targets for each TF as the graph does: *mean effect* chooses the genes that the
perturbations of all other TFs change most, so it knows which genes respond to anything; *no change* expects no effect,
so it chooses at random, and its numbers are expected values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.perturbation_effects import Effects, perturbation_effects
from llm4grn.evaluation.graphs.perturbation_pairs import Pairs, Terms, per_tf, tfs_of
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    from llm4grn.grn.causal_graph import CausalGraph

N_OMISSIONS = 500
_RESAMPLES = 1000
METRICS = (
    "percentile",
    "percentile_mann_whitney",
    "wasserstein",
    "precision",
    "precision_at_size",
    "false_omission_rate",
)
PREDICTORS = ("graph", "mean effect", "no change")


def perturbation_score(
    graphs: CausalGraph | Mapping[str, CausalGraph],
    screen: AnnData,
    *,
    column: str = "perturbation",
    control: str = "control",
    min_cells: int = 20,
    n_omissions: int | None = N_OMISSIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Score graphs against single-gene perturbations of their transcription factors.

    Parameters
    ----------
    graphs
        A graph, for instance ``grn.top(10)``, or several by name.
    screen
        Raw counts of perturbed and control cells, (n_cells, n_genes), of any genes.
    column
        Column of ``obs`` with the symbol of the gene that is perturbed in each cell.
    control
        Entry of that column for cells in which no gene is perturbed.
    min_cells
        Perturbations of fewer cells are skipped.
    n_omissions
        Number of omitted pairs that are drawn for the false omission rate; None for all.
    seed
        Seed for the draws and the bootstrap.

    Returns
    -------
    DataFrame
        Three rows per graph, which is named in ``network``; ``predictor`` is ``graph`` or a baseline with the same
        number of targets per TF, ``mean effect`` or ``no change``. ``TFs`` is the number of perturbed TFs; ``edges`` of
        ``edges_in_graph`` could be scored. The metrics are defined in the module
        :mod:`~llm4grn.evaluation.graphs.perturbation_score`; ``_low`` and ``_high`` are 95 % bootstrap intervals over
        the perturbed TFs, missing with fewer than two. ``attrs["skipped"]`` says what was left out.

    Raises
    ------
    UserError
        If the column or the control cells are missing, no TF of a graph is perturbed, none of its edges can be scored,
        or the matrix does not hold raw counts.

    Examples
    --------
    >>> import llm4grn as lg
    >>> from llm4grn.data.simulated import LinearUniform
    >>> system = LinearUniform(n_cells=100, n_causes=6, n_effects=20, causes_per_effect=2)
    >>> edges = system.true_graph().assign(importance=1.0)
    >>> true = lg.GRN.from_edges(edges).top(2, system.genes, system.genes[:6])
    >>> table = lg.perturbation_score(true, system.screen())
    >>> float(table["percentile"][0]) > 50
    True
    """
    import pandas as pd

    named = graphs if isinstance(graphs, Mapping) else {"graph": graphs}
    if n_omissions is not None and n_omissions < 1:
        raise UserError(f"n_omissions={n_omissions}: expected a whole number, 1 or more, or None")
    regulators = {tf for graph in named.values() for tf in tfs_of(graph)}
    targets = {target for graph in named.values() for target in graph.targets}
    effects = perturbation_effects(
        screen, regulators, targets, column=column, control=control, min_cells=min_cells, seed=seed
    )
    rows = [score_graph(effects, graph, name, n_omissions, seed) for name, graph in named.items()]
    table = pd.concat(rows, ignore_index=True)
    table.attrs["skipped"] = list(effects.skipped)
    return table


def score_graph(
    effects: Effects, graph: CausalGraph, network: str = "graph", n_omissions: int | None = N_OMISSIONS, seed: int = 0
) -> pd.DataFrame:
    """Score one graph against known effects: the three rows of :func:`perturbation_score`.

    Raises
    ------
    UserError
        If no edge of the graph can be scored.
    """
    import numpy as np
    import pandas as pd

    pairs = Pairs.of(effects, graph)
    n_edges = int(pairs.edges.sum())
    if not n_edges:
        raise UserError(
            f"perturbation: none of the {graph.n_edges} edges of {network} can be scored, as no perturbed TF of it has "
            "a measured target; give a screen of its TFs"
        )
    rng = np.random.default_rng(derive_seed(seed, "perturbation", network))
    rows = []
    for predictor in PREDICTORS:
        chosen = {"graph": pairs.edges, "mean effect": pairs.most_responsive}.get(predictor)
        terms = pairs.expected() if chosen is None else pairs.terms(chosen, pairs.strongest(n_edges))
        omitted = pairs.omitted if predictor == "graph" else pairs.candidates & ~(False if chosen is None else chosen)
        if n_omissions is not None and chosen is not None:
            omitted = _sample(omitted, n_omissions, rng)
        terms["false_omission_rate"] = per_tf(pairs.significant, omitted)
        counts = {"TFs": len(pairs.tfs), "edges": n_edges, "edges_in_graph": graph.n_edges}
        rows.append({"network": network, "predictor": predictor, **counts, **_with_intervals(terms, rng)})
    return pd.DataFrame(rows)


def edge_effects(effects: Effects, graph: CausalGraph) -> pd.DataFrame:
    """Return one row per edge that can be scored, the strongest effect of each TF first.

    Returns
    -------
    DataFrame
        ``TF``, ``target``, ``n_cells`` (of the perturbation), ``change`` (of the mean log1p expression),
        ``wasserstein``, ``percentile``, ``p_value`` (Mann-Whitney), ``percentile_mann_whitney``.
    """
    import numpy as np
    import pandas as pd

    pairs = Pairs.of(effects, graph)
    tf, target = np.nonzero(pairs.edges)
    size = dict(zip(effects.tfs, effects.n_cells, strict=True))
    table = pd.DataFrame(
        {
            "TF": np.array(pairs.tfs, dtype=object)[tf],
            "target": np.array(pairs.targets, dtype=object)[target],
            "n_cells": [size[pairs.tfs[i]] for i in tf],
            "change": pairs.change[tf, target],
            "wasserstein": pairs.wasserstein[tf, target],
            "percentile": pairs.percentile[tf, target],
            "p_value": pairs.p_value[tf, target],
            "percentile_mann_whitney": pairs.percentile_mann_whitney[tf, target],
        }
    )
    return table.sort_values(["TF", "percentile", "target"], ascending=[True, False, True], ignore_index=True)


def _sample(mask: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a mask of ``n`` pairs drawn from those of ``mask``, or all if there are fewer."""
    import numpy as np

    inside = np.flatnonzero(mask)
    sample = np.zeros(mask.size, dtype=bool)
    sample[inside if len(inside) <= n else rng.choice(inside, n, replace=False)] = True
    return sample.reshape(mask.shape)


def _with_intervals(terms: Mapping[str, Terms], rng: np.random.Generator) -> dict[str, float]:
    """Return each metric with a 95 % interval from resampled TFs, whose edges share their perturbed cells."""
    import numpy as np

    n_tfs = len(next(iter(terms.values()))[0])
    draws = rng.integers(n_tfs, size=(_RESAMPLES, n_tfs))
    numbers = {}
    for name in METRICS:
        sums, counts = terms[name]
        numbers[name] = float(sums.sum() / counts.sum()) if counts.sum() else float("nan")
        total = counts[draws].sum(axis=1)
        means = sums[draws].sum(axis=1)[total > 0] / total[total > 0]
        enough = (counts > 0).sum() > 1
        low, high = np.quantile(means, [0.025, 0.975]) if enough else (np.nan, np.nan)
        numbers |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return numbers
