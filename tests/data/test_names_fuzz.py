"""Any names, lists and edges: no traceback, and what is used and what is reported add up to what was given."""

import gzip

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from llm4grn.data.name_lists import read_name_file, read_names
from llm4grn.data.names import common_prefix, match_names, warnings_about
from llm4grn.data.text_tables import clean, read_text, split_rows
from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.grn.edge_tables import read_edges, with_names_of

settings.register_profile("files", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("files")

SYMBOLS = [
    "GATA1",
    "gata1",
    "Gata1",
    "T",
    "TBXT",
    "MARCH1",
    "MARCHF1",
    "SEPT2",
    "1-Mar",
    "NA",
    "nan",
    "TF",
    "target",
    "x",
]
SYMBOLS += ["ENSG00000102145", "ENSG00000102145.3", "CD20", "p53", "HLA-A", "GRCh38_ACTB", "ACTB-1", "ACTB", ""]
names = st.one_of(st.sampled_from(SYMBOLS), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
plain = st.one_of(
    st.sampled_from([s for s in SYMBOLS if s]), st.from_regex(r"[A-Za-z][A-Za-z0-9.-]{1,7}", fullmatch=True)
)
separators = st.sampled_from(["\t", ",", ";", "|", " "])
importances = st.one_of(st.floats(-100, 100).map(lambda x: f"{x:.4g}"), st.sampled_from(["1", "0", "high", "", "1,5"]))


def is_one_line(error):
    assert "\n" not in str(error)


@given(st.lists(names, max_size=12), st.lists(names, max_size=12), st.sampled_from(["human", "mouse", "yeast", None]))
def test_every_name_is_used_or_reported(given_names, genes, organism):
    matched = match_names(given_names, genes, organism)
    parts = [set(matched.genes), set(matched.ambiguous), set(matched.absent)]
    assert set(given_names) == set.union(*parts)
    assert sum(map(len, parts)) == len(set(given_names)) == matched.n_given
    assert set(matched.genes.values()) <= set(genes)
    assert set(matched.other_case) | set(matched.other_symbol) == {n for n, gene in matched.genes.items() if n != gene}
    assert str(len(matched.genes)) in matched.report("TFs")
    warnings_about(genes, organism)
    common_prefix(genes)


@pytest.mark.slow
@given(st.text(max_size=200))
def test_any_text_is_a_list_or_refused(text):
    try:
        listed = read_names(text.splitlines())
    except UserError as error:
        is_one_line(error)
        return
    assert len(listed.names) + len(listed.repeated) + len(listed.left_out) == listed.n_entries
    assert all(name == clean(name) and name for name in listed.names)
    listed.report()


@pytest.mark.slow
@given(st.lists(plain, min_size=1, max_size=15), st.sampled_from(["plain", "R", "quoted", "header", "line", "blank"]))
def test_lists_lose_no_name_without_a_word(given_names, form):
    lines = {
        "plain": given_names,
        "R": ['"x"', *(f'"{i}" "{name}"' for i, name in enumerate(given_names, 1))],
        "quoted": [f'"{name}"' for name in given_names],
        "header": ["Symbol,Family", *(f"{name},zf" for name in given_names)],
        "line": [", ".join([*given_names, "GATA2", "GATA3"])],
        "blank": [f"  {name}\t" for name in given_names],
    }[form]
    expected = [*given_names, "GATA2", "GATA3"] if form == "line" else given_names
    titles = {"tf", "target", "x", "symbol", "gene"}
    assume(form in ("R", "header") or expected[0].casefold() not in titles)  # which would name the column
    listed = read_names(lines)
    assert sorted([*listed.names, *listed.repeated, *listed.left_out]) == sorted(expected)


@pytest.mark.slow
@given(
    st.lists(st.tuples(plain, plain, importances), min_size=1, max_size=15), separators, st.booleans(), st.booleans()
)
def test_edges_are_used_or_counted(rows, separator, header, row_names):
    lines = [separator.join(["TF", "target", "importance"])] if header else []
    lines += [separator.join([f'"{i}"'] * row_names + list(row)) for i, row in enumerate(rows)]
    try:
        table = read_edges(lines)
    except UserError as error:
        is_one_line(error)
        return
    used = len(table.edges)
    assert used + table.nameless + table.self_loops + table.repeated == table.n_rows
    assert (table.report() is not None) or used == table.n_rows
    assert (table.edges["importance"] >= 0).all() or table.edges["importance"].isna().any()
    if all(value not in ("high", "", "1,5") for *_, value in rows) and header and separator != " ":
        assert table.n_rows == len(rows)
        assert set(zip(table.edges["TF"], table.edges["target"], strict=True)) == {
            (a, b) for a, b, _ in rows if a != b and not {a, b} & {"nan", "NaN", "None", "<NA>"}
        }


@given(st.text(max_size=200))
def test_any_text_is_edges_or_refused(text):
    for as_gmt in (False, True):
        try:
            table = read_edges(text.splitlines(), as_gmt=as_gmt)
        except UserError as error:
            is_one_line(error)
            continue
        assert len(table.edges) + table.nameless + table.self_loops + table.repeated == table.n_rows
    split_rows(text.splitlines())


@given(st.binary(max_size=120), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, packed):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(gzip.compress(content) if packed else content)
    for read in (read_text, read_name_file, GRN.read):
        try:
            read(path)
        except UserError as error:
            is_one_line(error)


@given(
    st.lists(st.tuples(plain, plain), min_size=1, max_size=10), st.lists(plain, min_size=1, max_size=10, unique=True)
)
def test_renamed_edges_stay_as_many(pairs, genes):
    edges = pd.DataFrame(pairs, columns=["TF", "target"])
    renamed, line = with_names_of(edges, genes, "human")
    assert len(renamed) == len(edges)
    before, after = ([*table["TF"], *table["target"]] for table in (edges, renamed))
    changed = {a for a, b in zip(before, after, strict=True) if a != b}
    assert not changed or "genes found" in line


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_paths_that_are_none(path):
    with pytest.raises(UserError, match="cannot be read"):
        read_text(path)


def test_one_line_of_names_is_a_list_whatever_titles_are_among_them():
    assert read_names(["GATA1, TF, GATA2"]).names == ("GATA1", "TF", "GATA2")
    with pytest.raises(UserError, match="no symbol"):
        read_names(["Symbol,Family"])
