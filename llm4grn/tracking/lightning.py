"""A Lightning logger that forwards the metrics of a training to a tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class Follower(Logger):
    """A Lightning logger that forwards metrics and stores nothing.

    Parameters
    ----------
    log
        Called with the metrics' values by name, and their step.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], None]) -> None:
        super().__init__()
        self.log = log

    @property
    def name(self) -> None:
        """Return None: this logger writes no folder."""

    @property
    def version(self) -> None:
        """Return None: this logger writes no folder."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Forward ``metrics`` with their step, 0 if Lightning gives none."""
        self.log(metrics, step or 0)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Ignore them: a tracker gets the configuration from :class:`~llm4grn.tracking.base.RunInfo`."""
