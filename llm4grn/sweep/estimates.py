"""What stages will take: as they did before, else by rough rules that are stated with the plan."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from llm4grn.store import Stage, Store

TRAININGS = "controller", "causal_gan"

# Seconds of a stage, of the order of pbmc3k on 2 cores (benchmarks/README.md).
_SECONDS = {"data": 10.0, "tfs": 1.0, "grn": 10.0, "graph": 1.0, "cells": 2.0, "scores": 15.0}
_BYTES = {"data": 5e7, "grn": 5e6}
_BYTES_PER_VALUE = 1.0  # of a cell's gene in a compressed file of counts


@dataclass(frozen=True)
class Device:
    """Where networks are trained: operations per second, and what every step takes besides."""

    operations: float
    overhead: float


# Two cores: 2.56 s per step of stage 2 at the paper's size, and 0.05 s at that of model=small, were measured.
CPU = Device(operations=1.86e11, overhead=0.02)
# A guess for one data-centre GPU in float32, to be replaced by what was measured as soon as the store has it.
GPU = Device(operations=1e13, overhead=0.01)


@dataclass(frozen=True)
class Networks:
    """Sizes of what is trained in a stage.

    Parameters
    ----------
    stage
        ``controller`` or ``causal_gan``.
    model
        Its hyperparameters by name.
    n_genes, k
        Of the data, and of the graph.
    """

    stage: str
    model: Mapping[str, Any]
    n_genes: int
    k: int = 10

    @property
    def critic(self) -> int:
        """Weights."""
        return _weights(self.n_genes, *self.model["critic_layers"], 1)

    @property
    def labelers(self) -> int:
        """Weights of both; as if one gene in ten were a TF."""
        if self.stage == "controller":
            return 0
        return 2 * _weights(self.n_genes, *self.model["labeler_layers"], self.n_genes // 10)

    @property
    def units_per_gene(self) -> int:
        """Of a hidden layer of a target generator."""
        return self.model["width"] * (self.k + self.model["noise_per_gene"])

    @property
    def generator(self) -> int:
        """Weights."""
        if self.stage == "controller":
            return _weights(self.model["noise_dim"], *self.model["generator_layers"], self.n_genes)
        return self.n_genes * (self.model["depth"] + 1) * self.units_per_gene**2

    @property
    def steps(self) -> int:
        """Until the training ends."""
        last = self.model.get("checkpoint", "last")
        return self.model["steps"] if isinstance(last, str) else last

    @property
    def operations_per_step(self) -> float:
        """Of matrix products: 2 per weight and cell forward, 4 backward.

        The critic sees real, generated and interpolated cells at each of its updates, and again for the generator's;
        the gradient penalty counts as one more pass.
        """
        updates = self.model["critic_updates"]
        critic = (updates * 4 + 1) * 6 * self.critic
        generator = (updates * 2 + 6) * self.generator
        return self.model["batch_size"] * (critic + generator + 2 * 6 * self.labelers)

    def seconds(self, device: Device) -> float:
        """Of the whole training."""
        return self.steps * (device.overhead + self.operations_per_step / device.operations)

    @property
    def gpu_bytes(self) -> float:
        """Weights with gradients and three moments; what a step keeps of its cells; CUDA itself."""
        weights = 4 * 5 * (self.critic + self.labelers + self.generator)
        widths = [*self.model["critic_layers"], *self.model.get("labeler_layers", ()), self.n_genes]
        if self.stage == "causal_gan":
            widths.append(self.n_genes * (self.model["depth"] + 1) * self.units_per_gene)
        cells = 4 * 4 * self.model["batch_size"] * self.model["critic_updates"] * sum(widths)
        return weights + cells + 2**30


def _weights(*widths: int) -> int:
    return sum(a * b for a, b in pairwise(widths))


@dataclass(frozen=True)
class Estimates:
    """What stages will take.

    Parameters
    ----------
    store
        Of what ran before.
    on_gpu
        Keys of the trainings that will run on one.
    """

    store: Store
    on_gpu: Collection[str] = ()

    def seconds(self, stage: Stage) -> tuple[float, bool]:
        """Of a stage, and whether that is what the same arguments took before; else it is scaled or a rule."""
        if before := self.store.durations(stage):
            return median(before), True
        networks = networks_of(stage)
        if networks is None:
            return _SECONDS[stage.name], False
        if stage.key in self.on_gpu:
            return networks.seconds(GPU), False
        return networks.seconds(CPU) * self._ratios[stage.name], False

    @cached_property
    def _ratios(self) -> dict[str, float]:
        """By how much trainings of other sizes took longer here than the rule says; 1 if none ever ran."""
        found = {name: [seconds / each.seconds(CPU) for each, seconds in self._trained(name)] for name in TRAININGS}
        return {name: median(ratios) if ratios else 1.0 for name, ratios in found.items()}

    def _trained(self, name: str) -> list[tuple[Networks, float]]:
        trained = []
        for key, seconds in self.store.recorded(name).items():
            description = _read(self.store.root / name / key)
            data = _read(self.store.root / "data" / description.get("inputs", {}).get("data", ""))
            graph = _read(self.store.root / "graph" / description.get("inputs", {}).get("graph", ""))
            if description and data:
                n_genes = data["args"]["preprocessing"]["n_genes"]
                k = graph["args"]["k"] if graph else 10
                trained.append((Networks(name, description["args"]["model"], n_genes, k), seconds))
        return trained

    def bytes(self, stage: Stage) -> float:
        """Of the files of a finished stage: by what decides its size, or the mean of those of its name in the store."""
        if (networks := networks_of(stage)) is not None:
            return 4.0 * networks.generator
        if stage.name == "cells" and isinstance(data := stage.inputs["data"], Stage):
            preprocessing = data.args["preprocessing"]
            values = preprocessing["n_test"] * preprocessing["n_genes"] * stage.args["n_samples"]
            return _BYTES_PER_VALUE * values
        return self._sizes.get(stage.name, _BYTES.get(stage.name, 1e5))

    @cached_property
    def _sizes(self) -> dict[str, float]:
        sizes: dict[str, list[int]] = {}
        for path in self.store.root.glob("*/*/stage.json"):
            total = sum(file.stat().st_size for file in path.parent.rglob("*"))
            sizes.setdefault(path.parent.parent.name, []).append(total)
        return {name: sum(found) / len(found) for name, found in sizes.items()}


def networks_of(stage: Stage) -> Networks | None:
    """What a stage would train; None if it trains nothing."""
    data, graph = stage.inputs.get("data"), stage.inputs.get("graph")
    if stage.name not in TRAININGS or not isinstance(data, Stage):
        return None
    n_genes = data.args["preprocessing"]["n_genes"]
    k = min(graph.args["k"], n_genes) if isinstance(graph, Stage) else 10
    return Networks(stage.name, stage.args["model"], n_genes, k)


def _read(folder: Path) -> dict[str, Any]:
    """The description of a finished stage, empty if it is not there."""
    path = folder / "stage.json"
    return json.loads(path.read_text()) if path.is_file() else {}
