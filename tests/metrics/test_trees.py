"""The compiled forest against scikit-learn's, tree by tree: the same votes, to the last bit."""

import platform

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from llm4grn.metrics.trees import forest_votes

RNG = np.random.default_rng(0)
N_TREES = 12


def with_labels(cells: np.ndarray, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    return cells, (RNG.random(len(cells)) < share).astype(int)


NORMAL = RNG.normal(size=(700, 20)).astype(np.float32)
CASES = {
    "noise": with_labels(NORMAL),
    "signal": (NORMAL, (NORMAL[:, 3] + RNG.normal(size=700) > 0).astype(int)),
    "many ties": with_labels(RNG.poisson(1.0, size=(700, 6))),
    "only ties": with_labels(RNG.integers(2, size=(300, 3))),
    "constant features": with_labels(NORMAL * (np.arange(20) % 3 == 0)),
    "all constant": with_labels(np.ones((60, 4))),
    "copies": with_labels(np.repeat(NORMAL[:40], 5, axis=0)),
    "one feature": with_labels(NORMAL[:, :1]),
    "few cells": with_labels(NORMAL[:9]),
    "a rare class": with_labels(NORMAL, 0.03),
    "tiny values": with_labels(NORMAL * 1e-9),
}


@pytest.mark.parametrize("name", CASES)
def test_votes_are_those_of_scikit_learn(name):
    cells, labels = CASES[name]
    others = np.concatenate([cells[:50], RNG.normal(size=(50, cells.shape[1]))])
    forest = RandomForestClassifier(N_TREES, random_state=5).fit(cells, labels)
    expected = forest.predict_proba(others)[:, list(forest.classes_).index(1)]
    # Processors whose compilers fuse multiplication and addition may choose another of two equally good splits.
    exact = platform.machine() in ("x86_64", "AMD64")
    np.testing.assert_allclose(forest_votes(cells, labels, others, N_TREES, 5), expected, atol=0 if exact else 0.2)


def test_votes_change_with_the_seed_and_not_with_the_number_of_threads():
    cells, labels = CASES["signal"]
    one, three, other = (
        forest_votes(cells, labels, cells, 7, seed, n_threads) for seed, n_threads in [(1, 1), (1, 3), (2, 1)]
    )
    np.testing.assert_array_equal(one, three)
    assert (one != other).any()
