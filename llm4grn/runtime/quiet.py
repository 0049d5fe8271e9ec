"""Reduce the log output of libraries."""

from __future__ import annotations

import logging

_CHATTY = "pytorch_lightning", "lightning.pytorch", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"


def quiet_lightning() -> None:
    """Let Lightning log errors only, without its lines on hardware, tips and model summaries."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
