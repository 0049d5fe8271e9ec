"""What a training logs, handed on to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class Follower(Logger):
    """A Lightning logger that hands on numbers and keeps nothing.

    Parameters
    ----------
    log
        Called with names and values, and the step they belong to.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], None]) -> None:
        super().__init__()
        self.log = log

    @property
    def name(self) -> None:
        """None: it has no folder."""

    @property
    def version(self) -> None:
        """None: it has no folder."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.log(metrics, step or 0)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration of a run is known before its training."""
