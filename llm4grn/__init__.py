"""llm4grn: can a large language model draw a gene regulatory network?

The public names are imported when they are first used, so that ``import llm4grn`` is fast.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm4grn.api import datasets
    from llm4grn.api.cells import SplitCells, preprocess
    from llm4grn.api.edges import why
    from llm4grn.api.generator import CausalGenerator
    from llm4grn.api.networks import adjacencies, infer_grn, transcription_factors
    from llm4grn.api.scores import plot_cells, predictive_score, score
    from llm4grn.errors import UserError
    from llm4grn.evaluation.graphs.perturbation_score import perturbation_score
    from llm4grn.evaluation.graphs.regression_score import regression_score
    from llm4grn.grn import GRN, CausalGraph

__version__ = "0.1.0"

# After each product, torch's OpenMP threads spin for milliseconds on the cores that the target generators need next.
# Measured once by hand on 2 cores, a short spin saved a quarter to a third of a step; no benchmark checks it yet. torch
# reads the variable when it is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__all__ = [
    "GRN",
    "CausalGenerator",
    "CausalGraph",
    "SplitCells",
    "UserError",
    "adjacencies",
    "datasets",
    "infer_grn",
    "perturbation_score",
    "plot_cells",
    "predictive_score",
    "preprocess",
    "regression_score",
    "score",
    "transcription_factors",
    "why",
]
_MODULES = {
    "GRN": "grn",
    "CausalGraph": "grn",
    "CausalGenerator": "api.generator",
    "SplitCells": "api.cells",
    "UserError": "errors",
    "adjacencies": "api.networks",
    "infer_grn": "api.networks",
    "perturbation_score": "evaluation.graphs.perturbation_score",
    "plot_cells": "api.scores",
    "predictive_score": "api.scores",
    "preprocess": "api.cells",
    "regression_score": "evaluation.graphs.regression_score",
    "score": "api.scores",
    "transcription_factors": "api.networks",
    "why": "api.edges",
}


def __getattr__(name: str) -> object:
    if name == "datasets":
        return import_module("llm4grn.api.datasets")
    if name in _MODULES:
        return getattr(import_module(f"llm4grn.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
