"""Silence for libraries that talk more than they say."""

from __future__ import annotations

import logging

_CHATTY = "pytorch_lightning", "lightning.pytorch", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"


def quiet_lightning() -> None:
    """Let Lightning log errors only: hardware, tips and summaries are not about what the user asked for."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
