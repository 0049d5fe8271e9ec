"""What the monitor sees in healthy and in broken generators, and that looking changes nothing."""

import csv
import logging

import pytest
import torch
from test_training import CPU, STEPS, causal_gan, controller, same, weights

from llm4grn.gan import collapse, monitor, training

HEALTHY = {
    "step": 100,
    "dead_genes": 0.0,
    "empty_cells": 0.0,
    "library_size": 1.0,
    "centroid_distance": 1.5,
    "critic_gap": 0.5,
    "gradient_penalty": 0.01,
}


def measures(module) -> dict[str, float]:
    return monitor.collapse_measures(module, monitor.Reference.of(module), seed=0)


@pytest.mark.parametrize("make", [controller, causal_gan])
def test_a_short_preconditioned_training_is_healthy(make, tmp_path):
    training.fit(make(preconditioned=True), tmp_path, "model", CPU)
    (row,) = csv.DictReader((tmp_path / collapse.MONITOR).open())
    assert float(row["dead_genes"]) == 0
    assert float(row["empty_cells"]) == 0
    assert float(row["centroid_distance"]) < collapse.MAX_DISTANCE
    assert float(row["library_size"]) == pytest.approx(1, rel=0.5)
    assert collapse.read_warnings(tmp_path) == []


def test_dead_genes_are_those_that_real_cells_express():
    module = controller(preconditioned=True)
    with torch.no_grad():
        module.cells.values[:, 0] = 0  # nobody expresses it: no loss
        module.generator.output.weight[:4] = 0
        module.generator.output.bias[:4] = -1
    assert measures(module)["dead_genes"] == pytest.approx(3 / 11)


def test_empty_cells_and_the_library_size_before_scaling():
    module = controller(preconditioned=True)
    sound = measures(module)
    module.generator.units *= 8
    louder = measures(module)
    assert louder["library_size"] == pytest.approx(8 * sound["library_size"], rel=1e-5)
    assert louder["centroid_distance"] == pytest.approx(sound["centroid_distance"], rel=1e-3)  # it is divided out
    module.generator.units *= 0
    assert measures(module)["empty_cells"] == 1


def test_the_distance_of_real_cells_is_about_the_expected_one(monkeypatch):
    """Cells drawn from the training cells themselves, in the place of generated ones."""
    module = controller()

    def draws(self, noise, batch_size=None):
        chosen = torch.randint(len(module.cells), (len(noise),), generator=torch.Generator().manual_seed(1))
        return module.cells.rows(chosen)

    monkeypatch.setattr(type(module.generator), "forward", draws)
    found = measures(module)
    assert 0.05 < found["centroid_distance"] < 2
    assert abs(found["critic_gap"]) < 1


def test_the_gap_grows_with_what_the_critic_sees(monkeypatch):
    module = controller(preconditioned=True)

    def tells_apart(cells):  # +10 for real cells, which come first, and a spread of 1 within
        tells_apart.calls += 1
        return torch.linspace(-1.73, 1.73, len(cells))[:, None] + (10 if tells_apart.calls == 1 else 0)

    tells_apart.calls = 0
    module.critic.forward = tells_apart
    assert measures(module)["critic_gap"] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(
    ("measure", "value", "says"),
    [
        ("dead_genes", 0.9, "0.9 of the expressed genes"),
        ("empty_cells", 0.5, "empty"),
        ("centroid_distance", 20.0, "20 times the expected distance"),
        ("critic_gap", 9.0, "critic's scores"),
        ("gradient_penalty", 3.0, "gradient penalty"),
        ("library_size", 1e-5, "drifted from 1 to 1e-05"),
        ("library_size", 1e5, "drifted"),
        ("centroid_distance", float("nan"), "nan times"),
    ],
)
def test_what_crosses_a_limit_at_the_end_is_told(measure, value, says):
    (warning,) = collapse.collapse_warnings([HEALTHY, {**HEALTHY, measure: value}])
    assert says in warning
    assert collapse.collapse_warnings([HEALTHY, {**HEALTHY, measure: value}, HEALTHY]) == []


@pytest.mark.slow
@pytest.mark.parametrize("make", [controller, causal_gan])
def test_looking_changes_nothing(make, tmp_path):
    looked, alone = make(monitor_every=1), make(monitor_every=10_000)
    training.fit(looked, tmp_path / "looked", "model", CPU)
    training.fit(alone, tmp_path / "alone", "model", CPU)
    assert same(weights(looked), weights(alone))
    rows = [list(csv.DictReader((tmp_path / name / collapse.MONITOR).open())) for name in ("looked", "alone")]
    assert [int(row["step"]) for row in rows[0]] == [25, 50, STEPS]
    assert rows[1] == rows[0][-1:]


def test_a_collapsed_training_is_told_once_in_the_log(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("llm4grn"), "propagate", True)  # the scripts switch it off
    module = controller()
    with torch.no_grad():
        module.generator.output.bias[1:] = -1e9
    training.fit(module, tmp_path, "controller", CPU)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "llm4grn"]
    assert line.startswith("controller may have collapsed: ")
    assert "expressed genes are never generated" in line
    assert collapse.read_warnings(tmp_path)
