"""Hyperparameters of both stages, validated before any training (protocol, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from llm4grn.errors import UserError
from llm4grn.metrics.registry import METRICS
from llm4grn.validation import Amount, NonNegative, Positive, check_fields


def _distinct(names: Sequence[str]) -> Sequence[str]:
    if len(set(names)) < len(names):
        raise ValueError("the same twice")
    return names


Widths = Annotated[
    Sequence[Positive],
    Field(min_length=1, description="expected a list of positive whole numbers, for instance [256, 128]"),
]
_RATES = "expected [first, last], two positive learning rates, for instance [1e-3, 1e-4]"
LearningRates = Annotated[
    Sequence[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2, description=_RATES)
]
Betas = Annotated[
    Sequence[Annotated[float, Field(ge=0, lt=1)]],
    Field(min_length=2, max_length=2, description="expected two numbers in [0, 1), for instance [0.5, 0.9]"),
]
Spaces = Annotated[
    Sequence[Literal["counts", "log1p"]],
    Field(min_length=1, description="expected counts, log1p or both, for instance [counts, log1p]"),
    AfterValidator(_distinct),
]
Weights = Annotated[
    Sequence[Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    Field(description="expected null or one positive number for each of critic_spaces, for instance [1, 0.5]"),
]
Checkpoint = Annotated[
    Literal["last", "best"] | Positive, Field(description="expected last, best or a step, 1 or more")
]


# Metadata of a field that changes no result at its default: it joins the key of a stage only with another value.
_OPTIONAL = {"optional": True}


@dataclass(frozen=True)
class AdversarialHyperparameters:
    """Hyperparameters that both stages have.

    Parameters
    ----------
    steps
        Number of generator updates.
    schedule_steps
        Number of generator updates over which the learning rates decay from first to last; ``None``: ``steps``.
    batch_size
        Cells per update, at least 2.
    critic_layers
        Hidden widths of the critic.
    critic_spaces
        How critics see the expression of a cell, one for each space: ``counts``, ``log1p`` (of counts), or both. In
        counts a handful of highly expressed genes decide; in log1p most genes count, and how many high counts matters
        little. Labelers see the first space.
    critic_weights
        Weight of the critic of each space in the generator's loss; None: 1 each.
    observation
        What is seen of a generated cell: ``none``, the generated expression itself; ``poisson``, counts drawn around it
        (:mod:`llm4grn.gan.observation`), so that regulators pass on what is expected of them and not whether a
        molecule was caught.
    critic_updates
        Critic updates per generator update.
    penalty_weight
        Weight of the gradient penalty (lambda of Gulrajani et al. 2017).
    generator_lr, critic_lr
        First and last learning rate, with exponential decay in between.
    betas, weight_decay, amsgrad
        Parameters of AdamW. With amsgrad, the large gradients of the first steps slow down all later steps.
    preconditioned
        True: the generator starts at each gene's own distribution (:mod:`llm4grn.gan.marginals`), and critic and
        labelers see the cells with mean 0 and total variance 1 over all genes. The kinks of ReLU then lie among the
        cells, and the gradient penalty is of the same order as the distance that it regularises, so a short training
        suffices. The networks are the same, with another start and on another scale. False: as the protocol says.
    precision
        Precision of the matrix products of critic and labelers: ``float32``, or ``bfloat16`` with sums in float32,
        which is faster if the hardware supports it. Weights, optimizers, BatchNorm and the generators are float32 in
        any case.
    monitor_every
        Steps between two rows of the collapse monitor (:mod:`llm4grn.gan.monitor`).
    validate_every
        Steps between two scorings against the validation cells (:mod:`llm4grn.gan.validation`); 0: never.
    validation_metric
        Metric that selects the best validation, the one closest to the metric's optimum.
    checkpoint
        Step whose weights generate: the ``last`` step; a step by number, at which the training then ends although the
        learning rates decay as if it continued; or the step with the ``best`` validation.

    Both intervals are rounded up to multiples of the steps between two readings of the losses (25).

    Raises
    ------
    UserError
        If a value is outside its range; the message names the field of the configuration.
    """

    steps: Positive
    batch_size: Positive
    critic_layers: Widths
    generator_lr: LearningRates
    critic_lr: LearningRates
    schedule_steps: Positive | None = None
    critic_updates: Positive = 5
    penalty_weight: Amount = 10.0
    betas: Betas = (0.5, 0.9)
    weight_decay: Amount = 0.01
    amsgrad: bool = True
    preconditioned: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    critic_spaces: Spaces = field(default=("counts",), metadata=_OPTIONAL)
    critic_weights: Weights | None = field(default=None, metadata=_OPTIONAL)
    observation: Literal["none", "poisson"] = field(default="none", metadata=_OPTIONAL)
    monitor_every: Positive = field(default=250, metadata=_OPTIONAL)
    validate_every: NonNegative = field(default=0, metadata=_OPTIONAL)
    validation_metric: str = field(default="mmd", metadata=_OPTIONAL)
    checkpoint: Checkpoint = field(default="last", metadata=_OPTIONAL)

    #: node of these values in the configuration, for error messages
    _field = "model"

    def __post_init__(self) -> None:
        check_fields(self, self._field)
        if self.validation_metric not in METRICS:
            choices = " or ".join(METRICS)
            raise UserError(f"{self._field}.validation_metric={self.validation_metric}: expected {choices}")
        if tuple(self.critic_spaces) != ("counts",) and not self.preconditioned:
            raise UserError(
                f"{self._field}.critic_spaces={list(self.critic_spaces)}: spaces have one scale only with "
                f"{self._field}.preconditioned=true"
            )
        if len(self.space_weights) != len(self.critic_spaces):
            raise UserError(
                f"{self._field}.critic_weights={list(self.space_weights)}: expected one for each of "
                f"{self._field}.critic_spaces={list(self.critic_spaces)}"
            )
        if self.batch_size < 2:
            raise UserError(f"{self._field}.batch_size={self.batch_size}: BatchNorm needs at least 2 cells per batch")
        if isinstance(self.checkpoint, int) and self.checkpoint > self.steps:
            raise UserError(
                f"{self._field}.checkpoint={self.checkpoint}: there is no such step among {self.steps} of "
                f"{self._field}.steps; expected last, best or a step"
            )
        if self.checkpoint == "best" and not self.validate_every:
            raise UserError(
                f"{self._field}.checkpoint=best: nothing is validated; add a {self._field}.validate_every such as 500"
            )

    @property
    def space_weights(self) -> Sequence[float]:
        """Return the weight of the critic of each space in the generator's loss."""
        return self.critic_weights or (1.0,) * len(self.critic_spaces)

    @property
    def last_step(self) -> int:
        """Return the step after which the training ends."""
        return self.checkpoint if isinstance(self.checkpoint, int) else self.steps

    def learning_rate(self, lr: Sequence[float], step: int) -> float:
        """Return the learning rate of generator step ``step``, counted from 0.

        It decays exponentially from the first to the last value of ``lr`` within ``schedule_steps``, and then stays.
        """
        first, last = lr
        progress = min(step / (self.schedule_steps or self.steps), 1.0)
        return first * (last / first) ** progress


