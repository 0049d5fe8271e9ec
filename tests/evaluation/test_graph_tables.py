"""Tables and figures of imposed graphs, against small graphs with answers by hand."""

import itertools
import random
from statistics import fmean

import pytest
from graph_folders import column, texts, write_folder
from matplotlib.image import imread

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.overlap import chance_overlap, overlaps
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.evaluation.graphs.tables import (
    density_table,
    graph_blocks,
    hub_table,
    overlap_table,
    tf_overlap_table,
)
from llm4grn.report.blocks import Figure, Table

GENES = "ABCDxyz"


@pytest.fixture
def folders(tmp_path):
    """GRNBoost2 with two inference seeds and a random graph over four TFs, GPT-4's KB with a TF less and one more."""
    gpt4 = {"kb": "gpt4", "kb_method": "llm4grn.knowledge.llm.LLMKnowledgeBase"}
    return [
        write_folder(tmp_path / "one", GENES, {"x": "AB", "y": "AC", "z": "AD"}, inference_seed=1),
        write_folder(tmp_path / "two", GENES, {"x": "AB", "y": "AD", "z": "BC"}, inference_seed=2),
        write_folder(tmp_path / "random", GENES, {"x": "CD", "y": "AB", "z": "CD"}, inferer="random"),
        write_folder(tmp_path / "gpt4", GENES, {"D": "AB", "y": "AC", "z": "Ax"}, tfs="ABCx", **gpt4),
    ]


def test_density(folders):
    table = density_table(read_graph_runs(folders))
    assert texts(table) == [
        ["tiny", "human", "grnboost2", "2", "4", "3", "7", "12", "6", "0.5000"],
        ["tiny", "human", "random", "1", "4", "3", "7", "12", "6", "0.5000"],
        ["tiny", "gpt4", "grnboost2", "1", "4", "3", "7", "12", "6", "0.5000"],
    ]


def test_density_of_inferers_with_equal_numbers_in_one_row_and_of_unequal_seeds_with_their_spread(tmp_path):
    same = [write_folder(tmp_path / name, GENES, {"x": "AB"}, inferer=name) for name in ("b", "a")]
    assert [row[2] for row in texts(density_table(read_graph_runs(same)))] == ["a · b"]
    other = write_folder(tmp_path / "c", GENES, {"x": "AB", "y": "ABC"}, inferer="a", seed=2)
    row = texts(density_table(read_graph_runs([same[1], other])))[0]
    assert row[3:] == ["2", "6 ± 1", "2 ± 1", "7", "8 ± 3", "4 ± 2", "0.4167 ± 0.1179"]  # TFs: genes without regulators


def test_density_where_tfs_regulate_tfs(tmp_path):
    layered = write_folder(tmp_path / "a", "ABCx", {"x": "AB", "B": "A"}, tfs="ABC")
    (row,) = texts(density_table(read_graph_runs([layered])))
    assert row[4:] == ["3", "2", "4", "5", "3", "0.6000"]  # of 3 x 2 pairs, B onto itself is none


def test_tfs_shared_by_knowledge_bases(folders, tmp_path):
    table = tf_overlap_table(read_graph_runs(folders))
    assert texts(table) == [["tiny", "human", "gpt4", "1", "4", "4", "3", "75.0", "75.0"]]
    assert tf_overlap_table(read_graph_runs(folders[:3])) is None
    elsewhere = write_folder(tmp_path / "other", GENES, {"x": "AB"}, kb="llama", seed=2)
    assert tf_overlap_table(read_graph_runs([folders[0], elsewhere])) is None  # no seed in common, so other genes


def test_overlap_by_hand(folders):
    table = overlap_table(overlaps(read_graph_runs(folders)))
    found = {
        (row[1], row[2], row[3], row[4]): value
        for row, value in zip(texts(table), column(table, "Overlap"), strict=True)
    }
    assert found == pytest.approx(
        {
            ("human · grnboost2", "itself, other seed", "same", "1"): fmean([1, 1 / 3, 0]),
            ("human · grnboost2", "human · random", "same", "2"): fmean([0, 1 / 3, 1 / 3, 0, 1 / 3, 1 / 3]),
            ("human · grnboost2", "gpt4 · grnboost2", "same", "2"): fmean([1, 1 / 3, 1 / 3, 0]),
            ("human · random", "gpt4 · grnboost2", "same", "1"): fmean([1 / 3, 0]),
        }
    )


def test_graphs_over_other_genes_are_compared_on_those_both_have(tmp_path):
    one = write_folder(tmp_path / "a", "ABCxyz", {"x": "AB", "y": "BC", "z": "AC"}, seed=1)
    two = write_folder(tmp_path / "b", "ABDxyw", {"x": "AB", "y": "AD", "w": "AB"}, seed=2)
    (found,) = overlaps(read_graph_runs([one, two]))
    # On A, B, x, y: x has A, B in both; y has B in the one and A in the other.
    assert found.values == (0.5,)
    assert (found.same_cells, found.targets) == (False, 2)
    assert found.chance == pytest.approx(fmean([1, 0.5]))
    nothing = write_folder(tmp_path / "c", "AECu", {"u": "AE"}, seed=3)
    assert overlaps(read_graph_runs([one, nothing])) == []


