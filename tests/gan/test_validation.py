"""Validation beside the training: it changes no weight, survives a kill, and its best weights can be had."""

import csv

import pytest
import torch
from test_training import CPU, STEPS, KilledError, causal_gan, controller, real_cells, same, weights

from llm4grn.errors import UserError
from llm4grn.evaluation.scores.score import score
from llm4grn.gan import training, validation
from llm4grn.gan.adversarial import STEPS_PER_EPOCH
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.metrics.registry import METRICS, PAPER_METRICS
from llm4grn.runtime.seeding import derive_seed

CELLS = real_cells()[:20]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    """The forest of 1000 trees is most of the time, and is tested elsewhere."""
    from llm4grn.metrics import functional

    monkeypatch.setitem(functional.rf_auroc.__kwdefaults__, "n_trees", 20)


def rows(folder) -> list[dict[str, float]]:
    with (folder / validation.VALIDATION).open() as lines:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]


@pytest.mark.slow
@pytest.mark.parametrize("make", [controller, causal_gan])
def test_validation_changes_no_weight_and_tells_the_metrics(make, tmp_path):
    validated, alone = make(validate_every=30), make()
    training.fit(validated, tmp_path / "validated", "model", CPU, validation=CELLS)
    training.fit(alone, tmp_path / "alone", "model", CPU)
    assert same(weights(validated), weights(alone))
    found = rows(tmp_path / "validated")
    assert [row["step"] for row in found] == [50, STEPS]  # the readings of losses after step 30, and the end
    seed = derive_seed(alone.seed, "validation")
    expected = score(CELLS.numpy(), alone.generate(len(CELLS), seed).numpy(), seed, PAPER_METRICS)
    assert found[-1] == {"step": STEPS, **expected}
    assert not (tmp_path / "alone" / validation.VALIDATION).exists()


@pytest.mark.slow
@pytest.mark.parametrize("make", [controller, causal_gan])
def test_the_best_weights_are_those_of_the_lowest_score(make, tmp_path, monkeypatch):
    scores = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(validation, "score", lambda *_: {**dict.fromkeys(METRICS, 0.9), "mmd": next(scores)})
    best = make(validate_every=25, checkpoint="best")
    training.fit(best, tmp_path / "best", "model", CPU, validation=CELLS)
    ended = make(checkpoint=50)
    training.fit(ended, tmp_path / "ended", "model", CPU)
    tensors = [module.generator.state_dict().values() for module in (best, ended)]
    assert same(*tensors)


@pytest.mark.slow
@pytest.mark.parametrize("die_in_epoch", [1, 2])
def test_the_best_survives_a_kill(die_in_epoch, tmp_path, monkeypatch):
    def train(folder):
        module = causal_gan(validate_every=25, checkpoint="best", validation_metric="cosine_distance")
        training.fit(module, tmp_path / folder, "causal_gan", CPU, validation=CELLS, checkpoint_every=0)
        return list(module.generator.state_dict().values())

    undisturbed = train("whole")
    train_one_step = CausalGAN.train_one_step
    n_steps = iter(range(die_in_epoch * STEPS_PER_EPOCH + 3))

    def dies(self, real, random):
        if next(n_steps, None) is None:
            raise KilledError
        return train_one_step(self, real, random)

    monkeypatch.setattr(CausalGAN, "train_one_step", dies)
    with pytest.raises(KilledError):
        train("killed")
    monkeypatch.setattr(CausalGAN, "train_one_step", train_one_step)
    assert same(train("killed"), undisturbed)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_a_training_that_ended_just_before_the_kill_still_has_its_best(tmp_path, monkeypatch):
    def train(folder):
        module = causal_gan(validate_every=25, checkpoint="best")
        training.fit(module, tmp_path / folder, "causal_gan", CPU, validation=CELLS)
        return list(module.generator.state_dict().values())

    undisturbed = train("whole")

    def dies(*_):
        raise KilledError

    monkeypatch.setattr(training, "load_best", dies)
    with pytest.raises(KilledError):
        train("killed")
    monkeypatch.undo()
    assert (tmp_path / "killed" / training.CHECKPOINT).exists()
    assert same(train("killed"), undisturbed)


def test_it_needs_cells(tmp_path):
    for cells in None, torch.empty(0, 12):
        with pytest.raises(UserError, match="no validation cells"):
            training.fit(controller(validate_every=10), tmp_path, "controller", CPU, validation=cells)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"checkpoint": "first"}, "checkpoint=first: expected last, best or a step"),
        ({"checkpoint": 0}, "checkpoint=0"),
        ({"checkpoint": True}, "checkpoint=True"),
        ({"checkpoint": STEPS + 1}, "no such step"),
        ({"checkpoint": "best"}, "nothing is validated"),
        ({"validate_every": -1}, "validate_every=-1"),
        ({"validate_every": 2.5}, "validate_every=2.5"),
        ({"validation_metric": "luck"}, "validation_metric=luck"),
        ({"monitor_every": 0}, "monitor_every=0"),
    ],
)
def test_what_cannot_be_chosen_is_refused(changes, says):
    with pytest.raises(UserError, match=says):
        controller(**changes)
