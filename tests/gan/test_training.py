"""Training under Lightning: exact resume, one fixed course per seed, and a stop when it diverges."""

import csv

import numpy as np
import pytest
import torch
from scipy.stats import norm

from llm4grn.errors import UserError
from llm4grn.gan import training
from llm4grn.gan.adversarial import STEPS_PER_EPOCH
from llm4grn.gan.causal_controller import CausalController
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters
from llm4grn.gan.networks import CellGenerator
from llm4grn.grn import CausalGraph

CPU = {"accelerator": "cpu", "devices": 1}
SHARED = {"batch_size": 16, "critic_layers": [12, 6], "critic_updates": 2}
RATES = {"generator_lr": [1e-3, 1e-4], "critic_lr": [1e-3, 1e-4]}
STEPS = 2 * STEPS_PER_EPOCH + 7
GENES = tuple(f"g{i}" for i in range(12))
GRAPH = CausalGraph(GENES, {gene: GENES[: 2 + i % 3] for i, gene in enumerate(GENES[4:])})


def real_cells() -> torch.Tensor:
    cells = torch.rand(50, 12, generator=torch.Generator().manual_seed(0)) * 10
    return cells / cells.sum(dim=1, keepdim=True) * 20_000


def controller(seed: int = 1, cells=None, **changes) -> CausalController:
    hyper = ControllerHyperparameters(
        **{**SHARED, **RATES, "steps": STEPS, "noise_dim": 4, "generator_layers": [8, 8], **changes}
    )
    return CausalController(real_cells() if cells is None else cells, hyper, 20_000, seed)


def causal_gan(seed: int = 1, cells=None, **changes) -> CausalGAN:
    hyper = CausalGANHyperparameters(**{**SHARED, **RATES, "steps": STEPS, "labeler_layers": [8], **changes})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        roots = CellGenerator(4, [8, 8], 12)
    return CausalGAN(real_cells() if cells is None else cells, GRAPH, roots, hyper, 20_000, seed)


def weights(module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class KilledError(Exception):
    """Stands for a process that ends between two steps."""


@pytest.mark.slow
@pytest.mark.parametrize("make", [controller, causal_gan])
def test_a_resumed_training_is_the_undisturbed_one(make, tmp_path, monkeypatch):
    undisturbed = make()
    training.fit(undisturbed, tmp_path / "whole", "controller", CPU, checkpoint_every=0)

    killed = make()
    train_one_step, n_steps = type(killed).train_one_step, iter(range(STEPS_PER_EPOCH + 10))

    def dies(self, real, random):
        if next(n_steps, None) is None:
            raise KilledError
        return train_one_step(self, real, random)

    monkeypatch.setattr(type(killed), "train_one_step", dies)
    with pytest.raises(KilledError):
        training.fit(killed, tmp_path / "killed", "controller", CPU, checkpoint_every=0)
    monkeypatch.undo()
    assert (tmp_path / "killed" / training.CHECKPOINT).exists()

    resumed = make()
    training.fit(resumed, tmp_path / "killed", "controller", CPU, checkpoint_every=0)
    assert resumed.steps_done == STEPS
    assert same(weights(resumed), weights(undisturbed))
    losses = [(tmp_path / name / training.LOSSES).read_bytes() for name in ("whole", "killed")]
    assert losses[0] == losses[1]
    assert not (tmp_path / "killed" / training.CHECKPOINT).exists()


def test_losses_are_written_for_every_step(tmp_path):
    training.fit(causal_gan(), tmp_path, "causal_gan", CPU)
    rows = list(csv.DictReader((tmp_path / training.LOSSES).open()))
    assert [int(row["step"]) for row in rows] == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH, STEPS]
    assert set(rows[0]) == {
        "step",
        "critic_loss",
        "gradient_penalty",
        "generator_loss",
        "antilabeler_generated_loss",
        "labeler_generated_loss",
        "labeler_real_loss",
    }


@pytest.mark.slow
def test_the_seed_decides_everything(tmp_path):
    runs = []
    for i, seed in enumerate([1, 1, 2]):
        module = causal_gan(seed)
        torch.manual_seed(i)  # the global stream must not matter
        training.fit(module, tmp_path / str(i), "causal_gan", CPU)
        runs.append(module)
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))
    cells = [run.generate(20, seed=5) for run in runs]
    assert torch.equal(cells[0], cells[1])
    assert not torch.equal(cells[0], runs[0].generate(20, seed=6))


def test_a_diverging_run_stops_with_the_field_to_change(tmp_path):
    with pytest.raises(UserError, match=r"controller diverged at step 1: .*lower critic_lr.* of model\.controller"):
        training.fit(controller(critic_lr=[1e30, 1e30]), tmp_path, "controller", CPU)


def test_the_cause_names_the_network_that_ran_away(tmp_path):
    with pytest.raises(UserError, match=r"causal_gan diverged at step \d+: .*labeler_lr of model\.causal_gan"):
        training.fit(causal_gan(labeler_lr=[1e30, 1e30]), tmp_path, "causal_gan", CPU)


