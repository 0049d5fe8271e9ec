"""Estimate time, disk space and GPU memory of stages: as measured before, else by rules that the plan states."""

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

# Seconds of a stage for pbmc3k on 2 cores, to the order of magnitude (benchmarks/README.md).
_SECONDS = {"data": 10.0, "tfs": 1.0, "grn": 10.0, "graph": 1.0, "cells": 2.0, "scores": 15.0}
_BYTES = {"data": 5e7, "grn": 5e6}
_BYTES_PER_VALUE = 1.0  # disk space per cell and gene in a compressed file of counts


@dataclass(frozen=True)
class Device:
    """Speed of the hardware that trains: operations per second, and seconds of overhead per step."""

    operations: float
    overhead: float


# Fitted to two cores, which took 2.56 s per step of stage 2 at the paper's size and 0.05 s at that of model=small.
CPU = Device(operations=1.86e11, overhead=0.02)
# A guess for one data-centre GPU in float32; trainings that the store has timed take its place.
GPU = Device(operations=1e13, overhead=0.01)


@dataclass(frozen=True)
class Networks:
    """Sizes of the networks that a stage trains, in weights.

    Parameters
    ----------
    stage
        ``controller`` or ``causal_gan``.
    model
        Hyperparameters of the stage, by name.
    n_genes
        Number of genes.
    k
        Regulators per target in the imposed graph.
    """

    stage: str
    model: Mapping[str, Any]
    n_genes: int
    k: int = 10

    @property
    def critic(self) -> int:
        """Number of weights of the critics."""
        return len(self.model.get("critic_spaces", ("counts",))) * _weights(
            self.n_genes, *self.model["critic_layers"], 1
        )

    @property
    def labelers(self) -> int:
        """Number of weights of both labelers, with one gene in ten counted as a TF."""
        if self.stage == "controller":
            return 0
        return 2 * _weights(self.n_genes, *self.model["labeler_layers"], self.n_genes // 10)

    @property
    def units_per_gene(self) -> int:
        """Width of a hidden layer of one target generator."""
        return self.model["width"] * (self.k + self.model["noise_per_gene"])

    @property
    def generator(self) -> int:
        """Number of weights of the generator."""
        if self.stage == "controller":
            return _weights(self.model["noise_dim"], *self.model["generator_layers"], self.n_genes)
        return self.n_genes * (self.model["depth"] + 1) * self.units_per_gene**2

    @property
    def steps(self) -> int:
        """Number of steps until the training ends."""
        last = self.model.get("checkpoint", "last")
        return self.model["steps"] if isinstance(last, str) else last

    @property
    def operations_per_step(self) -> float:
        """Floating-point operations of a step's matrix products: 2 per weight and cell forward, 4 backward.

        The critic sees real, generated and interpolated cells at each of its updates, and again for the generator's;
        the gradient penalty counts as one more pass.
        """
        updates = self.model["critic_updates"]
        critic = (updates * 4 + 1) * 6 * self.critic
        generator = (updates * 2 + 6) * self.generator
        return self.model["batch_size"] * (critic + generator + 2 * 6 * self.labelers)

    def seconds(self, device: Device) -> float:
        """Return the seconds of the whole training."""
        return self.steps * (device.overhead + self.operations_per_step / device.operations)

    @property
    def gpu_bytes(self) -> float:
        """GPU memory in bytes: weights with gradients and three moments, activations of a step, and CUDA itself."""
        weights = 4 * 5 * (self.critic + self.labelers + self.generator)
        widths = [*self.model["critic_layers"], *self.model.get("labeler_layers", ()), self.n_genes]
        if self.stage == "causal_gan":
            widths.append(self.n_genes * (self.model["depth"] + 1) * self.units_per_gene)
        cells = 4 * 4 * self.model["batch_size"] * self.model["critic_updates"] * sum(widths)
        return weights + cells + 2**30


def _weights(*widths: int) -> int:
    """Return the number of weights of dense layers between these widths, without biases."""
    return sum(a * b for a, b in pairwise(widths))


@dataclass(frozen=True)
class Estimates:
    """Expected time and disk space of stages.

    Parameters
    ----------
    store
        Store of finished stages, with their durations.
    on_gpu
        Keys of the trainings that will run on a GPU.
    """

    store: Store
    on_gpu: Collection[str] = ()

    def seconds(self, stage: Stage) -> tuple[float, bool]:
        """Return the seconds of a stage, and True if they were measured before with the same arguments."""
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
        """Median ratio of measured to expected time of the trainings in the store, by stage; 1 if there are none."""
        ratios = {name: [seconds / each.seconds(CPU) for each, seconds in self._trained(name)] for name in TRAININGS}
        return {name: median(values) if values else 1.0 for name, values in ratios.items()}

    def _trained(self, name: str) -> list[tuple[Networks, float]]:
        """Return the networks and the seconds of each training of a stage in the store."""
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
        """Return the size of a finished stage in bytes: by rule for networks and cells, else the mean in the store."""
        if (networks := networks_of(stage)) is not None:
            return 4.0 * networks.generator
        if stage.name == "cells" and isinstance(data := stage.inputs["data"], Stage):
            preprocessing = data.args["preprocessing"]
            values = preprocessing["n_test"] * preprocessing["n_genes"] * stage.args["n_samples"]
            return _BYTES_PER_VALUE * values
        return self._sizes.get(stage.name, _BYTES.get(stage.name, 1e5))

    @cached_property
    def _sizes(self) -> dict[str, float]:
        """Mean size in bytes of the finished stages in the store, by name."""
        sizes: dict[str, list[int]] = {}
        for path in self.store.root.glob("*/*/stage.json"):
            total = sum(file.stat().st_size for file in path.parent.rglob("*"))
            sizes.setdefault(path.parent.parent.name, []).append(total)
        return {name: sum(values) / len(values) for name, values in sizes.items()}


def networks_of(stage: Stage) -> Networks | None:
    """Return the networks that a stage trains; None if it trains nothing."""
    data, graph = stage.inputs.get("data"), stage.inputs.get("graph")
    if stage.name not in TRAININGS or not isinstance(data, Stage):
        return None
    n_genes = data.args["preprocessing"]["n_genes"]
    k = min(graph.args["k"], n_genes) if isinstance(graph, Stage) else 10
    return Networks(stage.name, stage.args["model"], n_genes, k)


def _read(folder: Path) -> dict[str, Any]:
    """Return the description of a finished stage, empty if the stage does not exist."""
    path = folder / "stage.json"
    return json.loads(path.read_text()) if path.is_file() else {}
