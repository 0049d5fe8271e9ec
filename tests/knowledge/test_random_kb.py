"""The random control draws as many genes as the curated list names, uniformly, by seed."""

from collections import Counter

import pytest

from llm4grn.errors import UserError
from llm4grn.knowledge.curated import CuratedList
from llm4grn.knowledge.random_kb import RandomGenes

GENES = ["GATA1", "SPI1", "PAX5", *(f"GENE{i}" for i in range(9))]


def test_it_draws_as_many_as_the_curated_list_whatever_the_order_of_genes():
    tfs = RandomGenes("human").transcription_factors(GENES, "", 1000)
    assert len(tfs.names) == len(CuratedList("human").transcription_factors(GENES, "", 0).names) == 3
    assert tfs == RandomGenes("human").transcription_factors(GENES[::-1], "", 1000)
    assert set(tfs.names) <= set(GENES)


def test_every_gene_is_as_likely():
    counts = Counter(
        gene for seed in range(400) for gene in RandomGenes(n=3).transcription_factors(GENES, "", seed).names
    )
    assert set(counts) == set(GENES)
    expected = 400 * 3 / len(GENES)
    assert all(abs(count - expected) < 0.4 * expected for count in counts.values())


def test_the_curated_list_is_part_of_the_key_only_where_it_is_used(tmp_path):
    (tmp_path / "tfs.txt").write_text("SPI1\n")
    assert RandomGenes("human").fingerprint() == CuratedList("human").fingerprint()
    assert RandomGenes("fish", path=str(tmp_path / "tfs.txt")).transcription_factors(GENES, "", 1).provenance["n"] == 1
    assert RandomGenes("fish", n=5).fingerprint() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"n": 0}, r"kb\.n=0"), ({"n": 2.5}, r"kb\.n=2\.5"), ({"organism": "fish"}, r"dataset\.organism=fish")],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        RandomGenes(**arguments)


def test_more_than_leaves_a_target_is_refused():
    with pytest.raises(UserError, match=r"kb\.n=12.*less than 12"):
        RandomGenes(n=12).transcription_factors(GENES, "", 0)
