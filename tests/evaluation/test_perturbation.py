import numpy as np
import pytest

from llm4grn.evaluation.cells.perturbation import PSEUDOCOUNT, fold_changes, paired_cells, plot_fold_changes, summary
from llm4grn.grn.causal_graph import CausalGraph

GRAPH = CausalGraph(("A", "B", "t", "u", "v"), {"t": ("A",), "u": ("t",), "v": ("B",)})
BEFORE = np.array([[4, 1, 2, 8, 3], [2, 1, 2, 0, 3], [0, 1, 2, 4, 3]], dtype=np.float32)
AFTER = np.array([[0, 1, 4, 4, 3], [0, 1, 4, 0, 3], [0, 1, 4, 2, 3]], dtype=np.float32)


def test_one_row_per_gene_with_its_role_and_its_change():
    table = fold_changes(BEFORE, AFTER, GRAPH, ["A"]).set_index("gene")
    assert table["role"].to_dict() == {
        "A": "intervened",
        "B": "unreached",
        "t": "target",
        "u": "descendant",
        "v": "unreached",
    }
    assert list(table.index[:1]) == ["A"]
    assert table.loc["t", "log2_fold_change"] == pytest.approx(np.log2((4 + PSEUDOCOUNT) / (2 + PSEUDOCOUNT)))
    assert table.loc["u", "effect"] == pytest.approx(-2 / np.std([8, 0, 4]))
    assert table.loc["t", "effect"] == 0  # no spread to measure it by
    assert table.loc["u", "share_changed"] == pytest.approx(2 / 3)
    assert (table.loc[["B", "v"], ["log2_fold_change", "effect", "share_changed"]] == 0).all().all()


def test_pairs_stay_together():
    adata = paired_cells(BEFORE, AFTER, GRAPH.genes, "A=0")
    assert adata.shape == (6, 5)
    assert list(adata.obs["pair"]) == [0, 1, 2, 0, 1, 2]
    after = adata[adata.obs["condition"] == "after"]
    assert np.array_equal(after.X.toarray(), AFTER)
    assert adata.uns["do"] == "A=0"


def test_the_picture_has_a_bar_for_each_role(tmp_path):
    from matplotlib.image import imread

    table = fold_changes(BEFORE, AFTER, GRAPH, ["A"])
    image = imread(plot_fold_changes(table, tmp_path / "changes.png", "do(A=0)"))[..., :3]
    for colour in (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00):
        assert (np.abs(image - np.array(colour) / 255).max(axis=-1) < 0.02).sum() > 100
    assert "1 of 1 target" in summary(table)
    unmoved = fold_changes(BEFORE, BEFORE, GRAPH, ["A"])
    assert plot_fold_changes(unmoved, tmp_path / "none.png", "do(A=1x)").stat().st_size > 0
