"""Write networks in the formats of other tools: GraphML (Cytoscape, Gephi, igraph) and geneRNIB's prediction."""

from __future__ import annotations

from pathlib import Path

from llm4grn.evaluation.graphs.plots import plot_degrees
from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.runtime.h5ad import write_h5ad
from llm4grn.store import atomic_write

#: Maximum number of edges that geneRNIB reads.
MAX_PREDICTED_EDGES = 50_000


def write_graph_files(grn: GRN, graph: CausalGraph, folder: Path, *, dataset: str, method: str) -> dict[str, Path]:
    """Write ``graph.graphml``, ``prediction.h5ad`` and ``degrees.png``; return a description of each to its path."""
    return {
        "imposed graph, GraphML": write_graphml(graph, folder / "graph.graphml", grn),
        "edges for geneRNIB": write_prediction(grn, folder / "prediction.h5ad", dataset=dataset, method=method),
        "degrees": plot_degrees(graph, folder / "degrees.png"),
    }


def write_graphml(graph: CausalGraph, path: str | Path, grn: GRN | None = None) -> Path:
    """Write the imposed graph: nodes with their ``role`` (TF or target), edges with ``importance`` and ``sign``.

    Parameters
    ----------
    graph
        The imposed graph.
    path
        Output GraphML path.
    grn
        Ranked edges with the importances and, if the inferer gave them, the signs: 1 for activation, -1 for
        repression. An edge that is not ranked there, or whose sign is not known, lacks the attribute.
    """
    import networkx as nx

    drawn = graph.to_networkx()
    ranked = {} if grn is None else _importances(grn, set(drawn.edges))
    nx.set_edge_attributes(drawn, ranked, "importance")
    signs = {} if grn is None else grn.signs or {}
    nx.set_edge_attributes(drawn, {edge: sign for edge, sign in signs.items() if edge in drawn.edges}, "sign")
    with atomic_write(path) as temporary:
        nx.write_graphml(drawn, temporary)
    return Path(path)


def _importances(grn: GRN, edges: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    table = grn.edges
    rows = zip(zip(table["TF"], table["target"], strict=True), table["importance"], strict=True)
    return {edge: float(importance) for edge, importance in rows if edge in edges}


def write_prediction(grn: GRN, path: str | Path, *, dataset: str, method: str) -> Path:
    """Write the 50,000 edges of highest importance in geneRNIB's format: an ``.h5ad`` without cells.

    ``uns["prediction"]`` is a table of ``source``, ``target`` and ``weight`` (text, as geneRNIB requires), the highest
    weight first, and of ``sign`` if the network has signs; ``uns["dataset_id"]`` and ``uns["method_id"]`` are the
    names.

    Parameters
    ----------
    grn
        Ranked edges.
    path
        Output ``.h5ad`` path.
    dataset, method
        Names in geneRNIB's tables.
    """
    import anndata

    table = grn.edges.head(MAX_PREDICTED_EDGES).rename(columns={"TF": "source", "importance": "weight"})
    table = table.assign(weight=table["weight"].map(repr)).set_axis(table.index.astype(str))
    adata = anndata.AnnData(uns={"dataset_id": dataset, "method_id": method, "prediction": table})
    with atomic_write(path) as temporary:
        write_h5ad(adata, temporary)
    return Path(path)
