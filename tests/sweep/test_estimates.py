"""Time and space of stages that never ran: rules that follow the sizes, corrected by what was measured."""

import re
from itertools import pairwise
from typing import Any

import pytest
from torch import nn

from llm4grn.gan.target_generators import TargetGenerators
from llm4grn.grn import CausalGraph
from llm4grn.store import Stage, Store
from llm4grn.sweep.estimates import CPU, GPU, Estimates, Networks, networks_of
from llm4grn.sweep.plan import Plan

CONTROLLER = {"steps": 100, "batch_size": 8, "critic_layers": [7, 6], "critic_updates": 5, "noise_dim": 4}
CONTROLLER |= {"generator_layers": [5]}
CAUSAL = {"steps": 100, "batch_size": 8, "critic_layers": [7, 6], "critic_updates": 5, "labeler_layers": [9]}
CAUSAL |= {"noise_per_gene": 1, "depth": 2, "width": 1}


def line(steps: int = 100, n_genes: int = 30, **more: Any) -> tuple[Stage, Stage]:
    """The data and the training of stage 1 of some setting."""
    data = Stage("data", 1, {"preprocessing": {"n_genes": n_genes}, "seed": 1})
    return data, Stage("controller", 2, {"model": {**CONTROLLER, "steps": steps, **more}, "seed": 1}, {"data": data})


def n_weights(*widths: int) -> int:
    layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def test_weights_are_those_of_the_networks():
    controller, causal = Networks("controller", CONTROLLER, 30), Networks("causal_gan", CAUSAL, 30, k=3)
    assert controller.critic == causal.critic == n_weights(30, 7, 6, 1)
    two = Networks("controller", {**CONTROLLER, "critic_spaces": ["counts", "log1p"]}, 30)
    assert two.critic == 2 * controller.critic
    assert controller.generator == n_weights(4, 5, 30)
    assert causal.labelers == 2 * n_weights(30, 9, 3)


def test_weights_of_target_generators_are_about_theirs():
    genes = [f"g{i}" for i in range(110)]
    graph = CausalGraph(tuple(genes), {gene: tuple(genes[:3]) for gene in genes[10:]})
    counted = sum(p.numel() for p in TargetGenerators(graph, 1, 2, 1).parameters() if p.shape[-2:] == (4, 4))
    assert Networks("causal_gan", CAUSAL, 100, k=3).generator == counted


def build(store: Store, stage: Stage, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished stage that took so long."""
    clock = iter([0.0, 0.0, seconds, seconds])
    with monkeypatch.context() as patch:
        patch.setattr("llm4grn.store.time.monotonic", lambda: next(clock, seconds))
        store.get_or_run(stage, lambda folder: (folder / "file").write_bytes(b"x" * 1000))


def test_what_never_ran_follows_steps_and_size(tmp_path):
    estimates = Estimates(Store(tmp_path))
    (short, guess), (long, _) = (estimates.seconds(line(steps)[1]) for steps in (100, 1000))
    assert long == pytest.approx(10 * short)
    assert guess is False
    assert estimates.seconds(line(n_genes=10_000)[1])[0] > short


def test_it_is_corrected_by_trainings_of_other_sizes_that_ran_here(tmp_path, monkeypatch):
    store = Store(tmp_path)
    data, trained = line()
    build(store, data, 1, monkeypatch)
    build(store, trained, 60, monkeypatch)
    assert Estimates(store).seconds(line(1000)[1]) == (pytest.approx(600), False)
    assert Estimates(store).seconds(trained) == (pytest.approx(60), True)
    # Another device: what the CPU took tells nothing.
    other = line(1000)[1]
    on_gpu = Estimates(store, {other.key}).seconds(other)
    assert on_gpu == (networks_of(other).seconds(GPU), False)


def test_the_papers_step_takes_what_was_measured():
    """2.56 s for 1000 genes on two cores: benchmarks/README.md."""
    layers = {"critic_layers": [1024, 512, 256], "labeler_layers": [2000] * 3, "batch_size": 1024}
    assert Networks("causal_gan", CAUSAL | layers, 1000).seconds(CPU) / 100 == pytest.approx(2.56, rel=0.05)


def test_a_training_ends_at_its_checkpoint():
    assert Networks("controller", {**CONTROLLER, "checkpoint": 40}, 30).steps == 40
    assert Networks("controller", {**CONTROLLER, "checkpoint": "best"}, 30).steps == 100


def test_space_is_that_of_stages_like_it_or_of_the_weights(tmp_path, monkeypatch):
    data, training = line()
    store = Store(tmp_path)
    build(store, data, 1, monkeypatch)
    assert 1000 < Estimates(store).bytes(line(n_genes=40)[0]) < 2000
    build(store, training, 1, monkeypatch)  # a small model says nothing about a large one
    large = line(n_genes=10_000)[1]
    assert Estimates(store).bytes(large) == 4 * networks_of(large).generator


@pytest.mark.parametrize("networks", [Networks("controller", CONTROLLER, 30), Networks("causal_gan", CAUSAL, 30, k=3)])
def test_gpu_memory_has_room_for_weights_gradients_two_moments_and_cuda(networks):
    weights = networks.critic + networks.labelers + networks.generator
    assert 4 * 4 * weights + 2**30 < networks.gpu_bytes < 2**30 + 2**20
    larger = Networks(networks.stage, {**networks.model, "batch_size": 800}, 30, k=3)
    assert larger.gpu_bytes > networks.gpu_bytes + 4 * 792 * 30  # the further cells alone


def text(plan: Plan) -> str:
    return plan.text([], "grid")


def test_the_plan_tells_gpu_hours_and_what_is_a_guess(tmp_path, monkeypatch):
    store, (data, training) = Store(tmp_path), line(steps=10**6)
    told = text(Plan(store, {0: [data, training]}, [], on_gpu={training.key}))
    hours = networks_of(training).seconds(GPU) / 3600
    assert f"GPU: ~{hours:.1f} hours for 1 training" in told
    assert "(a guess)" in told
    build(store, data, 40, monkeypatch)
    build(store, training, 7200, monkeypatch)
    again = line(steps=10**6)[1]
    other = Stage("controller", 2, {**again.args, "seed": 2}, again.inputs)
    told = text(Plan(store, {0: [data, other]}, [], on_gpu={other.key}))
    assert "GPU: 2.0 hours for 1 training" in told
    assert "Expected time: 2.0 h, one job after the other, as it took before in this store." in told
    assert "~" not in told


def test_stages_that_wait_for_answers_are_timed_by_these(tmp_path):
    grn = Stage("grn", 1, {"seed": 1})
    told = text(Plan(Store(tmp_path), {0: [grn]}, [], asking={grn.key}))
    assert re.search(r"^grn +1 +1 +0 +1 +answers$", told, re.M)
