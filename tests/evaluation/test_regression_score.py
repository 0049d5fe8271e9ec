"""geneRNIB's regression score against another implementation, of scikit-learn's pieces and loops."""

import anndata
import numpy as np
import pandas as pd
import pytest
from graph_folders import column, texts, write_folder
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold

import llm4grn as lg
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs import regression_score as module
from llm4grn.evaluation.graphs.regression_table import regression_table
from llm4grn.evaluation.graphs.runs import read_graph_runs

TFS, TARGETS = [f"TF{i}" for i in range(6)], [f"gene{i}" for i in range(9)]


@pytest.fixture(scope="module")
def samples():
    """Expression in which the i-th gene follows TFs i and i + 1, of eight donors."""
    rng = np.random.default_rng(0)
    tfs = rng.normal(size=(64, 6))
    targets = [tfs[:, i % 6] + 0.5 * tfs[:, (i + 1) % 6] + rng.normal(size=64) for i in range(9)]
    log = np.column_stack([tfs, *targets]) * np.linspace(0.5, 3, 15) + 4
    adata = anndata.AnnData(np.expm1(np.abs(log)), layers={"log": log})
    adata.var_names = [*TFS, *TARGETS]
    adata.obs["donor"] = rng.integers(8, size=64).astype(str)
    return adata


