"""GraphML, geneRNIB's prediction and the picture of the degrees, read as their readers do."""

import anndata
import networkx as nx
import pandas as pd
from matplotlib.image import imread

from llm4grn.evaluation.graphs.files import MAX_PREDICTED_EDGES, write_graph_files, write_graphml, write_prediction
from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph

GRAPH = CausalGraph(("A", "B", "t<&>", "u"), {"t<&>": ("A", "B"), "u": ("A",)})


def grn(*edges):
    return GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]))


def test_graphml_is_the_imposed_graph_with_importances(tmp_path):
    ranked = grn(("A", "t<&>", 1 / 3), ("B", "u", 9.0), ("A", "u", 2.0))
    read = nx.read_graphml(write_graphml(GRAPH, tmp_path / "graph.graphml", ranked))
    assert read.is_directed()
    assert dict(read.nodes(data="role")) == {"A": "TF", "B": "TF", "t<&>": "target", "u": "target"}
    assert {(tf, target): value for tf, target, value in read.edges(data="importance")} == {
        ("A", "t<&>"): 1 / 3,
        ("B", "t<&>"): None,
        ("A", "u"): 2.0,
    }


def test_signs_are_exported(tmp_path):
    rows = [("A", "t<&>", 3.0, 1), ("B", "t<&>", 2.0, -1), ("A", "u", 1.0, 0)]
    signed = GRN.from_edges(pd.DataFrame(rows, columns=["TF", "target", "importance", "sign"]))
    read = nx.read_graphml(write_graphml(GRAPH, tmp_path / "graph.graphml", signed))
    assert {edge[:2]: edge[2] for edge in read.edges(data="sign")} == {
        ("A", "t<&>"): 1,
        ("B", "t<&>"): -1,
        ("A", "u"): None,
    }
    table = anndata.read_h5ad(write_prediction(signed, tmp_path / "p.h5ad", dataset="d", method="m")).uns["prediction"]
    assert table["sign"].tolist() == [1, -1, 0]


def test_the_prediction_holds_the_surest_edges_as_text(tmp_path):
    n = MAX_PREDICTED_EDGES + 7
    ranked = grn(*((f"TF{i % 90}", f"g{i}", 1 + i / 3) for i in range(n)))
    adata = anndata.read_h5ad(write_prediction(ranked, tmp_path / "p.h5ad", dataset="pbmc3k", method="genie3"))
    assert (adata.uns["dataset_id"], adata.uns["method_id"]) == ("pbmc3k", "genie3")
    table = adata.uns["prediction"]
    assert list(table.columns) == ["source", "target", "weight"]
    assert len(table) == 50_000
    assert all(isinstance(weight, str) for weight in table["weight"])
    weights = table["weight"].astype(float)
    assert weights.is_monotonic_decreasing
    assert weights.iloc[0] == 1 + (n - 1) / 3
    assert table.iloc[0]["target"] == f"g{n - 1}"


def test_all_files_are_written_and_the_same_again(tmp_path):
    ranked = grn(("A", "t<&>", 1.0), ("B", "t<&>", 0.5), ("A", "u", 2.0))
    first, again = (
        write_graph_files(ranked, GRAPH, tmp_path / name, dataset="some", method="random") for name in ("a", "b")
    )
    assert [path.name for path in first.values()] == ["graph.graphml", "prediction.h5ad", "degrees.png"]
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in again.values()]
    image = imread(first["degrees"])
    assert image.shape[1] > 2 * image.shape[0]
    for colour in [0, 0x72 / 255, 0xB2 / 255], [0, 0x9E / 255, 0x73 / 255]:  # bars of both panels
        assert (abs(image[..., :3] - colour).max(axis=-1) < 0.01).mean() > 0.02
