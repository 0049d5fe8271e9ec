"""Sanity of the ruler: on shipped real cells, each metric rises with the damage it should see, and only with that."""

import numpy as np
import pytest

from benchmarks import ruler
from llm4grn.metrics.registry import METRICS

QUICK = [name for name in METRICS if name not in ("rf_auroc", "milisi")]
GENES_SHUFFLED, CELLS_SHUFFLED, SIZES_SWAPPED, TYPE_DROPPED, RARE_DROPPED, NOISE_ADDED, FEW_COPIED = ruler.DAMAGES


pytestmark = pytest.mark.slow  # the cells and scores that all tests share take seconds


@pytest.fixture(scope="module")
def cells():
    return ruler.pbmc3k()


@pytest.fixture(scope="module")
def quick(cells):
    return ruler.measure(cells, 500, range(5), QUICK)


@pytest.fixture(scope="module")
def slow(cells):
    from llm4grn.metrics import functional

    trees = functional.rf_auroc.__kwdefaults__["n_trees"]
    functional.rf_auroc.__kwdefaults__["n_trees"] = 100
    yield ruler.measure(cells, 250, range(3), ["rf_auroc", "milisi"], [CELLS_SHUFFLED, SIZES_SWAPPED])
    functional.rf_auroc.__kwdefaults__["n_trees"] = trees


MEAN_CELL = ["cosine_distance", "euclidean_distance"]
SEEN = {
    GENES_SHUFFLED: QUICK,
    CELLS_SHUFFLED: ["mmd", "gene_correlations"],
    SIZES_SWAPPED: ["mmd", "gene_correlations"],
    TYPE_DROPPED: QUICK,
    NOISE_ADDED: ["euclidean_distance", "mmd", "gene_means", "gene_variances", "zero_fractions"],
    FEW_COPIED: QUICK,
}
# What a metric cannot see it must not see: these damages leave the summary it compares as it was, to rounding.
UNCHANGED = {
    CELLS_SHUFFLED: [*MEAN_CELL, "gene_means", "gene_variances", "zero_fractions"],
    SIZES_SWAPPED: ["zero_fractions"],
}


@pytest.mark.parametrize(("damage", "metric"), [(damage, metric) for damage in SEEN for metric in SEEN[damage]])
def test_damage_raises_the_metrics_that_should_see_it(quick, damage, metric):
    assert quick.sees(damage, metric), (quick.values[ruler.UNDAMAGED][metric], quick.values[damage][metric])


@pytest.mark.parametrize(
    ("damage", "metric"), [(damage, metric) for damage, blind in UNCHANGED.items() for metric in blind]
)
def test_damage_that_leaves_a_summary_alone_leaves_its_metric_alone(quick, damage, metric):
    np.testing.assert_allclose(quick.values[damage][metric], quick.values[ruler.UNDAMAGED][metric], rtol=1e-6)


@pytest.mark.parametrize("metric", QUICK)
def test_one_type_in_a_hundred_is_beyond_every_metric(quick, metric):
    """Said in the docs: who needs a rare type must look at the cell types."""
    assert not quick.sees(RARE_DROPPED, metric)


def test_real_against_real_cannot_be_told_apart(slow):
    assert slow.mean(ruler.UNDAMAGED, "rf_auroc") == pytest.approx(0.5, abs=0.05)
    assert slow.mean(ruler.UNDAMAGED, "milisi") > 1.85


@pytest.mark.parametrize("damage", [CELLS_SHUFFLED, SIZES_SWAPPED])
@pytest.mark.parametrize("metric", ["rf_auroc", "milisi"])
def test_forest_and_mixing_see_what_gene_by_gene_summaries_cannot(slow, damage, metric):
    assert slow.sees(damage, metric), (slow.values[ruler.UNDAMAGED][metric], slow.values[damage][metric])


def test_damaged_cells_keep_what_they_should(cells):
    rng = np.random.default_rng(0)
    whole = {name: damage(cells, 100, rng) for name, damage in ruler.DAMAGES.items()}
    kept = [name for name in whole if name not in (CELLS_SHUFFLED, SIZES_SWAPPED)]
    for name in kept:
        np.testing.assert_allclose(whole[name].sum(axis=1), ruler.LIBRARY_SIZE)
    real = ruler.normalised(cells.counts[:100])
    np.testing.assert_array_equal(np.sort(whole[GENES_SHUFFLED], axis=1), np.sort(real, axis=1))
    np.testing.assert_array_equal(np.sort(whole[CELLS_SHUFFLED], axis=0), np.sort(real, axis=0))
    np.testing.assert_allclose(ruler.normalised(whole[SIZES_SWAPPED]), real)
    assert len(np.unique(whole[FEW_COPIED], axis=0)) == ruler.N_COPIED
    moved = 0.5 * np.abs(whole[NOISE_ADDED] - real).sum() / real.sum()
    assert moved == pytest.approx(ruler.NOISE, rel=0.2)
