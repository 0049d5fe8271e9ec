"""Folders as the scripts write them, with graphs of a few genes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.knowledge.base import TFSet

CURATED = "llm4grn.knowledge.curated.CuratedList"


def write_folder(
    folder: Path,
    genes: Sequence[str],
    regulators: Mapping[str, Sequence[str]],
    *,
    dataset: str = "tiny",
    kb: str = "human",
    inferer: str = "grnboost2",
    seed: int = 1,
    inference_seed: int | None = None,
    k: int = 2,
    tfs: str | None = None,
    kb_method: str = CURATED,
    source: dict | None = None,
    model: str | None = None,
    ranked: pd.DataFrame | None = None,
    **method,
) -> Path:
    """A folder whose graph has these regulators; ranked edges are those of the graph, if not given."""
    folder.mkdir(parents=True)
    graph = CausalGraph(tuple(genes), {target: tuple(of) for target, of in regulators.items()})
    graph.to_json(folder / "graph.json")
    TFSet(tuple(tfs or graph.tf_names)).to_json(folder / "tfs.json")
    edges = [(tf, target, 1.0 - i / 100) for target, of in regulators.items() for i, tf in enumerate(of)]
    GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]) if ranked is None else ranked).write(
        folder / "grn.tsv"
    )
    config = {
        "dataset": {"name": dataset, "source": source or {"_target_": "H5ad"}, "preprocessing": {"n_genes": 10}},
        "kb": {"name": kb, "method": {"_target_": kb_method}},
        "inferer": {"name": inferer, "method": {"_target_": inferer, "n_jobs": seed, **method}},
        "llm": {"name": None},
        "graph": {"k": k, "strategy": "top"},
        "seed": seed,
        "inference_seed": seed if inference_seed is None else inference_seed,
    }
    if model is not None:
        config["model"] = {"name": model}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def texts(table) -> list[list[str]]:
    """A table as it reads."""
    assert all(len(row) == len(table.header) for row in table.rows)
    assert len(set(table.header)) == len(table.header)
    return [[cell if isinstance(cell, str) else cell.text for cell in row] for row in table.rows]


def column(table, name: str) -> list[float]:
    place = list(table.header).index(name)
    return [row[place].value for row in table.rows]
