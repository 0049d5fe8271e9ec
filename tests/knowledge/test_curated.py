"""Curated lists: what is shipped, what a user may bring, and what is refused."""

import hashlib

import pytest

from llm4grn.errors import UserError
from llm4grn.knowledge import TFSet
from llm4grn.knowledge.curated import CuratedList, read_symbols

HUMAN = ["ACTB", "GATA1", "CD3D", "SPI1", "PAX5", "GAPDH"]
MOUSE = ["Actb", "Gata1", "Cd3d", "Spi1", "Pax5", "Gapdh"]


@pytest.mark.parametrize(
    ("organism", "source", "size"),
    [("human", "lambert2018", 1639), ("human", "scenic", 1839), ("mouse", "scenic", 1721), ("mouse", "grnndata", 1860)],
)
def test_the_shipped_lists_are_whole_and_find_the_tfs(organism, source, size):
    kb = CuratedList(organism, source)
    assert len(kb.symbols) == size
    genes = HUMAN if organism == "human" else MOUSE
    found = kb.transcription_factors(genes, "blood", 0)
    assert found.names == tuple(sorted([genes[1], genes[3], genes[4]]))
    assert found.provenance["list"] == source
    assert found.provenance["tf_list"] == kb.fingerprint()["tf_list"]


def test_defaults_and_fingerprints():
    assert CuratedList("human").fingerprint() == CuratedList("human", "lambert2018").fingerprint()
    assert CuratedList("mouse").fingerprint() == CuratedList("mouse", "scenic").fingerprint()
    prints = {CuratedList(*key).fingerprint()["tf_list"] for key in [("human",), ("human", "scenic"), ("mouse",)]}
    assert len(prints) == 3
    assert all(len(digest) == 64 for digest in prints)


@pytest.mark.parametrize(
    "text",
    [
        "SPI1\nGATA1\n",
        "# my list\nGATA1\n\n  SPI1 \nGATA1",
        "\ufeffSymbol\r\nGATA1\r\nSPI1\r\n",
        "Species\tSymbol\tEnsembl\tFamily\nHomo_sapiens\tGATA1\tENSG1\tzf, GATA\nHomo_sapiens\tSPI1\tENSG2\tETS\n",
        "symbol,family\nGATA1,zf\nSPI1,ETS\n,unnamed\n",
    ],
    ids=["plain", "comments", "one-column table", "AnimalTFDB", "comma"],
)
def test_a_users_list_is_read_in_any_of_its_forms(tmp_path, text):
    path = tmp_path / "tfs.csv"
    path.write_text(text, encoding="utf-8", newline="")
    kb = CuratedList("zebrafish", path=str(path))
    assert kb.symbols == ("GATA1", "SPI1")
    assert kb.transcription_factors(HUMAN, "", 0).names == ("GATA1", "SPI1")
    digest = hashlib.sha256(b"GATA1\nSPI1").hexdigest()
    assert kb.fingerprint() == {"tf_list": digest, "matching": "case and aliases"}


def test_the_answer_depends_on_the_content_of_a_file_not_on_its_name(tmp_path):
    sets = []
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("GATA1\n")
        sets.append(CuratedList("human", path=str(tmp_path / name)).transcription_factors(HUMAN, "", 0))
    assert sets[0] == sets[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no symbol"),
        (b"\n  \n", "no symbol"),
        (b"Symbol\n", "no symbol"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "not a text file"),
        (b"GATA1\0\0\0", "not a text file"),
        (b"Species\tName\tFamily\nHuman\tGATA1\tzf\n", "no column Symbol among Species, Name, Family"),
        (b"Species\tSymbol\nHuman\t\n", "expected one gene symbol per line"),
        (b"GATA1\nThis is a sentence about TFs\n", "is not one gene symbol"),
    ],
)
def test_a_file_that_is_no_list_is_refused_at_once_in_one_line(tmp_path, content, message):
    path = tmp_path / "tfs.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        CuratedList("human", path=str(path))
    assert f"kb.path={path}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "absent.txt", tmp_path):
        with pytest.raises(UserError, match=r"kb\.path=.*cannot be read"):
            read_symbols(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"organism": "yeast"}, r"dataset\.organism=yeast.*human and mouse.*kb\.path"),
        ({"organism": "human", "source": "grnndata"}, r"kb\.list=grnndata.*lambert2018"),
        ({"organism": "human", "source": "scenic", "path": "x"}, r"kb\.list=scenic and kb\.path=x"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        CuratedList(**arguments)


@pytest.mark.parametrize(
    ("genes", "hint"),
    [
        (MOUSE, r"3 would match.*dataset\.organism"),
        (["ENSG00000102145", "ENSG00000066336"], "Ensembl"),
        (["ENSMUSG00000031162"], "Ensembl"),
        (["ACTB", "GAPDH"], r"dataset\.organism.*kb\.path"),
    ],
    ids=["mouse", "ensembl", "mouse ensembl", "none"],
)
def test_no_tf_among_the_genes_says_the_likely_reason(genes, hint):
    with pytest.raises(UserError, match=f"no TF among the {len(genes)} genes by the human list lambert2018.*{hint}"):
        CuratedList("human").transcription_factors(genes, "", 0)


def test_nothing_but_tfs_is_refused():
    with pytest.raises(UserError, match="no target is left"):
        CuratedList("human").transcription_factors(["GATA1", "SPI1"], "", 0)


def test_a_tf_set_survives_its_file_with_the_same_bytes(tmp_path):
    tfs = TFSet(("B", "A", "B"), {"B": 2, "A": 1}, {"method": "test"})
    assert tfs.names == ("A", "B")
    tfs.to_json(tmp_path / "a.json")
    assert TFSet.from_json(tmp_path / "a.json") == tfs
    TFSet(("A", "B"), {"A": 1, "B": 2}, {"method": "test"}).to_json(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("content", ["{", "[]", '{"names": ["A"]}', '{"names": 3, "votes": {}, "provenance": {}}'])
def test_a_file_that_is_no_tf_set_is_refused(tmp_path, content):
    (tmp_path / "tfs.json").write_text(content)
    with pytest.raises(UserError, match=r"tfs\.json: not a set of TFs"):
        TFSet.from_json(tmp_path / "tfs.json")


def test_a_file_all_of_whose_names_are_in_other_case_is_asked_about(tmp_path):
    genes = ["SPI1", "GATA3", "TCF7", "CEBPB", "BACH1", "TP53", "CD14"]
    path = tmp_path / "mouse.txt"
    path.write_text("Spi1\nGata3\nTcf7\nCebpb\nBach1\n")
    line = CuratedList(path=str(path)).report(genes)
    assert line.startswith(f"the list {path}: 5 TFs found")
    assert "is this a list of another species?" in line
    path.write_text("Spi1\nGata3\nTcf7\nCebpb\nBACH1\n")
    assert "another species" not in CuratedList(path=str(path)).report(genes)
