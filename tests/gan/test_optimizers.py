"""Optimizers and schedules of both stages: the arguments that they get, and what these do to the weights."""

import math

import numpy as np
import pytest
import torch
from test_training import CPU, causal_gan, controller, real_cells, same

from llm4grn.gan import training
from llm4grn.gan.adversarial import AdversarialModule

#: Another rate for each network, so that no two can be taken for each other.
RATES = {"generator_lr": [4e-3, 4e-5], "critic_lr": [3e-3, 3e-4]}
LABELERS = {"labeler_lr": [2e-3, 1e-3]}
STEPS = 30
MAKES = {"controller": (controller, RATES), "causal_gan": (causal_gan, RATES | LABELERS)}


def rates_of(name: str, rates: dict) -> list[float]:
    return rates["labeler_lr"] if "labeler" in name else rates[f"{name}_lr"]


@pytest.fixture(params=MAKES)
def make(request):
    function, rates = MAKES[request.param]
    return lambda **changes: function(**{"steps": STEPS, **rates, **changes})


@pytest.fixture
def rates(make):
    hyper = make().hyper
    return {name: getattr(hyper, name) for name in RATES | LABELERS if hasattr(hyper, name)}


def ready(module: AdversarialModule) -> AdversarialModule:
    """With its optimizers, as Lightning hands them over."""
    module.start(dict(zip(module.networks(), module.configure_optimizers(), strict=True)))
    return module


# -- arguments --------------------------------------------------------------------------------------------------------


def test_optimizers_have_the_settings_of_the_stage(make):
    module = ready(make(betas=(0.3, 0.7), weight_decay=0.2, amsgrad=False))
    for optimizer in module.optimizer.values():
        (group,) = optimizer.param_groups
        assert type(optimizer) is torch.optim.AdamW
        assert group["betas"] == (0.3, 0.7)
        assert group["weight_decay"] == 0.2
        assert group["amsgrad"] is False
    defaults = ready(make()).optimizer["critic"].param_groups[0]
    assert (defaults["betas"], defaults["weight_decay"], defaults["amsgrad"]) == ((0.5, 0.9), 0.01, True)


