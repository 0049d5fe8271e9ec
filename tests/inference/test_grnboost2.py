"""GRNBoost2 finds the drivers with either engine, whatever the order of the genes."""

import warnings
from statistics import stdev

import numpy as np
import pandas as pd
import pytest
from cells import GENES, TFS, driven_cells, regulators, shuffled

from llm4grn.errors import UserError
from llm4grn.inference import grnboost2
from llm4grn.inference.grnboost2 import GRNBoost2, combine, expected_jaccard
from llm4grn.runtime.seeding import derive_seed

ENGINES = ["native", "arboreto"]


@pytest.fixture(scope="module")
def adata():
    return driven_cells()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def grn(adata, engine):
    return GRNBoost2(n_jobs=1, engine=engine).infer(adata, TFS, 7)


def test_it_finds_what_drives_the_targets(grn):
    assert regulators(grn, "t1", 1) == {"A"}
    assert regulators(grn, "t2", 2) == {"B", "C"}
    assert set(grn.edges["TF"]) <= set(TFS)


@pytest.mark.slow
def test_order_density_and_number_of_jobs_change_nothing_but_the_seed_does(adata, grn, engine, tmp_path):
    grn.write(tmp_path / "one.tsv")
    GRNBoost2(n_jobs=2, engine=engine).infer(shuffled(adata), TFS[::-1], 7).write(tmp_path / "two.tsv")
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert not GRNBoost2(n_jobs=1, engine=engine).infer(adata, TFS, 8).edges.equals(grn.edges)


def test_a_constant_gene_gets_no_edges_and_a_warning(adata, engine, caplog):
    with caplog.at_level("WARNING", logger="llm4grn"):
        grn = GRNBoost2(n_jobs=1, engine=engine).infer(adata, TFS, 7)
    assert set(grn.edges["target"]) == {"t1", "t2", "t3"}
    assert "1 of 8 genes" in caplog.text
    assert "for instance z" in caplog.text
    alone = GRNBoost2(n_jobs=1, engine=engine).infer(adata[:, ["A", "B", "z"]].copy(), ["A", "B"], 7)
    assert alone.edges.empty


def test_without_a_list_every_gene_is_ranked_for_every_other_one(adata, engine, caplog):
    grn = GRNBoost2(n_jobs=1, engine=engine).infer(adata, None, 7)
    varying = set(GENES) - {"z"}
    assert set(grn.edges["TF"]) == set(grn.edges["target"]) == varying
    assert "t1" in regulators(grn, "A", 1)
    only = GRNBoost2(n_jobs=1, engine=engine).infer(adata[:, ["A", "z"]].copy(), None, 7)
    assert only.edges.empty
    assert "1 of 1 targets get no edges, for instance A" in caplog.text


def test_a_single_tf_regulates_what_follows_it(adata, engine):
    grn = GRNBoost2(n_jobs=1, engine=engine).infer(adata[:, ["A", "t1"]].copy(), ["A"], 7)
    assert grn.edges[["TF", "target"]].values.tolist() == [["A", "t1"]]


