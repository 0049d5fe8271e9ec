"""Gene-wise metrics and correlations against numpy, scipy and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from llm4grn.errors import UserError
from llm4grn.metrics.functional import gene_correlations, gene_means, gene_variances, zero_fractions

RNG = np.random.default_rng(0)
# Few counts, so that genes have zeros; gene 3 is silent in the real cells, gene 5 constant in the synthetic ones.
REAL, OTHER = RNG.poisson(0.8, size=(70, 12)) * 31.0, RNG.poisson(1.1, size=(50, 12)) * 29.0
REAL[:, 3], OTHER[:, 5] = 0.0, 7.0
ALL = [gene_means, gene_variances, zero_fractions, gene_correlations]


def test_means_and_variances_match_scikit_learn():
    def moments(cells):
        scaler = StandardScaler().fit(FunctionTransformer(np.log1p).fit_transform(cells))
        return scaler.mean_, scaler.var_

    (r_mean, r_var), (s_mean, s_var) = moments(REAL), moments(OTHER)
    assert gene_means(REAL, OTHER) == pytest.approx(np.abs(r_mean - s_mean).mean(), rel=1e-9)
    assert gene_variances(REAL, OTHER) == pytest.approx(np.abs(r_var - s_var).mean(), rel=1e-9)


def test_zero_fractions_match_plain_loops():
    def silent(cells, gene):
        return sum(1 for cell in cells if cell[gene] == 0) / len(cells)

    expected = sum(abs(silent(REAL, g) - silent(OTHER, g)) for g in range(12)) / 12
    assert zero_fractions(REAL, OTHER) == pytest.approx(expected, rel=1e-12)


def test_correlations_match_scipy_pair_by_pair():
    def correlation(cells, g, h):
        x, y = np.log1p(cells[:, g]), np.log1p(cells[:, h])
        return pearsonr(x, y).statistic if np.ptp(x) and np.ptp(y) else 0.0

    expressed = [g for g in range(12) if g != 3]
    squares = [(correlation(REAL, g, h) - correlation(OTHER, g, h)) ** 2 for g in expressed for h in expressed if g < h]
    assert gene_correlations(REAL, OTHER) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-9)


def test_a_constant_gene_that_is_no_round_number_correlates_with_none():
    constant = REAL.copy()
    constant[:, 0] = 0.1
    kept = np.delete(REAL, 0, axis=1)
    n = 11 - 1  # expressed, without the constant one
    same_but_for_one = gene_correlations(constant, REAL)
    assert gene_correlations(kept, kept) == 0.0
    own = [np.corrcoef(np.log1p(REAL[:, [0, g]]).T)[0, 1] for g in range(1, 12) if g != 3]
    assert same_but_for_one == pytest.approx(math.sqrt(2 * np.square(own).sum() / ((n + 1) * n)), rel=1e-9)


@pytest.mark.parametrize("metric", ALL)
def test_shuffled_copies_score_zero_and_tensors_as_arrays(metric):
    shuffled = np.random.default_rng(3).permutation(REAL)
    assert metric(REAL, shuffled) == pytest.approx(0.0, abs=1e-7)
    assert metric(torch.from_numpy(REAL), torch.from_numpy(OTHER)) == pytest.approx(metric(REAL, OTHER), rel=1e-9)
    assert metric(REAL, OTHER) > 0.01


def test_cells_are_left_as_they_were():
    real, other = REAL.copy(), OTHER.copy()
    for metric in ALL:
        metric(real, other)
    np.testing.assert_array_equal(real, REAL)
    np.testing.assert_array_equal(other, OTHER)


def test_unfit_cells_are_named():
    for metric in (gene_means, gene_variances, gene_correlations):
        with pytest.raises(UserError, match="synthetic cells hold negative values"):
            metric(REAL, OTHER - 1)
    with pytest.raises(UserError, match="1 genes are expressed"):
        gene_correlations([[1.0, 0.0], [2.0, 0.0]], [[1.0, 2.0], [2.0, 1.0]])
