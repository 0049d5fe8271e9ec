"""The functional metrics against independent implementations: scipy, scikit-learn, plain loops."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, cosine
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from llm4grn.errors import UserError
from llm4grn.metrics.functional import (
    cosine_distance,
    equal_size,
    euclidean_distance,
    mmd,
    mmd_bandwidth,
    rf_auroc,
)


def cells(n: int, seed: int, n_genes: int = 30, shift: float = 0.0) -> np.ndarray:
    counts = np.random.default_rng(seed).gamma(0.4 + shift, 30, size=(n, n_genes))
    return 20_000 * counts / counts.sum(axis=1, keepdims=True)


REAL, OTHER = cells(120, 0), cells(90, 1, shift=0.2)


def test_centroid_distances_match_scipy():
    means = REAL.mean(axis=0), OTHER.mean(axis=0)
    assert cosine_distance(REAL, OTHER) == pytest.approx(cosine(*means), rel=1e-9)
    assert euclidean_distance(REAL, OTHER) == pytest.approx(cdist(*(m[None] for m in means))[0, 0], rel=1e-12)


@pytest.mark.parametrize("metric", [cosine_distance, euclidean_distance, mmd])
def test_a_set_against_a_shuffled_copy_of_itself_scores_zero(metric):
    shuffled = np.random.default_rng(3).permutation(REAL)
    assert metric(REAL, shuffled) == pytest.approx(0.0, abs=1e-9)
    assert metric(REAL, REAL) >= 0.0


@pytest.mark.parametrize("metric", [cosine_distance, euclidean_distance, lambda r, s: mmd(r, s, bandwidth=1500.0)])
def test_the_two_sets_play_the_same_part(metric):
    assert metric(REAL, OTHER) == pytest.approx(metric(OTHER, REAL), rel=1e-9)
    assert metric(REAL, OTHER) > 0


@pytest.mark.parametrize("n", [120, 25, 10])
def test_bandwidth_is_the_median_distance_to_the_24th_other_cell(n):
    real = REAL[:n]
    k = min(24, n - 1)
    # sklearn counts a query among its own neighbours when it is part of the fitted set.
    distances, _ = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(real).kneighbors(real)
    assert mmd_bandwidth(real) == pytest.approx(np.median(distances[:, k]), rel=1e-9)


def test_bandwidth_in_blocks_is_the_bandwidth_at_once(monkeypatch):
    whole = mmd_bandwidth(REAL)
    monkeypatch.setattr("llm4grn.metrics.mmd._TILE", 40)
    assert mmd_bandwidth(REAL) == pytest.approx(whole, rel=1e-12)


def test_mmd_matches_sklearn_kernels():
    m = mmd_bandwidth(REAL)

    def mean_kernel(x, y):
        return sum(rbf_kernel(x, y, gamma=1 / s**2).mean() for s in (m / 2, m, 2 * m))

    expected = mean_kernel(REAL, REAL) + mean_kernel(OTHER, OTHER) - 2 * mean_kernel(REAL, OTHER)
    assert mmd(REAL, OTHER) == pytest.approx(expected, rel=1e-9)


def test_mmd_matches_plain_loops():
    r, s, m = REAL[:6], OTHER[:4], 900.0

    def mean_kernel(x, y):
        total = 0.0
        for a in x:
            for b in y:
                squared = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
                total += sum(math.exp(-squared / width**2) for width in (m / 2, m, 2 * m))
        return total / (len(x) * len(y))

    expected = mean_kernel(r, r) + mean_kernel(s, s) - 2 * mean_kernel(r, s)
    assert mmd(r, s, bandwidth=m) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("tile", [1, 7, 64, 120])
def test_mmd_does_not_depend_on_the_block_size(tile):
    assert mmd(REAL, OTHER, tile=tile) == pytest.approx(mmd(REAL, OTHER), rel=1e-11)


def test_mmd_survives_a_large_common_offset():
    assert mmd(REAL + 1e7, OTHER + 1e7) == pytest.approx(mmd(REAL, OTHER), rel=1e-5)


def test_mmd_grows_with_the_shift_between_the_sets():
    values = [mmd(REAL, cells(120, 2, shift=shift)) for shift in (0.0, 0.3, 1.0)]
    assert values == sorted(values)
    assert values[0] > 0


@pytest.mark.slow
def test_rf_auroc_is_a_half_on_one_distribution_and_one_on_two():
    same = [rf_auroc(cells(150, 2 * i), cells(150, 2 * i + 1), seed=i, n_trees=100) for i in range(4)]
    assert 0.38 < np.mean(same) < 0.62
    assert rf_auroc(REAL, cells(120, 5, shift=3.0), seed=0, n_trees=100) > 0.97


def test_rf_auroc_scores_only_cells_the_forest_has_not_seen():
    """With random labels a forest scored on its own training cells would reach 1."""
    noise = np.random.default_rng(0).normal(size=(200, 10))
    assert rf_auroc(noise[:100], noise[100:], seed=1, n_trees=100) < 0.8


def test_rf_auroc_changes_with_the_seed_and_not_otherwise():
    values = [rf_auroc(REAL, OTHER, seed=seed, n_trees=30) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("n_genes", [3, 400])
def test_rf_auroc_takes_few_cells_or_few_genes(n_genes):
    value = rf_auroc(cells(12, 0, n_genes), cells(12, 1, n_genes), seed=0, n_trees=20)
    assert 0.0 <= value <= 1.0


@pytest.mark.parametrize("metric", [cosine_distance, euclidean_distance, mmd])
def test_tensors_are_computed_with_as_tensors_and_score_as_arrays(metric, monkeypatch):
    expected = metric(REAL, OTHER)
    # Nothing may leave the tensors' device on the way, which a GPU would punish.
    monkeypatch.setattr(torch.Tensor, "__array__", None)
    tensors = torch.from_numpy(REAL).requires_grad_(), torch.from_numpy(OTHER)
    assert metric(*tensors) == pytest.approx(expected, rel=1e-9)


def test_a_tensor_beside_an_array_and_single_precision_are_taken():
    expected = euclidean_distance(REAL.astype(np.float32), OTHER)
    assert euclidean_distance(torch.from_numpy(REAL.astype(np.float32)), OTHER) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(euclidean_distance(REAL, OTHER), rel=1e-5)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_tensors_leave_the_number_of_threads_alone(n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        mmd(torch.from_numpy(REAL), torch.from_numpy(OTHER))
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_mmd_is_the_same_to_the_last_bit_on_any_number_of_threads(n_workers, monkeypatch):
    alone = mmd(REAL, OTHER, tile=16)
    monkeypatch.setattr("llm4grn.metrics.mmd._n_workers", lambda _: n_workers)
    assert mmd(REAL, OTHER, tile=16) == alone


def test_equal_sets_pass_once_and_untouched():
    ((r, s),) = equal_size(REAL[:90], OTHER, seed=0)
    np.testing.assert_array_equal(r, REAL[:90])
    assert s is OTHER


@pytest.mark.parametrize("swap", [False, True])
def test_the_larger_set_is_subsampled_five_times_without_replacement(swap):
    pairs = list(equal_size(*((OTHER, REAL) if swap else (REAL, OTHER)), seed=0))
    larger = [pair[1 if swap else 0] for pair in pairs]
    assert len(pairs) == 5
    for drawn in larger:
        assert len(drawn) == 90
        assert len({row.tobytes() for row in drawn}) == 90
        assert {row.tobytes() for row in drawn} <= {row.tobytes() for row in REAL}
    assert len({drawn.tobytes() for drawn in larger}) == 5
    again = [pair[1 if swap else 0] for pair in equal_size(*((OTHER, REAL) if swap else (REAL, OTHER)), seed=0)]
    assert [drawn.tobytes() for drawn in larger] == [drawn.tobytes() for drawn in again]


@pytest.mark.parametrize(
    ("real", "synthetic", "words"),
    [
        (REAL, OTHER[:, :5], "30 genes.*5"),
        (REAL, OTHER * np.nan, "synthetic cells hold NaN"),
        (REAL * np.inf, OTHER, "real cells hold NaN or infinite"),
        (REAL[:0], OTHER, "real cells have shape"),
        (REAL[0], OTHER, "real cells have shape"),
    ],
)
def test_unfit_cells_are_named(real, synthetic, words):
    for metric in (cosine_distance, euclidean_distance, mmd):
        with pytest.raises(UserError, match=words):
            metric(real, synthetic)


def test_bandwidth_that_cannot_be_read_off_is_refused():
    with pytest.raises(UserError, match="copies"):
        mmd(np.ones((30, 4)), OTHER[:, :4])
    with pytest.raises(UserError, match="at least 2"):
        mmd(REAL[:1], OTHER)
    with pytest.raises(UserError, match="positive"):
        mmd(REAL, OTHER, bandwidth=0.0)
    with pytest.raises(UserError, match="at least 5"):
        rf_auroc(REAL[:4], OTHER, seed=0)


SCORE = """
import numpy as np
from llm4grn.metrics.functional import cosine_distance, euclidean_distance, gene_correlations, milisi, mmd, rf_auroc
rng = np.random.default_rng(0)
real, synthetic = rng.gamma(0.3, 30, size=(2, 200, 300))
print([cosine_distance(real, synthetic), euclidean_distance(real, synthetic), mmd(real, synthetic),
       rf_auroc(real, synthetic, seed=1, n_trees=100), gene_correlations(real, synthetic),
       milisi(real[:100], synthetic[:100], seed=1)])
"""


@pytest.mark.slow
def test_two_processes_with_different_thread_counts_agree_to_the_last_bit():
    import os

    printed = [
        subprocess.run(
            [sys.executable, "-c", SCORE],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    ]
    assert printed[0] == printed[1]
    assert "nan" not in printed[0]
