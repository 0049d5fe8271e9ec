"""The random control: uniform rankings that look at no expression and do not depend on the company of other genes."""

from collections import Counter

import anndata
import pandas as pd
import pytest

from llm4grn.errors import UserError
from llm4grn.inference.random_graph import RandomGRN

TFS = [f"TF{i}" for i in range(8)]
GENES = [*TFS, *(f"T{i}" for i in range(40))]


def names_only(genes=GENES):
    return anndata.AnnData(var=pd.DataFrame(index=genes))


def test_every_tf_is_ranked_for_every_target_without_expression():
    assert RandomGRN.uses_expression is False
    grn = RandomGRN().infer(names_only(), TFS, 1000)
    assert len(grn.edges) == 8 * 40
    assert grn.edges["importance"].between(0, 1, inclusive="right").all()
    assert not set(grn.edges["target"]) & set(TFS)
    grn.top(8, GENES, TFS).validate()


def test_the_top_k_are_uniform():
    graph = RandomGRN().infer(names_only([*TFS, *(f"T{i}" for i in range(800))]), TFS, 3).top(2, *_genes(800))
    counts = Counter(tf for tfs in graph.regulators.values() for tf in tfs)
    assert set(counts) == set(TFS)
    assert all(abs(count - 200) < 60 for count in counts.values())


def _genes(n):
    return [*TFS, *(f"T{i}" for i in range(n))], TFS


def test_a_target_keeps_its_ranking_when_genes_move_or_leave():
    whole = RandomGRN().infer(names_only(), TFS, 1000).edges
    part = RandomGRN().infer(names_only(["T3", *TFS[::-1], "T1"]), TFS[::-1], 1000).edges
    expected = whole[whole["target"].isin(["T1", "T3"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, expected)
    other = RandomGRN().infer(names_only(), TFS, 1001).edges
    assert not other.equals(whole)


def test_k_max_keeps_the_best():
    whole = RandomGRN().infer(names_only(), TFS, 5)
    short = RandomGRN(k_max=3).infer(names_only(), TFS, 5)
    assert len(short.edges) == 3 * 40
    assert short.top(3, GENES, TFS) == whole.top(3, GENES, TFS)


@pytest.mark.parametrize("k_max", [0, -1, 2.5, True])
def test_an_impossible_k_max_is_refused(k_max):
    with pytest.raises(UserError, match=r"inferer\.k_max"):
        RandomGRN(k_max=k_max)


@pytest.mark.parametrize(
    ("tf_names", "message"), [([], "0 TFs"), (GENES, "0 targets"), (["TF1", "XX"], "for instance XX")]
)
def test_tfs_that_cannot_be_used_are_refused(tf_names, message):
    with pytest.raises(UserError, match=message):
        RandomGRN().infer(names_only(), tf_names, 0)
