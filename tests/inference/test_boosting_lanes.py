"""Sixteen lanes do what numpy does to sixteen numbers."""

import operator

import numba
import numpy as np
import pytest

from llm4grn.inference.boosting.lanes import LANES, load, select, splat, store, widen

RNG = np.random.default_rng(0)
ROWS = {
    np.float32: RNG.normal(size=3 * LANES).astype(np.float32),
    np.float64: RNG.normal(size=3 * LANES),
    np.int32: RNG.integers(-2, 3, 3 * LANES).astype(np.int32),
    np.uint8: RNG.integers(0, 4, 3 * LANES).astype(np.uint8),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [operator.add, operator.sub, operator.mul])
def test_arithmetic(function, dtype):
    @numba.njit
    def run(array, out):
        store(out, 1, function(load(array, 0), load(array, 2)))

    out = np.zeros(2 * LANES, dtype)
    run(ROWS[dtype], out)
    np.testing.assert_array_equal(out[LANES:], function(ROWS[dtype][:LANES], ROWS[dtype][2 * LANES :]))
    assert not out[:LANES].any()


@pytest.mark.parametrize(
    ("function", "dtype"),
    [(operator.gt, np.float32), (operator.gt, np.int32), (operator.eq, np.int32), (operator.eq, np.uint8)],
)
def test_comparison_selects(function, dtype):
    @numba.njit
    def run(array, out):
        mask = function(load(array, 0), load(array, 1))
        store(out, 0, select(mask, splat(np.int32(1)), splat(np.int32(0))))
        store(out, 1, select(~mask & mask, splat(np.int32(1)), splat(np.int32(0))))
        store(out, 2, select(~mask, splat(np.int32(1)), splat(np.int32(0))))

    out = np.full(3 * LANES, 7, np.int32)
    expected = function(ROWS[dtype][:LANES], ROWS[dtype][LANES : 2 * LANES])
    run(ROWS[dtype], out)
    np.testing.assert_array_equal(out.reshape(3, LANES), [expected, 0 * expected, ~expected])


def test_nothing_is_greater_than_nan():
    @numba.njit
    def run(array, out):
        zero = splat(np.float32(0))
        store(out, 0, select(load(array, 0) > zero, splat(np.float32(1)), zero))

    array = np.where(np.arange(LANES) % 2, np.nan, 1).astype(np.float32)
    out = np.empty(LANES, np.float32)
    run(array, out)
    np.testing.assert_array_equal(out, 1 - np.arange(LANES) % 2)


def test_widening_is_exact_and_bits_can_be_tested():
    @numba.njit
    def run(singles, codes, doubles, bits):
        store(doubles, 0, widen(load(singles, 1)))
        store(bits, 0, load(codes, 0) & splat(np.uint8(2)))

    doubles, bits = np.zeros(LANES), np.zeros(LANES, np.uint8)
    run(ROWS[np.float32], ROWS[np.uint8], doubles, bits)
    np.testing.assert_array_equal(doubles, ROWS[np.float32][LANES : 2 * LANES])
    np.testing.assert_array_equal(bits, ROWS[np.uint8][:LANES] & 2)
