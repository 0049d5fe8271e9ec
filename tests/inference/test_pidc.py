"""PIDC against a slow and plain computation from its definitions."""

from itertools import pairwise, product
from math import log

import anndata
import numpy as np
import pytest
import scipy.stats
from cells import GENES, TFS, driven_cells, regulators, shuffled
from scipy.sparse import csc_matrix

from llm4grn.errors import UserError
from llm4grn.inference import states
from llm4grn.inference.pidc import PIDC, _confidence, _empirical, unique_contributions
from llm4grn.inference.states import States, bayesian_blocks, uniform_cuts


def specific(target, source, z):
    """What the states of ``source`` say about state z of ``target``."""
    p_z, total = np.mean(target == z), 0.0
    for x in np.unique(source):
        joint = np.mean((target == z) & (source == x))
        if joint:
            total += joint / p_z * log(joint / np.mean(source == x) / p_z)
    return total


def plain_unique_contributions(states):
    """The definition, term by term: states (n_cells, n_genes)."""
    n = states.shape[1]
    columns = states.T
    information = {
        (a, b, z): specific(columns[a], columns[b], z)
        for a, b in product(range(n), repeat=2)
        if a != b
        for z in np.unique(columns[a])
    }

    def redundancy(target, *sources):
        values = np.unique(columns[target])
        return sum(
            np.mean(columns[target] == z) * min(information[target, source, z] for source in sources) for z in values
        )

    scores = np.zeros((n, n))
    for x, y in product(range(n), repeat=2):
        if x != y:
            mutual = redundancy(x, y)
            thirds = [z for z in range(n) if z not in (x, y)]
            scores[x, y] = sum((mutual - redundancy(x, y, z)) / mutual for z in thirds)
            scores[x, y] += sum((mutual - redundancy(y, x, z)) / mutual for z in thirds)
    return scores


@pytest.fixture(scope="module")
def adata():
    return driven_cells(150)


@pytest.mark.parametrize("shift", [0, 1])
def test_scores_are_those_of_the_definition(shift):
    rng = np.random.default_rng(0)
    base = rng.poisson(1.0, (80, 1))
    states = np.minimum(base * (rng.random((80, 6)) < 0.6) + rng.poisson(0.4, (80, 6)), 3) + shift
    between = States.of(csc_matrix(states.astype(float)), lambda values: np.arange(0.5, 4.5))
    np.testing.assert_allclose(unique_contributions(between), plain_unique_contributions(states), atol=1e-10)


@pytest.mark.parametrize(("discretizer", "n_bins"), [("bayesian_blocks", None), ("uniform_width", 5)])
def test_importances_are_the_places_among_both_genes_scores(adata, discretizer, n_bins):
    dense = adata.X.toarray().astype(float)[:, :7]
    cuts = bayesian_blocks if n_bins is None else lambda values: uniform_cuts(values, n_bins)
    states = np.column_stack([np.searchsorted(cuts(column), column, side="right") for column in dense.T])
    scores = plain_unique_contributions(states)

    def place(gene, value):
        others = np.delete(scores[gene], gene)
        shape, _, scale = scipy.stats.gamma.fit(others, floc=0)
        return scipy.stats.gamma.cdf(value, shape, scale=scale)

    grn = PIDC(discretizer, n_bins).infer(adata, TFS, 0)
    assert len(grn.edges) == 4 * 3
    for tf, target, importance in grn.edges.itertuples(index=False):
        i, j = GENES.index(tf), GENES.index(target)
        assert importance == pytest.approx(place(i, scores[i, j]) + place(j, scores[i, j]), rel=1e-6)


def test_an_empirical_place_is_the_share_of_a_gene_s_scores_that_are_no_larger(adata):
    scores = plain_unique_contributions(
        np.column_stack([np.searchsorted(bayesian_blocks(c), c, side="right") for c in adata.X.toarray()[:, :7].T])
    )
    grn = PIDC(distribution="empirical").infer(adata, TFS, 0)
    assert len(grn.edges) == 4 * 3
    for tf, target, importance in grn.edges.itertuples(index=False):
        i, j = GENES.index(tf), GENES.index(target)
        places = [np.mean(np.delete(scores[gene], gene) <= scores[i, j] + 1e-12) for gene in (i, j)]
        assert importance == pytest.approx(sum(places))


