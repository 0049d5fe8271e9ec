import math

import pytest

from llm4grn.errors import UserError
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters

GOOD = {
    "steps": 100,
    "batch_size": 8,
    "critic_layers": [4],
    "generator_lr": [1e-3, 1e-4],
    "critic_lr": [1e-3, 1e-3],
}


def test_learning_rate_decays_exponentially_over_the_schedule_and_stays():
    hyper = CausalGANHyperparameters(**GOOD, schedule_steps=200)
    rates = [hyper.learning_rate((1e-3, 1e-4), step) for step in (0, 100, 200, 1000)]
    assert rates == pytest.approx([1e-3, math.sqrt(1e-3 * 1e-4), 1e-4, 1e-4])
    assert CausalGANHyperparameters(**GOOD).learning_rate((1e-3, 1e-4), 100) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 2.5),
        ("batch_size", 1),
        ("critic_layers", []),
        ("critic_layers", [0]),
        ("critic_layers", "256"),
        ("critic_spaces", []),
        ("critic_spaces", ["sqrt"]),
        ("critic_spaces", ["counts", "counts"]),
        ("critic_spaces", ["counts", "log1p"]),  # without preconditioned
        ("critic_weights", [0]),
        ("critic_weights", [1.0, 0.5]),  # of one space
        ("generator_lr", [1e-3]),
        ("generator_lr", [1e-3, -1e-4]),
        ("critic_lr", 1e-3),
        ("labeler_lr", [float("nan"), 1e-4]),
        ("betas", [0.5, 1.0]),
        ("penalty_weight", -1),
        ("depth", -1),
        ("width", 0),
        ("noise_per_gene", True),
        ("schedule_steps", 0),
        ("amsgrad", "yes"),
        ("preconditioned", 1),
        ("precision", "float16"),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"model\.causal_gan\.{field}"):
        CausalGANHyperparameters(**{**GOOD, field: value})


def test_the_message_names_the_stage():
    with pytest.raises(UserError, match=r"model\.controller\.noise_dim=0"):
        ControllerHyperparameters(**GOOD, noise_dim=0)
