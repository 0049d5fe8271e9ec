"""Hyperparameters of both stages, validated before any training (protocol, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard

from llm4grn.errors import UserError
from llm4grn.metrics.registry import METRICS


def _optional(default: Any) -> Any:
    """Declare a field that is part of a stage's key only if its value differs from the default."""
    return field(default=default, metadata={"optional": True})


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

    steps: int
    batch_size: int
    critic_layers: Sequence[int]
    generator_lr: Sequence[float]
    critic_lr: Sequence[float]
    schedule_steps: int | None = None
    critic_updates: int = 5
    penalty_weight: float = 10.0
    betas: Sequence[float] = (0.5, 0.9)
    weight_decay: float = 0.01
    amsgrad: bool = True
    preconditioned: bool = False
    precision: str = "float32"
    monitor_every: int = _optional(250)
    validate_every: int = _optional(0)
    validation_metric: str = _optional("mmd")
    checkpoint: int | str = _optional("last")

    #: node of these values in the configuration, for error messages
    _field = "model"

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(f"{self._field}.{each.name}", each.name, getattr(self, each.name))
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

    noise_dim: int = 128
    generator_layers: Sequence[int] = (256, 512, 1024)
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

    noise_per_gene: int = 1
    depth: int = 2
    width: int = 1
    labeler_layers: Sequence[int] = (2000, 2000, 2000)
    labeler_lr: Sequence[float] = (1e-4, 1e-4)
    revive: bool = _optional(False)
    _field = "model.causal_gan"


_NON_NEGATIVE = {"depth", "weight_decay", "penalty_weight", "validate_every"}
_INTEGERS = {"depth", "validate_every"}
_CHOICES = {"precision": ("float32", "bfloat16"), "validation_metric": tuple(METRICS)}


def _check(where: str, name: str, value: object) -> None:
    """Raise UserError, naming the field of the configuration, if a value is outside its range."""

    def refuse(expected: str) -> UserError:
        return UserError(f"{where}={value}: expected {expected}")

    if name == "schedule_steps" and value is None:
        return
    if name in ("amsgrad", "preconditioned", "revive"):
        if not isinstance(value, bool):
            raise refuse("true or false")
        return
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise refuse(" or ".join(_CHOICES[name]))
        return
    if name == "checkpoint":
        if value not in ("last", "best") and not (_is_int(value) and value >= 1):
            raise refuse("last, best or a step, 1 or more")
        return
    if name.endswith("_layers"):
        if not _is_sequence(value) or not value or not all(_is_int(v) and v > 0 for v in value):
            raise refuse("a list of positive whole numbers, for instance [256, 128]")
    elif name.endswith("_lr"):
        if not _is_sequence(value) or len(value) != 2 or not all(_is_number(v) and v > 0 for v in value):
            raise refuse("[first, last], two positive learning rates, for instance [1e-3, 1e-4]")
    elif name == "betas":
        if not _is_sequence(value) or len(value) != 2 or not all(_is_number(v) and 0 <= v < 1 for v in value):
            raise refuse("two numbers in [0, 1), for instance [0.5, 0.9]")
    elif name in _NON_NEGATIVE:
        integer = name in _INTEGERS
        if not _is_number(value) or (integer and not _is_int(value)) or value < 0:
            raise refuse("a whole number, 0 or more" if integer else "a number, 0 or more")
    elif not _is_int(value) or value < 1:
        raise refuse("a whole number, 1 or more")


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
