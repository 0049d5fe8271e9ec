"""The regression score of the benchmark geneRNIB, computed offline (Nourisa et al., bioRxiv 2025.02.25.640181).

For each target gene, a ridge regression (penalty 1) predicts its expression from that of the n best regulators that a
network names. n is the same for all networks: a quantile, over networks, of the number of regulators that they give
the target. A low quantile asks for the surest regulators only (``precision``), a high one for many (``recall``).
Samples are split into five groups; each is predicted by a model that is fitted on the other four. R² is clipped to
[0, 1], and averaged over groups and targets. A target to which a network gives no regulator counts as 0; a target with
n = 0 is left out. Expression is standardised per gene.

As in the benchmark, a network is its 50,000 edges of largest absolute importance. The benchmark's releases differ in
the quantiles (0, 0.1 or 0.25 for precision; 0.75 or 1 for recall): give those of the release that you compare with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.files import MAX_PREDICTED_EDGES
from llm4grn.evaluation.scores.statistics import mean_interval
from llm4grn.grn import GRN
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

QUANTILES = {"precision": 0.25, "balanced": 0.5, "recall": 0.75}
PENALTY = 1.0
N_GROUPS = 5
LIBRARY_SIZE = 10_000
_LEAST_SAMPLES = 10


def regression_score(
    networks: GRN | Mapping[str, GRN],
    samples: AnnData,
    *,
    tf_names: Iterable[str] | None = None,
    layer: str | None = None,
    groups: str | None = None,
    quantiles: Mapping[str, float] = QUANTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Score ranked networks by geneRNIB's regression score.

    Parameters
    ----------
    networks
        A network, or several by name. The number of regulators per target comes from all of them, so scores of
        networks are comparable only if they come from one call.
    samples
        Cells or pseudobulks, (n_samples, n_genes), other than those that the networks were inferred from. ``X`` holds
        counts, of which log1p is taken after normalisation to 10,000 per sample.
    tf_names
        Transcription factors; edges of other genes are left out. None keeps all edges.
    layer
        Layer with expression that is normalised and log-transformed already, instead of ``X``.
    groups
        Column of ``obs``, for instance of donors: samples of one entry are in the same group. None for five groups of
        equal size, drawn by ``seed``.
    quantiles
        Name to quantile.
    seed
        Seed for the groups and the bootstrap.

    Returns
    -------
    DataFrame
        One row per network and quantile: ``network``, ``quantile`` (its name), ``score``, ``low`` and ``high`` (95 %
        bootstrap interval over targets), ``targets`` (number of targets with n > 0), ``answered`` (share of them to
        which the network gives a regulator), ``regulators`` (mean n).

    Raises
    ------
    UserError
        If there is no such layer or column, there are too few samples or groups, or no edge joins two genes of the
        samples.

    Examples
    --------
    >>> import llm4grn as lg
    >>> from llm4grn.data.simulated import LinearUniform
    >>> system = LinearUniform(n_cells=300, n_causes=6, n_effects=9, causes_per_effect=2)
    >>> true = lg.GRN.from_edges(system.true_graph().assign(importance=1.0))
    >>> table = lg.regression_score(true, system.load())
    >>> table[["quantile", "targets", "regulators"]].values.tolist()
    [['precision', 9, 2.0], ['balanced', 9, 2.0], ['recall', 9, 2.0]]
    """
    import numpy as np
    import pandas as pd

    named = networks if isinstance(networks, Mapping) else {"network": networks}
    if wrong := [name for name, theta in quantiles.items() if not 0 <= theta <= 1]:
        raise UserError(f"quantiles: {wrong[0]}={quantiles[wrong[0]]}: expected a number from 0 to 1")
    expression = _expression(samples, layer)
    genes = [str(gene) for gene, spread in zip(samples.var_names, expression.std(axis=0), strict=True) if spread > 0]
    expression = expression[:, samples.var_names.get_indexer(genes)]
    expression = (expression - expression.mean(axis=0)) / expression.std(axis=0)
    ranked = {name: _ranked(network, genes, tf_names) for name, network in named.items()}
    if not any(ranked.values()):
        raise UserError(
            f"networks: no edge joins two of the {len(genes)} genes that vary in the samples (for instance "
            f"{', '.join(genes[:3])}); give samples of the same genes, with the same kind of names"
        )
    folds = list(_folds(samples, groups, seed))
    numbers = pd.DataFrame({name: {gene: len(of.get(gene, ())) for gene in genes} for name, of in ranked.items()})
    rows = []
    for label, theta in quantiles.items():
        wanted = np.quantile(numbers.to_numpy(), theta, axis=1, method="nearest").astype(int)
        n_best = {gene: int(n) for gene, n in zip(genes, wanted, strict=True) if n > 0}
        for name, of in ranked.items():
            chosen = {gene: of.get(gene, ())[:n] for gene, n in n_best.items()}
            scores = _scores(expression, genes, chosen, folds)
            low, high = mean_interval(scores, derive_seed(seed, "regression", name, label))
            rows.append(
                {
                    "network": name,
                    "quantile": label,
                    "score": float(scores.mean()) if len(scores) else float("nan"),
                    "low": low,
                    "high": high,
                    "targets": len(scores),
                    "answered": float(np.mean([bool(tfs) for tfs in chosen.values()])) if chosen else float("nan"),
                    "regulators": float(np.mean([*n_best.values()])) if n_best else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def _expression(samples: AnnData, layer: str | None) -> np.ndarray:
    """Return log expression, (n_samples, n_genes)."""
    import numpy as np
    from scipy.sparse import issparse

    if layer is not None and layer not in samples.layers:
        have = ", ".join(samples.layers) or "none"
        raise UserError(f"layer={layer}: the samples have no such layer (layers: {have})")
    if samples.n_obs < _LEAST_SAMPLES:
        raise UserError(f"samples: {samples.n_obs} are too few; give {_LEAST_SAMPLES} or more")
    matrix = samples.X if layer is None else samples.layers[layer]
    values = np.asarray(matrix.toarray() if issparse(matrix) else matrix, dtype=np.float64)
    if not np.isfinite(values).all() or (layer is None and values.min() < 0):
        raise UserError("samples: X holds negative or missing values; give counts, or layer= with log expression")
    if layer is not None:
        return values
    totals = values.sum(axis=1, keepdims=True)
    return np.log1p(values * (LIBRARY_SIZE / np.where(totals > 0, totals, 1.0)))


def _ranked(network: GRN, genes: Iterable[str], tf_names: Iterable[str] | None) -> dict[str, tuple[str, ...]]:
    """Return the regulators of each target, the largest absolute importance first."""
    known, edges = set(genes), network.edges
    if tf_names is not None:
        edges = edges[edges["TF"].isin(set(tf_names))]
    order = edges["importance"].abs().sort_values(ascending=False, kind="stable").index[:MAX_PREDICTED_EDGES]
    edges = edges.loc[order]
    edges = edges[edges["TF"].isin(known) & edges["target"].isin(known)]
    return {str(target): tuple(tfs) for target, tfs in edges.groupby("target", sort=False)["TF"]}


def _folds(samples: AnnData, groups: str | None, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the samples to fit on and those to predict, for each group."""
    import numpy as np
    from sklearn.model_selection import GroupKFold

    if groups is None:
        members = np.random.default_rng(derive_seed(seed, "regression groups")).permutation(samples.n_obs) % N_GROUPS
    elif groups in samples.obs:
        members = samples.obs[groups].astype(str).to_numpy()
    else:
        have = ", ".join(map(str, samples.obs.columns)) or "none"
        raise UserError(f"groups={groups}: the samples have no such obs column (columns: {have})")
    n_groups = min(N_GROUPS, len(set(members)))
    if n_groups < 2:
        raise UserError(f"groups={groups}: all samples have the same entry, and at least two groups are needed")
    yield from GroupKFold(n_groups).split(members, groups=members)


def _scores(
    expression: np.ndarray,
    genes: list[str],
    chosen: Mapping[str, tuple[str, ...]],
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Return the mean clipped R² of each target over the held-out groups, (n_targets,).

    Products of all regulators are computed once per group, so that a regression is one small linear system.
    """
    import numpy as np
    from scipy.linalg import solve

    place = {gene: i for i, gene in enumerate(genes)}
    tfs = sorted({tf for regulators in chosen.values() for tf in regulators})
    row = {tf: i for i, tf in enumerate(tfs)}
    selected = [[row[tf] for tf in regulators] for regulators in chosen.values()]
    targets = [place[target] for target in chosen]
    scores = []
    for fit, held_out in folds:
        x, y = (expression[:, columns] for columns in ([place[tf] for tf in tfs], targets))
        x_mean, y_mean = x[fit].mean(axis=0), y[fit].mean(axis=0)
        x_fit, y_fit = x[fit] - x_mean, y[fit] - y_mean
        products, moments = x_fit.T @ x_fit, x_fit.T @ y_fit
        predicted = np.tile(y_mean, (len(held_out), 1))
        for j, own in enumerate(selected):
            if own:
                system = products[np.ix_(own, own)] + PENALTY * np.eye(len(own))
                weights = solve(system, moments[own, j], assume_a="pos")
                predicted[:, j] += (x[held_out][:, own] - x_mean[own]) @ weights
        observed = y[held_out]
        total = ((observed - observed.mean(axis=0)) ** 2).sum(axis=0)
        error = ((observed - predicted) ** 2).sum(axis=0)
        r2 = np.where(total > 0, 1 - error / np.where(total > 0, total, 1.0), 0.0)
        scores.append(np.where([bool(own) for own in selected], r2.clip(0, 1), 0.0))
    return np.mean(scores, axis=0)