def test_inference_seeds_on_one_split_are_preferred(folders, tmp_path):
    other = write_folder(tmp_path / "split", GENES, {"x": "CD", "y": "BC", "z": "BC"}, seed=5)
    found = {(each.a[2], each.b[2]): each for each in overlaps(read_graph_runs([*folders[:3], other]))}
    assert found["grnboost2", "grnboost2"].same_cells
    assert len(found["grnboost2", "grnboost2"].values) == 1
    assert len(found["grnboost2", "random"].values) == 2


@pytest.mark.parametrize(
    ("tfs_a", "tfs_b", "k_a", "k_b"), [("ABC", "ABC", 2, 2), ("ABCDE", "CDEFGH", 2, 3), ("AB", "CD", 1, 1)]
)
def test_overlap_by_chance_is_the_mean_over_all_graphs(tfs_a, tfs_b, k_a, k_b):
    pairs = itertools.product(itertools.combinations(tfs_a, k_a), itertools.combinations(tfs_b, k_b))
    expected = fmean(len({*a} & {*b}) / len({*a} | {*b}) for a, b in pairs)
    shared = len({*tfs_a} & {*tfs_b})
    assert chance_overlap(len(tfs_a), len(tfs_b), shared, k_a, k_b) == pytest.approx(expected)


def test_hubs(folders):
    table = hub_table(read_graph_runs(folders[:2]))
    assert texts(table)[:2] == [
        ["tiny", "human", "grnboost2", "A", "2 of 2", "2 ± 1", "41.7"],
        ["tiny", "human", "grnboost2", "B", "2 of 2", "2 ± 1", "25.0"],
    ]
    assert column(table, "% of edges") == pytest.approx([100 * n / 12 for n in (5, 3, 2, 2)])


def test_a_hub_of_one_graph_alone_counts_as_absent_in_the_others(tmp_path):
    one = write_folder(tmp_path / "a", "ABCxy", {"x": "A", "y": "A"}, seed=1)
    other = write_folder(tmp_path / "b", "BCxyz", {"x": "B", "y": "B", "z": "C"}, seed=2)
    assert [row[3:] for row in texts(hub_table(read_graph_runs([one, other])))] == [
        ["A", "1 of 2", "2", "50.0"],
        ["B", "2 of 2", "1 ± 1", "33.3"],
        ["C", "2 of 2", "0 ± 1", "16.7"],
    ]


def test_a_graph_in_several_folders_counts_once(folders, tmp_path):
    again = write_folder(tmp_path / "again", GENES, {"x": "AB", "y": "AC", "z": "AD"}, inference_seed=1, model="paper")
    assert len(read_graph_runs([*folders, again])) == 4
    assert len(read_graph_runs([*folders, again], distinct=False)) == 5
    assert [b.rows for b in graph_blocks([*folders, again], tmp_path) if isinstance(b, Table)] == [
        b.rows for b in graph_blocks(folders, tmp_path) if isinstance(b, Table)
    ]


def test_what_differs_has_another_name(tmp_path):
    folders = [
        write_folder(tmp_path / "a", GENES, {"x": "AB"}, inferer="correlation", kind="pearson"),
        write_folder(tmp_path / "b", GENES, {"x": "CD"}, inferer="correlation", kind="spearman"),
        write_folder(tmp_path / "c", GENES, {"x": "A"}, inferer="random", k=1),
    ]
    runs = read_graph_runs(folders)
    assert [run.setting[2] for run in runs] == [
        "correlation (kind=pearson), top 2",
        "correlation (kind=spearman), top 2",
        "random, top 1",
    ]
    assert [run.setting[2] for run in read_graph_runs(folders[:1])] == ["correlation"]  # n_jobs never names anything


def test_blocks_have_readable_pictures_and_notes(folders, tmp_path):
    blocks = graph_blocks(folders, tmp_path / "figures")
    assert [type(block) for block in blocks] == [Table, Table, Table, Figure, Figure, Table]
    for block in blocks:
        if isinstance(block, Table):
            texts(block)
            assert block.notes
        else:
            height, width, _ = imread(block.path).shape
            assert min(height, width) > 200
            assert block.caption
    assert len({block.name for block in blocks if isinstance(block, Table)}) == 4


def test_one_graph_alone_has_nothing_to_compare(folders, tmp_path):
    names = [block.name for block in graph_blocks(folders[:1], tmp_path) if isinstance(block, Table)]
    assert names == ["graph_density", "graph_hubs"]


@pytest.mark.parametrize("file", ["config.yaml", "tfs.json", "grn.tsv", "graph.json"])
def test_a_folder_without_its_graph_is_named(folders, file):
    (folders[0] / file).unlink()
    with pytest.raises(UserError, match=f"one: no {file} in it"):
        read_graph_runs(folders)


def test_a_configuration_of_something_else(folders):
    (folders[0] / "config.yaml").write_text("runs: outputs\n")
    with pytest.raises(UserError, match=r"config\.yaml: not the configuration of a run"):
        read_graph_runs(folders)


def test_random_graphs_overlap_as_by_chance(tmp_path):
    rng = random.Random(0)
    tfs, targets = "ABCDEFGH", [chr(i) for i in range(0x100, 0x100 + 200)]
    folders = [
        write_folder(
            tmp_path / str(i), tfs + "".join(targets), {t: "".join(rng.sample(tfs, 3)) for t in targets}, seed=i
        )
        for i in range(3)
    ]
    (found,) = overlaps(read_graph_runs(folders))
    assert fmean(found.values) == pytest.approx(found.chance, abs=0.03)