@pytest.mark.slow
def test_the_last_good_checkpoint_outlives_a_divergence(tmp_path, monkeypatch):
    """It can be resumed from, by whoever has removed the cause; the store may remove the unfinished folder."""
    train_one_step, bad_step = CausalGAN.train_one_step, STEPS_PER_EPOCH + 9

    def diverges(self, real, random):
        losses = train_one_step(self, real, random)
        if len(self.losses_of_steps) == bad_step - STEPS_PER_EPOCH and self.steps_done == STEPS_PER_EPOCH:
            losses["generator_loss"] = losses["generator_loss"] * float("nan")
        return losses

    monkeypatch.setattr(CausalGAN, "train_one_step", diverges)
    kept = tmp_path / "key.diverged"
    with pytest.raises(UserError, match=rf"at step {bad_step + 1}: generator_loss .* generator_lr .*{kept}/last.ckpt"):
        training.fit(causal_gan(), tmp_path / "key.partial", "causal_gan", CPU, checkpoint_every=0)
    monkeypatch.undo()
    assert {path.name for path in kept.iterdir()} == {"last.ckpt", "losses.csv"}
    saved, undisturbed = causal_gan(), causal_gan()
    training.fit(saved, kept, "causal_gan", CPU)
    training.fit(undisturbed, tmp_path / "whole", "causal_gan", CPU)
    assert same(weights(saved), weights(undisturbed))


def test_weights_that_are_not_finite_are_not_saved(tmp_path, monkeypatch):
    """The losses of the last step are those of before its updates."""
    train_one_step = CausalController.train_one_step

    def breaks_at_last(self, real, random):
        losses = train_one_step(self, real, random)
        if self.steps_done + len(self.losses_of_steps) + 1 == STEPS:
            with torch.no_grad():
                self.critic.of_space[0].layers[0].weight[0] = torch.inf
        return losses

    monkeypatch.setattr(CausalController, "train_one_step", breaks_at_last)
    with pytest.raises(UserError, match=f"at step {STEPS}: weights of the critic are not finite.* critic_lr"):
        training.fit(controller(), tmp_path, "controller", CPU)


@pytest.mark.parametrize("make", [controller, causal_gan])
def test_a_training_may_end_at_a_step_of_a_longer_one(make, tmp_path, monkeypatch):
    """checkpoint=STEP: the weights that the longer training had at that step."""
    there = 31
    longer = make()
    train_one_step, found = type(longer).train_one_step, []

    def looked_at(self, real, random):
        if self.steps_done + len(self.losses_of_steps) == there:
            found.extend(weights(self))
        return train_one_step(self, real, random)

    monkeypatch.setattr(type(longer), "train_one_step", looked_at)
    training.fit(longer, tmp_path / "longer", "model", CPU)
    monkeypatch.undo()
    ended = make(checkpoint=there)
    training.fit(ended, tmp_path / "ended", "model", CPU)
    assert ended.steps_done == there
    assert same(weights(ended), found)


def test_generated_cells_have_the_library_size_of_real_ones():
    for module in controller(), causal_gan():
        cells = module.generate(21, seed=0)
        assert cells.shape == (21, 12)
        assert (cells >= 0).all()
        totals = cells.sum(dim=1)
        torch.testing.assert_close(totals[totals > 0], torch.full_like(totals[totals > 0], 20_000.0))


def test_the_controller_is_not_trained_in_stage_2(tmp_path):
    module = causal_gan()
    before = [p.clone() for p in module.generator.controller.parameters()]
    training.fit(module, tmp_path, "causal_gan", CPU)
    assert same(before, list(module.generator.controller.parameters()))


@pytest.mark.parametrize("batch_size", [16, 50, 70])
def test_batches_walk_through_all_cells_before_any_comes_again(batch_size):
    module = controller(batch_size=batch_size)
    position = {tuple(cell.tolist()): i for i, cell in enumerate(module.cells.values)}
    seen = [position[tuple(cell.tolist())] for step in range(20) for cell in module.batch(step)]
    for start in range(0, len(seen) - 50, 50):
        assert sorted(seen[start : start + 50]) == list(range(50))
    assert seen[:50] != seen[50:100]
    # any step on its own, as after a resume
    fresh = controller(batch_size=batch_size)
    assert torch.equal(fresh.batch(13), module.batch(13))


def test_units_of_a_trained_generator_come_back_with_its_weights(tmp_path):
    module = causal_gan(preconditioned=True)
    training.fit(module, tmp_path, "causal_gan", CPU)
    fresh = causal_gan(seed=9)  # another seed, units of counts
    fresh.generator.load_state_dict(module.generator.state_dict())
    assert torch.equal(fresh.generate(20, seed=3), module.generate(20, seed=3))
    cells = real_cells().double().numpy()
    offset = norm.ppf(np.clip((cells > 0).mean(axis=0), 0.005, 0.998))
    units = cells.mean(axis=0) / (norm.pdf(offset) + offset * norm.cdf(offset))
    for generators in module.generator.target_generators, fresh.generator.target_generators:
        found = [generators.units[generators.row[gene], 0].item() for gene in GENES]
        assert found == pytest.approx(units, rel=1e-5)


@pytest.mark.parametrize("make", [controller, causal_gan])
def test_bfloat16_products_stay_close_to_float32(make):
    """A few steps with a small learning rate: the losses differ by the rounding of products, and by no more."""
    losses = []
    for precision in "float32", "bfloat16":
        module = make(precision=precision)
        module.optimizer = dict(zip(module.networks(), module.configure_optimizers(), strict=True))
        losses.append([module.train_one_step(module.batch(i), torch.Generator().manual_seed(i)) for i in range(3)])
    for exact, rounded in zip(*losses, strict=True):
        assert any(exact[name] != rounded[name] for name in exact)
        for name, loss in exact.items():
            torch.testing.assert_close(rounded[name], loss, rtol=0.1, atol=0.1)