def test_it_is_quiet(adata, engine, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GRNBoost2(n_jobs=1, engine=engine).infer(adata[:, GENES[:5]].copy(), TFS, 7)
    out, err = capfd.readouterr()
    assert out == ""
    assert "GRNBoost2: 100%" in err
    assert "arning" not in err


def test_the_engine_arboreto_gives_arboretos_edges(adata):
    from arboreto import core

    dense = adata.X.toarray().astype(np.float64)
    tables = [
        core.infer_partial_network(
            "GBM", core.SGBM_KWARGS, np.asfortranarray(dense[:, :4]), GENES[:4], target, dense[:, i], seed=7
        )
        for i, target in [(4, "t1"), (5, "t2"), (6, "t3")]
    ]
    expected = pd.concat(tables).sort_values(["importance", "TF", "target"], ascending=[False, True, True])
    grn = GRNBoost2(n_jobs=1, engine="arboreto").infer(adata, TFS, 7)
    pd.testing.assert_frame_equal(grn.edges, expected.reset_index(drop=True), check_exact=True)


def test_values_that_are_no_numbers_are_refused(adata):
    broken = adata[:, GENES[:5]].copy()
    broken.X[0, 4] = np.nan
    with pytest.raises(UserError, match="no finite numbers"):
        GRNBoost2(n_jobs=1).infer(broken, TFS, 7)
    with pytest.raises(RuntimeError, match="failed for target t1"):  # not taken for "no edges"
        GRNBoost2(n_jobs=1, engine="arboreto").infer(broken, TFS, 7)


def test_seeds_are_averaged_and_tell_how_well_two_such_networks_would_agree(adata, caplog):
    several = GRNBoost2(n_jobs=1, n_seeds=4)
    with caplog.at_level("INFO", logger="llm4grn"):
        grn = several.infer(adata, TFS, 7)
    first = GRNBoost2(n_jobs=1).infer(adata, TFS, 7).edges.set_index(["TF", "target"])["importance"]
    mean = grn.edges.set_index(["TF", "target"])["importance"]
    assert 0 < (mean - first).abs().max() < 0.5 * first.max()
    assert (grn.edges["importance_std"] > 0).all()
    assert grn.provenance["n_seeds"] == 4
    assert 0.5 < grn.provenance["expected_top10_jaccard"] <= 1
    assert f"{grn.provenance['expected_top10_jaccard']:.2f}" in caplog.text
    assert several.infer(shuffled(adata), TFS, 7).edges.equals(grn.edges)


def test_runs_are_combined_by_the_power_mean_of_exponent_one_quarter():
    runs = np.array([[[16.0, 0.0, 2.0]], [[81.0, 0.0, 2.0]], [[0.0, 256.0, 2.0]]])
    np.testing.assert_allclose(combine(runs), [[((2 + 3 + 0) / 3) ** 4, (4 / 3) ** 4, 2.0]])
    assert combine(runs[:1]).tolist() == [[16.0, 0.0, 2.0]]


def test_importance_and_spread_are_those_of_the_runs_of_each_seed(adata, engine):
    """Three runs one by one, and their power mean and sample standard deviation, edge by edge."""
    seeds = [7, derive_seed(7, "grnboost2", 1), derive_seed(7, "grnboost2", 2)]
    runs = []
    for seed in seeds:
        edges = GRNBoost2(n_jobs=1, engine=engine).infer(adata, TFS, seed).edges
        runs.append({(tf, target): value for tf, target, value in edges.itertuples(index=False)})
    several = GRNBoost2(n_jobs=1, engine=engine, n_seeds=3).infer(adata, TFS, 7).edges
    assert {*zip(several["TF"], several["target"], strict=True)} == {edge for run in runs for edge in run}
    for tf, target, importance, spread in several.itertuples(index=False):
        values = [run.get((tf, target), 0.0) for run in runs]
        assert importance == pytest.approx((sum(value**0.25 for value in values) / 3) ** 4, rel=1e-9)
        assert spread == pytest.approx(stdev(values), rel=1e-9)


def test_more_seeds_agree_better_as_expected():
    """Thirty TFs for forty targets, of an importance that each run sees through noise of its own."""
    rng = np.random.default_rng(0)
    truth = rng.gamma(1.0, 1.0, (30, 40))

    def draw(n_runs):
        return np.maximum(truth + rng.normal(0, 2.0, (n_runs, 30, 40)), 0)

    expectations = []
    for n_runs in 2, 8, 32:
        expected = np.mean([expected_jaccard(draw(n_runs), 10, seed) for seed in range(5)])
        means = [(draw(n_runs) ** 0.25).mean(axis=0) for _ in range(10)]
        best = [np.argsort(-mean, axis=0)[:10].T for mean in means]
        pairs = zip(np.concatenate(best[::2]), np.concatenate(best[1::2]), strict=True)
        measured = np.mean([len({*a} & {*b}) / len({*a, *b}) for a, b in pairs])
        assert abs(expected - measured) < 0.04
        expectations.append(expected)
    assert expectations == sorted(expectations)
    assert expected_jaccard(np.zeros((2, 3, 4)), 10, 0) == 1
    assert expected_jaccard(np.ones((5, 30, 4)), 10, 0) == 1


@pytest.mark.parametrize("arguments", [{"n_jobs": 0}, {"n_jobs": "all"}, {"engine": "xgboost"}, {"n_seeds": 0}])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=f"inferer.{next(iter(arguments))}="):
        GRNBoost2(**arguments)


def test_the_spread_over_seeds_goes_with_the_edges(adata, monkeypatch):
    from llm4grn import grn as module

    tables = []
    original = module.GRN.from_edges.__func__
    monkeypatch.setattr(
        module.GRN, "from_edges", classmethod(lambda cls, e, p=None: tables.append(e) or original(cls, e, p))
    )
    GRNBoost2(n_jobs=1, n_seeds=3).infer(adata, TFS, 7)
    table = tables[0]
    assert (table["importance_std"] >= 0).all()
    strong = table[table["TF"] + table["target"] == "At1"]
    assert 0 < strong["importance_std"].item() < strong["importance"].item()


def test_engine_that_is_not_installed_says_how(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"inferer.engine=arboreto: run pip install 'llm4grn\[arboreto\]'"):
        GRNBoost2(engine="arboreto")
    GRNBoost2()


@pytest.mark.parametrize("backend", ["threads", "dask"])
def test_it_runs_where_it_is_told_to(adata, monkeypatch, backend):
    ran = []

    def recorded(name):
        def boost(problem, seeds, *where):
            ran.append((name, where))
            return np.ones((len(seeds), 3, len(TFS)))  # the fourth of the targets is constant

        return boost

    monkeypatch.setattr("llm4grn.inference.boosting.dask.boost_on_dask", recorded("dask"))
    monkeypatch.setattr("llm4grn.inference.boosting.engine.boost_on_threads", recorded("threads"))
    GRNBoost2(n_jobs=3, backend=backend).infer(adata, TFS, 0)
    assert ran == [(backend, (None, 3) if backend == "dask" else (3,))]


@pytest.mark.parametrize(("n_runs", "half", "exponent"), [(4, 2, np.log2(1.2)), (3, 1, 0.5), (9, 4, np.log2(1.2))])
def test_agreement_is_extrapolated_from_quarters_and_halves(n_runs, half, exponent, monkeypatch):
    """The odds against agreement are 0.5 for halves and 0.6 for quarters, as if measured."""
    odds = {half: 0.5, n_runs // 4: 0.6} if n_runs >= 4 else {half: 0.5}
    monkeypatch.setattr(grnboost2, "_odds", lambda runs, size, k, rng: odds[size])
    expected = 1 / (1 + 0.5 * (half / n_runs) ** exponent)
    assert grnboost2.expected_jaccard(np.zeros((n_runs, 3, 2)), 1, 0) == pytest.approx(expected)
