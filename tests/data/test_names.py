"""Names of genes: lists of any form, matching by case and symbol, and names that something has spoilt."""

import gzip

import pytest

from llm4grn.data.name_lists import read_name_file, read_names
from llm4grn.data.names import common_prefix, is_date, match_names, warnings_about
from llm4grn.data.symbols import are_barcodes, are_ensembl_ids, symbol_table
from llm4grn.errors import UserError

LISTS = {
    "plain": "GATA1\nSPI1\nPAX5\n",
    "quotes of R": '"GATA1"\n"SPI1"\n"PAX5"\n',
    "R's write.table": '"x"\n"1" "GATA1"\n"2" "SPI1"\n"3" "PAX5"\n',
    "stray blanks": "GATA1 \n\tSPI1\n PAX5\xa0\n",
    "one line": "GATA1, SPI1, PAX5\n",
    "Python": "['GATA1', 'SPI1', 'PAX5']\n",
    "comma behind each": "GATA1,\nSPI1,\nPAX5,\n",
    "remarks": "GATA1 # erythroid\n# a line\nSPI1\nPAX5\n",
    "ids first, no header": "ENSG00000102145\tGATA1\nENSG00000066336\tSPI1\nENSG00000196092\tPAX5\n",
    "semicolons": "Gene symbol;Family\nGATA1;zf\nSPI1;ETS\nPAX5;HD\n",
    "verdicts": "id,HGNC symbol,Is TF?\n1,GATA1,Yes\n2,ACTB,No\n3,SPI1,yes\n4,PAX5,Yes\n",
    "repeated": "GATA1\nSPI1\nGATA1\nPAX5\n",
    "Windows": "Symbol\r\nGATA1\r\nSPI1\r\nPAX5\r\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=list(LISTS))
@pytest.mark.parametrize("form", ["utf-8", "utf-16", "gzip"])
def test_lists_of_any_form(tmp_path, text, form):
    path = tmp_path / "tfs.txt"
    path.write_bytes(gzip.compress(text.encode()) if form == "gzip" else text.encode(form))
    listed = read_name_file(path)
    assert listed.names == ("GATA1", "SPI1", "PAX5")
    assert len(listed.names) + len(listed.repeated) + len(listed.left_out) == listed.n_entries


def test_the_report_of_a_list_accounts_for_every_entry():
    line = read_names(["Symbol,Is TF", "A,yes", "A,yes", "B,no", ",yes"]).report()
    assert line.startswith(
        "1 names (of 4 entries in the column Symbol, 1 repeat an earlier one, 2 are empty or called no"
    )
    assert "(B)" in line
    assert "2 lost blanks or quotes" in read_names([' "A"', "B ", "C"]).report()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no symbol"), ("Is TF,Symbol\nno,A\n", "no symbol"), ("a sentence it is\nGATA1\n", "not one gene symbol")],
)
def test_what_is_no_list_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        read_names(text.splitlines())


def test_names_are_matched_exactly_then_by_case_then_by_symbol():
    genes = ["TBXT", "gata1", "GATA2", "gata2", "MARCHF1", "ENSG00000066336.15"]
    matched = match_names(["T", "GATA1", "GATA2", "GaTa2", "MARCH1", "SPI1", "NOPE", "T"], genes, "human")
    assert matched.genes["GATA2"] == "GATA2"
    assert matched.ambiguous == {"GaTa2": ("GATA2", "gata2")}
    assert matched.other_case == ("GATA1",)
    assert matched.other_symbol == ("T", "MARCH1", "SPI1")
    assert matched.genes["SPI1"] == "ENSG00000066336.15"
    assert matched.absent == ("NOPE",)
    assert matched.n_given == 7
    assert match_names(["T"], genes, "zebrafish").absent == ("T",)
    assert match_names(["SPI1"], ["Spi1"], "mouse").genes == {"SPI1": "Spi1"}


def test_ambiguous_symbols_are_not_used_and_are_named():
    table = symbol_table("human")
    name, symbols = next((n, s) for n, s in sorted(table.former.items()) if len(s) > 1 and table.candidates(n) == s)
    line = match_names([name], list(symbols), "human")
    assert not line.genes
    assert f"1 ambiguous and not used ({name} could be {symbols[0]} or {symbols[1]}" in line.report("TFs")


def test_an_approved_symbol_stands_for_itself_only():
    """... even where it is an alias of another gene."""
    table = symbol_table("human")
    name = next(n for n in sorted(table.aliases) if n in table.approved and table.aliases[n] != (n,))
    assert table.candidates(name) == (name,)
    assert match_names([name], list(table.aliases[name]), "human").absent == (name,)


def test_spoilt_names_are_recognised():
    assert [is_date(n) for n in ("1-Mar", "Sep-02", "2-Sept", "2023-03-01", "3/1/2023", "SEPT2", "MARCH1", "DEC1")] == [
        *[True] * 5,
        *[False] * 3,
    ]
    lines = warnings_about(["GATA1", "GATA1-1", "1-Mar", "ACTB", "Spi1", "HLA-A", "NKX2-1"], "human")
    assert ["1 genes are named by dates" in lines[0], "(GATA1-1)" in lines[1], "symbols of mouse (Spi1)" in lines[2]]
    assert len(lines) == 3
    assert "check dataset.organism=human" in warnings_about(["Gata1", "Actb", "Spi1"], "human")[0]
    assert common_prefix(["GRCh38_GATA1", "mm10___Gata1"]) == {"GRCh38_": 1, "mm10___": 1}
    assert are_barcodes(["AAACATACAACCAC-1", "x_AAACGCACTGGTACTT", "AAACGCACTGGTAC.1"])
    assert not are_barcodes(["GATA1", "ACTB", "CATTG"])
    assert are_ensembl_ids(["ENSG00000102145", "ENSMUSG00000102145.3"])


def test_dates_in_a_list_are_named():
    assert "1 are dates that a spreadsheet made of symbols (2-Sep)" in match_names(["2-Sep", "A"], ["A"]).report("TFs")
