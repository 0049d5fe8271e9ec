"""Read the graphs of finished runs, and name each by the options in which the runs differ."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.knowledge.base import TFSet
from llm4grn.report.blocks import Cell
from llm4grn.results import drawn_by

# Fields of a configuration that change no edge, or that are elsewhere in a label (k: in the name of the graph).
_NOT_IN_NAMES = {"n_jobs", "backend", "scheduler", "device", "context", "k", "cache", "max_cost", "chat"}
# For a language model, another sample of answers corresponds to another seed of other methods.
_NOT_IN_NAMES |= {"first_sample"}


@dataclass(frozen=True)
class GraphRun:
    """The graph in one folder of ``train.py`` or ``infer_grn.py``.

    Parameters
    ----------
    folder
        Folder with ``config.yaml``, ``tfs.json``, ``grn.tsv`` and ``graph.json``.
    dataset, kb, inferer
        Names, followed in brackets by the fields that distinguish options of the same name.
    graph
        The rule that selects the imposed edges, for instance ``top 10``; empty if it is the same for all graphs of the
        data set.
    seed, inference_seed
        Seeds of the split and of the inference.
    config
        The configuration.
    """

    folder: Path
    dataset: str
    kb: str
    inferer: str
    graph: str
    seed: int
    inference_seed: int
    config: Mapping[str, Any]

    @property
    def setting(self) -> tuple[str, str, str]:
        """Return data set, KB, and inferer (with the graph, if that varies): runs of one setting differ by seeds."""
        return self.dataset, self.kb, ", ".join(filter(None, (self.inferer, self.graph)))

    @property
    def curated(self) -> bool:
        """Return True if the TFs come from a curated list."""
        return self.config["kb"]["method"]["_target_"].endswith(".CuratedList")

    @property
    def language_model(self) -> Mapping[str, Any] | None:
        """Return the configuration of the inferer if it is a language model; None for other methods."""
        method = self.config["inferer"]["method"]
        return method if str(method.get("_target_")).endswith(".LLMInferer") else None

    @cached_property
    def causal_graph(self) -> CausalGraph:
        """Return the imposed graph."""
        return CausalGraph.from_json(self.folder / "graph.json")

    @cached_property
    def grn(self) -> GRN:
        """Return the ranked edges."""
        return GRN.read(self.folder / "grn.tsv")

    @cached_property
    def tf_names(self) -> tuple[str, ...]:
        """Return the TFs of the knowledge base."""
        return TFSet.from_json(self.folder / "tfs.json").names

    @property
    def candidates(self) -> tuple[str, ...] | None:
        """Return the TFs that the inferer was given; None if it ranked all genes."""
        return None if self.config["kb"]["method"]["_target_"].endswith(".NoPriorList") else self.tf_names


def read_graph_runs(folders: Sequence[Path], distinct: bool = True) -> list[GraphRun]:
    """Read the graphs in ``folders``, sorted by data set, KB (curated ones first), inferer and seeds.

    Parameters
    ----------
    folders
        Folders of ``train.py`` or ``infer_grn.py``.
    distinct
        Whether to return a graph once that several folders share, for instance runs of several models.

    Raises
    ------
    UserError
        If a folder lacks its configuration or its graph.
    """
    folders = [Path(folder) for folder in folders]
    configs = [_read_config(folder) for folder in folders]
    runs = [
        GraphRun(folder, *names, config["seed"], config["inference_seed"], config)
        for folder, config, names in zip(folders, configs, _names(configs), strict=True)
    ]
    runs.sort(key=lambda run: (run.dataset, not run.curated, *run.setting, run.seed, run.inference_seed, run.folder))
    if not distinct:
        return runs
    first: dict[tuple, GraphRun] = {}
    for run in runs:
        first.setdefault((run.setting, run.seed, run.inference_seed, _digest(run.folder)), run)
    return list(first.values())


def by_setting(runs: Sequence[GraphRun]) -> dict[tuple[str, str, str], list[GraphRun]]:
    """Group runs that differ only by seeds."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.setting].append(run)
    return dict(groups)


def over_seeds(values: Sequence[float], digits: int, factor: float = 1) -> Cell:
    """Return the mean of ``factor * values``, with the sample standard deviation if the values differ."""
    scaled = [factor * value for value in values]
    text = f"{fmean(scaled):.{digits}f}"
    return Cell(text if len(set(scaled)) == 1 else f"{text} ± {stdev(scaled):.{digits}f}", fmean(scaled))


def file_name(text: str) -> str:
    """Replace the characters of ``text`` that a file system may not accept."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)


def _read_config(folder: Path) -> Mapping[str, Any]:
    import yaml

    path = folder / "config.yaml"
    missing = [name for name in ("config.yaml", "tfs.json", "grn.tsv", "graph.json") if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: no {missing[0]} in it; give the folder of a finished run, or delete this one and run the same "
            "command again to write it"
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        _ = [config[group]["name"] for group in ("dataset", "kb", "inferer")]
        _ = [config[group]["method"]["_target_"] for group in ("kb", "inferer")]
        _ = config["graph"]["strategy"], config["graph"]["k"], config["seed"], config["inference_seed"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(
            f"{path}: not the configuration of a run ({reason}); delete its folder and run the same command again"
        ) from error
    return config


def _names(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return data set, KB, inferer and graph of each configuration."""
    groups = {
        "dataset": ([str(config["dataset"]["name"]) for config in configs], ("source", "preprocessing")),
        "kb": ([str(config["kb"]["name"]) for config in configs], ("method",)),
        "inferer": ([_inferer(config) for config in configs], ("method",)),
    }
    columns: list[list[str]] = []
    for group, (given, parts) in groups.items():
        fields = [dict(_flat({part: config[group].get(part) for part in parts})) for config in configs]
        columns.append(_set_apart(list(zip(*columns, given, strict=True)), fields))
    datasets, kbs, inferers = columns
    graphs = [_graph(config["graph"]) for config in configs]
    rules = defaultdict(set)
    for dataset, graph in zip(datasets, graphs, strict=True):
        rules[dataset].add(graph)
    return [
        (dataset, kb, inferer, graph if len(rules[dataset]) > 1 else "")
        for dataset, kb, inferer, graph in zip(datasets, kbs, inferers, graphs, strict=True)
    ]


def _graph(options: Mapping[str, Any]) -> str:
    layered = f", TFs {options['tf_k']}" if options.get("tf_k") else ""
    return f"{options['strategy']} {options['k']}{layered}"


def _inferer(config: Mapping[str, Any]) -> str:
    """Return the name of the language model that draws the edges, else that of the inferer."""
    asked = config.get("llm") or {}
    llm = str(asked.get("label") or asked.get("name") or "")
    return llm if "llm" in config["inferer"]["method"] else drawn_by(str(config["inferer"]["name"]), llm)


def _set_apart(names: Sequence[tuple[str, ...]], fields: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the last part of each name, with the fields in which it differs from others of the same name."""
    result = []
    for name, own in zip(names, fields, strict=True):
        same = [other for each, other in zip(names, fields, strict=True) if each == name]
        varied = [field for field in own if len({str(other.get(field, own[field])) for other in same}) > 1]
        options = ", ".join(f"{field.rpartition('.')[2]}={own[field]}" for field in varied)
        result.append(f"{name[-1]} ({options})" if options else name[-1])
    return result


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the leaves of nested mappings with their dotted paths."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, item in value.items():
        if name not in _NOT_IN_NAMES:
            yield from _flat(item, f"{path}.{name}" if path else str(name))


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "graph.json").read_bytes() + (folder / "grn.tsv").read_bytes()).hexdigest()