def test_scores_that_tie_stand_at_the_upper_end_of_their_ties():
    np.testing.assert_allclose(_empirical(np.array([0.0, 3.0, 1.0, 3.0, 2.0])), [0.2, 1.0, 0.4, 1.0, 0.6])
    tied = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 2.0, 1.0], [1.0, 2.0, 0.0, 3.0], [0.0, 1.0, 3.0, 0.0]])
    confidence = _confidence(tied, "empirical")
    assert confidence[0, 1] == pytest.approx(1 + 2 / 3)  # first of gene 0's, last but one of gene 1's
    assert confidence[0, 3] == 0  # no information: no place either
    np.testing.assert_array_equal(confidence, confidence.T)


def test_it_finds_what_drives_the_targets(adata):
    for method in PIDC(), PIDC("uniform_width"), PIDC(distribution="empirical"):
        grn = method.infer(adata, TFS, 0)
        assert regulators(grn, "t1", 1) == {"A"}
        assert regulators(grn, "t2", 2) == {"B", "C"}


def test_order_of_genes_and_density_change_nothing(adata):
    edges = PIDC().infer(adata, TFS, 0).edges
    assert edges.equals(PIDC().infer(shuffled(adata), TFS[::-1], 1).edges)


def test_a_gene_in_one_state_gets_no_edges_and_a_warning(adata, caplog):
    dense = adata.X.toarray()
    dense[:, GENES.index("D")] = np.linspace(0, 1, adata.n_obs)  # even: nothing to cut
    flat = anndata.AnnData(dense, var=adata.var)
    with caplog.at_level("WARNING", logger="llm4grn"):
        edges = PIDC().infer(flat, TFS, 0).edges
    assert set(edges["TF"]) == {"A", "B", "C"}
    assert "one state only" in caplog.text
    assert "for instance D" in caplog.text


def test_without_a_list_of_tfs_all_pairs_are_ranked_both_ways(adata):
    edges = PIDC().infer(adata, None, 0).edges
    pairs = {(tf, target): importance for tf, target, importance in edges.itertuples(index=False)}
    assert len(pairs) == 7 * 6
    assert all(pairs[b, a] == importance for (a, b), importance in pairs.items())


def all_partitions_best(values):
    """Bayesian blocks by trying every partition."""
    distinct, counts = np.unique(values, return_counts=True)
    edges = np.concatenate([distinct[:1], (distinct[1:] + distinct[:-1]) / 2, distinct[-1:]])
    penalty = 4 - log(73.53 * 0.05 * len(distinct) ** -0.478)
    best = (-np.inf, None)
    for chosen in product([False, True], repeat=len(distinct) - 1):
        ends = [0, *(i + 1 for i, cut in enumerate(chosen) if cut), len(distinct)]
        fitness = sum(
            (n := counts[a:b].sum()) * (log(n) - log(edges[b] - edges[a])) - penalty for a, b in pairwise(ends)
        )
        best = max(best, (fitness, tuple(edges[ends[1:-1]])))
    return best[1]


@pytest.mark.parametrize("seed", range(5))
def test_bayesian_blocks_are_the_best_of_all_partitions(seed):
    rng = np.random.default_rng(seed)
    values = np.round(np.concatenate([np.zeros(30), rng.normal(3, 0.1, 12), rng.uniform(4, 9, 12)]), 1)[:60]
    values = values[np.isin(values, np.unique(values)[:13])]
    assert tuple(bayesian_blocks(values)) == all_partitions_best(values)


def test_many_distinct_values_are_cut_where_they_would_be_without_groups(monkeypatch):
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(500), rng.uniform(4, 5, 3000), rng.uniform(5, 9, 3000)])
    grouped = bayesian_blocks(values)
    monkeypatch.setattr(states, "_MAX_GROUPS", len(values))
    whole = bayesian_blocks(values)
    assert len(whole) == 3  # after the zeros, before the first others, and where the density falls
    np.testing.assert_allclose(grouped, whole, atol=0.02)


@pytest.mark.parametrize(
    "arguments",
    [{"discretizer": "median"}, {"distribution": "normal"}, {"n_bins": 1}, {"n_bins": 5}],
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=f"inferer.{next(iter(arguments))}="):
        PIDC(**arguments)


def test_two_genes_are_refused(adata):
    with pytest.raises(UserError, match="at least 3 genes"):
        PIDC().infer(adata[:, ["A", "t1", "z"]].copy(), ["A"], 0)
