"""One cell of the paper's table as plain objects: every value that determines its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import Source
from llm4grn.errors import UserError
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters
from llm4grn.grn.network import Strategy
from llm4grn.inference.base import Inferer
from llm4grn.knowledge.base import KnowledgeBase
from llm4grn.metrics.registry import METRICS
from llm4grn.validation import NonNegative, Positive, check_fields


@dataclass(frozen=True)
class Dataset:
    """A source of raw counts, its preprocessing, and ``context``, the only description that an LLM gets."""

    name: str
    source: Source
    preprocessing: Preprocessing
    context: str = ""


@dataclass(frozen=True)
class Model:
    """Hyperparameters of both stages of the generator."""

    name: str
    controller: ControllerHyperparameters
    causal_gan: CausalGANHyperparameters


@dataclass(frozen=True)
class Setting:
    """One cell of the paper's table: every value that determines its numbers, and no other.

    Parameters
    ----------
    dataset
        Data source and preprocessing.
    kb_name, inferer_name
        Names of knowledge base and inferer in the tables.
    kb
        Knowledge base that names the TFs.
    inferer
        Method that ranks the edges.
    k, strategy, tf_k
        Choice of the ranked edges to impose, see :meth:`GRN.top`.
    model
        Hyperparameters of the generator; None for a pipeline that ends at the graph.
    n_samples
        Number of synthetic data sets per trained model, each as large as the test set.
    metrics
        Names of metrics in the registry.
    exact
        Whether the metrics of thousands of cells are computed without approximations.
    predictive
        Models of the held-out predictive score of the graph; none if empty.
    llm
        Name of the language model in the tables; empty if none is used.
    seed
        Seed for everything but the inference.
    inference_seed
        Seed for the inference, over which its consistency is measured.

    Raises
    ------
    UserError
        If a number is not an integer >= its minimum, or a strategy or metric is unknown.
    """

    dataset: Dataset
    kb_name: str
    kb: KnowledgeBase
    inferer_name: str
    inferer: Inferer
    k: Positive = 10
    strategy: Strategy = "top"
    tf_k: NonNegative = 0
    model: Model | None = None
    n_samples: Positive = 4
    metrics: Sequence[str] = tuple(METRICS)
    exact: bool = False
    predictive: Sequence[Literal["ridge", "trees"]] = ("ridge",)
    llm: str = ""
    seed: NonNegative = 1000
    inference_seed: NonNegative = 1000

    def __post_init__(self) -> None:
        check_fields(
            self,
            "graph",
            kb_name="kb.name",
            inferer_name="inferer.name",
            llm="llm.name",
            n_samples="evaluation.n_samples",
            metrics="evaluation.metrics",
            exact="evaluation.exact",
            predictive="predictive",
            seed="seed",
            inference_seed="inference_seed",
        )
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        if unknown or not self.metrics:
            raise UserError(f"evaluation.metrics={list(self.metrics)}: choose some of {', '.join(METRICS)}")

    @property
    def labels(self) -> dict[str, Any]:
        """Columns of the results table that identify this setting."""
        return {
            "dataset": self.dataset.name,
            "kb": self.kb_name,
            "inferer": self.inferer_name,
            "llm": self.llm,
            "model": self.model.name if self.model else "",
            "graph": f"{self.strategy} {self.k}" + (f", TFs {self.tf_k}" if self.tf_k else ""),
            "seed": self.seed,
        }

    @property
    def name(self) -> str:
        """Name for folders and lists, without spaces; different settings can share it: use it together with a key.

        A name of a model such as ``meta-llama/Llama-3.1`` makes no folder within a folder.
        """
        labels = self.labels
        parts = [labels[key] for key in ("dataset", "kb", "inferer", "llm", "model") if labels[key]]
        layered = [f"tf{self.tf_k}"] if self.tf_k else []
        name = "_".join([*parts, f"{self.strategy}{self.k}", *layered, f"seed{self.seed}"])
        return re.sub(r'[/\\:*?"<>|\s]+', "-", name)