def network(seed: int, share: float, signal: float = 0.0) -> lg.GRN:
    """Random edges, of which those that are true may have a larger weight; some weights are negative."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, target in enumerate(TARGETS):
        for j, tf in enumerate(TFS):
            if rng.random() < share:
                weight = rng.uniform(0.1, 1) + signal * (j in (i % 6, (i + 1) % 6))
                rows.append((tf, target, weight * rng.choice([-1, 1])))
    return lg.GRN.from_edges(pd.DataFrame(rows, columns=["TF", "target", "importance"]))


NETWORKS = {"good": network(1, 0.8, 2.0), "sparse": network(2, 0.2), "poor": network(3, 0.6), "poor2": network(4, 0.5)}


def independent(networks, samples, theta: float) -> dict[str, float]:
    """The definition, one target and one group at a time."""
    log = samples.to_df("log")
    log = (log - log.mean()) / log.std(ddof=0)
    sums = {name: [] for name in networks}
    for target in log.columns:
        lists = {}
        for name, grn in networks.items():
            own = grn.edges[grn.edges["target"] == target]
            lists[name] = own.iloc[np.argsort(-own["importance"].abs().to_numpy())]["TF"].tolist()
        n = int(pd.Series([len(tfs) for tfs in lists.values()]).quantile(theta, interpolation="nearest"))
        if n == 0:
            continue
        for name, tfs in lists.items():
            values = []
            for fit, held_out in GroupKFold(5).split(log, groups=samples.obs["donor"]):
                if not tfs:
                    values.append(0.0)
                    continue
                x, y = log[tfs[:n]].to_numpy(), log[target].to_numpy()
                predicted = Ridge(alpha=1.0).fit(x[fit], y[fit]).predict(x[held_out])
                values.append(min(1.0, max(0.0, r2_score(y[held_out], predicted))))
            sums[name].append(np.mean(values))
    return {name: np.mean(of) for name, of in sums.items()}


@pytest.mark.parametrize("theta", [0.0, 0.3, 0.75, 1.0])
def test_as_another_implementation(samples, theta):
    table = lg.regression_score(NETWORKS, samples, layer="log", groups="donor", quantiles={"one": theta})
    expected = independent(NETWORKS, samples, theta)
    assert dict(zip(table["network"], table["score"], strict=True)) == pytest.approx(expected)
    assert table["score"].nunique() > 2
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()


def test_counts_are_normalised_and_logged_and_groups_drawn(samples):
    logged = samples.copy()
    totals = samples.X.sum(axis=1, keepdims=True)
    logged.layers["again"] = np.log1p(samples.X / totals * 1e4)
    table = lg.regression_score(NETWORKS, samples, seed=3)
    pd.testing.assert_frame_equal(table, lg.regression_score(NETWORKS, logged, layer="again", seed=3))
    assert not table.equals(lg.regression_score(NETWORKS, samples, seed=4))
    assert list(table["quantile"][:4]) == ["precision"] * 4
    assert table.groupby("quantile")["regulators"].first()[["precision", "balanced", "recall"]].is_monotonic_increasing


def test_true_regulators_are_better_and_missing_targets_cost(samples):
    table = lg.regression_score(NETWORKS, samples, layer="log").pivot(
        index="network", columns="quantile", values="score"
    )
    assert (table.loc["good"] > table.loc["poor"]).all()
    edges = NETWORKS["good"].edges
    half = {"all": NETWORKS["good"], "half": lg.GRN.from_edges(edges[edges["target"].isin(TARGETS[:4])])}
    both = lg.regression_score(half, samples, layer="log", quantiles={"most": 1.0}).set_index("network")
    assert both.loc["half", "answered"] == pytest.approx(4 / 9)
    assert both.loc["half", "score"] < both.loc["all", "score"]
    assert set(both["targets"]) == {9}


def test_only_the_strongest_edges_of_tfs_count(samples, monkeypatch):
    chosen = lg.regression_score(NETWORKS["good"], samples, layer="log", tf_names=TFS[:3])
    left = NETWORKS["good"].edges
    only = lg.GRN.from_edges(left[left["TF"].isin(TFS[:3])])
    pd.testing.assert_frame_equal(chosen, lg.regression_score(only, samples, layer="log"))
    monkeypatch.setattr(module, "MAX_PREDICTED_EDGES", 5)
    few = lg.regression_score(NETWORKS["good"], samples, layer="log", quantiles={"most": 1.0})
    strongest = left.loc[left["importance"].abs().nlargest(5).index]
    assert few["targets"][0] == strongest["target"].nunique()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer": "X_norm"}, r"layer=X_norm: .*layers: log"),
        ({"groups": "batch"}, r"groups=batch: .*columns: donor"),
        ({"quantiles": {"much": 2}}, "much=2: expected a number from 0 to 1"),
    ],
)
def test_wrong_arguments(samples, arguments, words):
    with pytest.raises(UserError, match=words):
        lg.regression_score(NETWORKS, samples, **arguments)


def test_samples_that_cannot_score(samples):
    with pytest.raises(UserError, match="9 are too few"):
        lg.regression_score(NETWORKS, samples[:9])
    other = samples.copy()
    other.var_names = [f"ENSG{i}" for i in range(15)]
    with pytest.raises(UserError, match="no edge joins two of the 15 genes"):
        lg.regression_score(NETWORKS, other)
    alone = samples.copy()
    alone.obs["donor"] = "a"
    with pytest.raises(UserError, match="at least two groups"):
        lg.regression_score(NETWORKS, alone, groups="donor")
    with pytest.raises(UserError, match="negative or missing"):
        lg.regression_score(NETWORKS, anndata.AnnData(-samples.X, var=samples.var))


def test_table_of_the_runs_that_have_test_cells(samples, tmp_path):
    graph = {target: TFS[:2] for target in TARGETS}
    folders = []
    for name, seed in (("good", 1), ("good", 2), ("poor", 1)):
        edges = NETWORKS[name].edges
        folders.append(
            write_folder(tmp_path / f"{name}{seed}", [*TFS, *TARGETS], graph, inferer=name, seed=seed, ranked=edges)
        )
    assert regression_table(read_graph_runs(folders)) is None
    cells = anndata.AnnData(samples.X, var=samples.var)
    for folder in folders:
        cells.write_h5ad(folder / "test.h5ad")
    table = regression_table(read_graph_runs(folders))
    assert [row[2] for row in texts(table)] == ["good", "poor"]
    pair = lg.regression_score({"good": NETWORKS["good"], "poor": NETWORKS["poor"]}, cells)
    alone = lg.regression_score(NETWORKS["good"], cells)
    expected = {label: own["score"].to_numpy() for label, own in pair.groupby("quantile")}
    for label, heading in {"precision": "Precision", "recall": "Recall"}.items():
        good, poor = expected[label]
        second = alone.set_index("quantile").loc[label, "score"]
        assert column(table, heading) == pytest.approx([(good + second) / 2, poor])
