"""Knock-outs of several regulators in the generator of a saved run, against ``do`` itself."""

import math

import pytest
from test_interventions import GRAPH, LIBRARY_SIZE, made

from llm4grn.evaluation.cells.perturbation import PSEUDOCOUNT
from llm4grn.gan.api import load_trained, run_config, save_trained
from llm4grn.gan.interventions import parse_interventions
from llm4grn.gan.knock_outs import N_CELLS, SEED, knock_outs

RATES = {"generator_lr": [1, 1], "critic_lr": [1, 1], "critic_layers": [4], "steps": 1, "batch_size": 32}
MODEL = {
    "controller": {**RATES, "noise_dim": 3, "generator_layers": [8]},
    "causal_gan": {**RATES, "labeler_layers": [4]},
}


def test_each_edge_has_the_change_of_its_target(tmp_path):
    run = save_trained(made(False), GRAPH, run_config(MODEL, LIBRARY_SIZE), tmp_path / "run")
    edges = [("A", "mid"), ("B", "low"), ("B", "other")]
    found = knock_outs(run, edges)
    assert list(found) == edges
    model, _ = load_trained(run)
    for tf, target in edges:
        before, after = model.do(parse_interventions({tf: 0}, GRAPH.genes), N_CELLS, SEED)
        column = GRAPH.genes.index(target)
        means = [float(cells[:, column].double().mean()) + PSEUDOCOUNT for cells in (after, before)]
        assert found[tf, target] == pytest.approx(math.log2(means[0] / means[1]), abs=1e-6)