@dataclass(frozen=True)
class ControllerHyperparameters(AdversarialHyperparameters):
    """Hyperparameters of stage 1, the causal controller.

    Parameters
    ----------
    noise_dim
        Length of the noise vector.
    generator_layers
        Hidden widths of the generator.
    """

    noise_dim: Positive = 128
    generator_layers: Widths = (256, 512, 1024)
    _field = "model.controller"


@dataclass(frozen=True)
class CausalGANHyperparameters(AdversarialHyperparameters):
    """Hyperparameters of stage 2, the causal GAN.

    Parameters
    ----------
    noise_per_gene, depth, width
        Shape of each target generator: noise inputs, hidden blocks after the first, hidden units per input.
    labeler_layers
        Hidden widths of labeler and anti-labeler.
    labeler_lr
        First and last learning rate of both labelers.
    revive
        If True, a gene that no generated cell of a batch expresses still gets its gradient
        (:func:`llm4grn.gan.target_generators.rectify`). If False, a short training leaves rare genes out for good.
    """

    noise_per_gene: Positive = 1
    depth: NonNegative = 2
    width: Positive = 1
    labeler_layers: Widths = (2000, 2000, 2000)
    labeler_lr: LearningRates = (1e-4, 1e-4)
    revive: bool = field(default=False, metadata=_OPTIONAL)
    _field = "model.causal_gan"