def test_each_weight_has_one_optimizer_and_that_of_its_own_network(make):
    module = ready(make())
    found = {
        parameter: name
        for name, optimizer in module.optimizer.items()
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    trained = [p for p in module.parameters() if p.requires_grad]
    assert len(found) == len(trained) == sum(len(o.param_groups[0]["params"]) for o in module.optimizer.values())
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert found[parameter] == name.split(".")[0]


# -- what they do -----------------------------------------------------------------------------------------------------


def test_weight_decay_shrinks_the_weights_of_every_network_by_rate_times_decay(make, rates):
    module = ready(make(weight_decay=0.5))
    for name, optimizer in module.optimizer.items():
        weights = optimizer.param_groups[0]["params"]
        before = [weight.detach().clone() for weight in weights]
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        module.apply_gradients(name)
        for weight, old in zip(weights, before, strict=True):
            torch.testing.assert_close(weight.detach(), old * (1 - 0.5 * rates_of(name, rates)[0]))


def adamw(gradients, rate, betas, decay, amsgrad):
    """A weight that starts at 1, by the formulas of AdamW and AMSGrad."""
    weight, first, second, largest = 1.0, 0.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        weight -= rate * decay * weight
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        largest = max(largest, second) if amsgrad else second
        size = math.sqrt(largest / (1 - betas[1] ** step)) + 1e-8
        weight -= rate * first / (1 - betas[0] ** step) / size
    return weight


@pytest.mark.parametrize("amsgrad", [False, True])
def test_an_update_is_that_of_adamw_by_its_formulas(make, rates, amsgrad):
    gradients = [5.0, 0.1, -0.2, 0.1]
    module = ready(make(betas=(0.4, 0.8), weight_decay=0.1, amsgrad=amsgrad))
    for name, optimizer in module.optimizer.items():
        weights = optimizer.param_groups[0]["params"]
        for weight in weights:
            weight.data.fill_(1.0)
        for gradient in gradients:
            for weight in weights:
                weight.grad = torch.full_like(weight, gradient)
            module.apply_gradients(name)
        expected = adamw(gradients, rates_of(name, rates)[0], (0.4, 0.8), 0.1, amsgrad)
        for weight in weights:
            torch.testing.assert_close(weight.detach(), torch.full_like(weight, expected), rtol=1e-5, atol=1e-6)
    assert adamw(gradients, 1e-3, (0.4, 0.8), 0.1, True) != adamw(gradients, 1e-3, (0.4, 0.8), 0.1, False)


# -- schedules --------------------------------------------------------------------------------------------------------


def followed(module: AdversarialModule, tmp_path, monkeypatch) -> dict[str, list[float]]:
    """The rate of each network's every step in a whole training."""
    found = {name: [] for name in module.networks()}
    train_one_step = type(module).train_one_step

    def looks(self, real, random):
        for name, optimizer in self.optimizer.items():
            found[name].append(float(optimizer.param_groups[0]["lr"]))
        return train_one_step(self, real, random)

    monkeypatch.setattr(type(module), "train_one_step", looks)
    training.fit(module, tmp_path, "model", CPU)
    return found


@pytest.mark.parametrize("changes", [{}, {"schedule_steps": 20}, {"schedule_steps": 60}, {"checkpoint": 12}])
def test_learning_rates_decay_exponentially_from_the_first_to_the_last(make, rates, changes, tmp_path, monkeypatch):
    found = followed(make(**changes), tmp_path, monkeypatch)
    span = changes.get("schedule_steps", STEPS)
    for name, course in found.items():
        first, last = rates_of(name, rates)
        expected = np.exp(np.interp(np.arange(len(course)), [0, span], np.log([first, last])))
        np.testing.assert_allclose(course, expected, rtol=1e-6)
        assert len(course) == changes.get("checkpoint", STEPS)


def test_a_rate_that_falls_to_nothing_leaves_the_weights_as_they_are(make, rates, tmp_path, monkeypatch):
    """The first steps move every network, the last ones none: the rate is what updates are made with."""
    module = make(**{name: [1e-2, 1e-9] for name in rates}, weight_decay=0.0, schedule_steps=10)
    kept: dict[int, dict[str, list[torch.Tensor]]] = {}
    take_step = AdversarialModule.take_step

    def keeps(self, step):
        networks = self.networks().items()
        kept[step] = {name: [p.detach().clone() for p in parameters] for name, (parameters, _) in networks}
        return take_step(self, step)

    monkeypatch.setattr(AdversarialModule, "take_step", keeps)
    training.fit(module, tmp_path, "model", CPU)
    for name in module.networks():
        assert not same(kept[0][name], kept[1][name])
        for early, late in zip(kept[20][name], kept[STEPS - 1][name], strict=True):
            torch.testing.assert_close(late, early, rtol=0, atol=1e-6)


# -- the scale of cells -----------------------------------------------------------------------------------------------


def test_judged_cells_are_centred_and_of_total_variance_1(make):
    cells = real_cells()
    judged = make(preconditioned=True).critic_input(cells).numpy().astype(np.float64)
    np.testing.assert_allclose(judged.mean(axis=0), 0, atol=1e-6)
    assert judged.var(axis=0, ddof=1).sum() == pytest.approx(1, rel=1e-5)
    directions = cells.numpy().astype(np.float64) - cells.numpy().mean(axis=0)
    np.testing.assert_allclose(judged / judged[0, 0], directions / directions[0, 0], rtol=1e-3)  # one scale for all
    assert torch.equal(make(preconditioned=False).critic_input(cells), cells)


def test_each_space_has_total_variance_1(make):
    cells = real_cells()
    judged = make(preconditioned=True, critic_spaces=["counts", "log1p"]).critic_input(cells).double().numpy()
    np.testing.assert_allclose(judged.mean(axis=0), 0, atol=1e-6)
    counts, logs = np.split(judged, 2, axis=1)
    for half, seen in (counts, cells), (logs, torch.log(1 + cells)):
        assert half.var(axis=0, ddof=1).sum() == pytest.approx(1, rel=1e-5)
        directions = (seen - seen.mean(dim=0)).double().numpy()
        np.testing.assert_allclose(half / half[0, 0], directions / directions[0, 0], rtol=1e-3)
