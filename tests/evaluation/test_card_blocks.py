"""Cards on the page: escaped, complete, in files as a table, and no wider than a phone."""

import base64
import re

import pytest
from chromium import Page, find_chromium
from graph_folders import texts
from test_html_report import Elements, write

from llm4grn.evaluation.report.comparison_files import write_comparison
from llm4grn.evaluation.report.comparison_report import Comparison
from llm4grn.evaluation.report.html_report import Section
from llm4grn.report.blocks import Card, Cards

LONG = "log2 fold change under do(SPI1 = 0)", "rank 12 of 200, importance 0.0123, named in 2 of 5 answers, represses"
CARDS = Cards(
    "edges",
    "Where both agree",
    [
        Card("SPI1 → CST3", [("human · claude", "rank 1 of 10"), LONG], "PU.1 <drives> it. " * 12, "claude about CST3"),
        *(Card(f"TF{i} → {'G' * 60}{i}", [("human · claude", f"rank {i}"), ("x" * 80, "has it")]) for i in range(19)),
    ],
    ["By the worse of two ranks."],
)


def page(path):
    return write(path, None, verdict=[], sections=[Section("Edges", [CARDS])])


def test_each_card_has_its_facts_and_its_quotation(tmp_path):
    text = page(tmp_path / "report.html").read_text()
    assert text.count("<h4>") == 20
    assert text.count("<blockquote>") == 1
    assert "PU.1 &lt;drives&gt; it." in text
    assert "<cite>claude about CST3</cite>" in text
    assert f"<dt>{LONG[0]}</dt><dd>{LONG[1]}</dd>" in text
    elements = Elements(text)
    assert "where-both-agree" in {link["href"][1:] for link in elements.all("a") if link["href"].startswith("#")}
    (csv,) = (link["href"] for link in elements.all("a") if link.get("download") == "edges.csv")
    assert base64.b64decode(csv.split(",")[1]).decode().startswith(",human · claude,log2 fold change")


def test_files_have_the_cards_as_a_table(tmp_path):
    (first, second, *_) = texts(CARDS.table)
    assert first[:3] == ["SPI1 → CST3", "rank 1 of 10", LONG[1]]
    assert second[:5] == [f"TF0 → {'G' * 60}0", "rank 0", "–", "has it", "–"]
    comparison = Comparison("Some", "", [], [], [Section("Edges", [CARDS])], [])
    write_comparison(comparison, tmp_path, "python evaluate.py")
    assert {path.suffix for path in (tmp_path / "tables").glob("edges.*")} == {".csv", ".md", ".tex", ".txt"}
    assert "| SPI1 → CST3 |" in (tmp_path / "comparison.md").read_text()


def test_no_card_is_wider_than_a_phone_by_its_style(tmp_path):
    """What a browser would show, as far as the rules say it; the next test asks one."""
    text = page(tmp_path / "report.html").read_text()
    (columns,) = re.findall(r"\.facts \{[^}]*grid-template-columns: ([^;]*);", text)
    assert "min(19rem, 100%)" in columns  # 19rem are 304 px: one column of 343 px beside the page's padding on 375 px
    assert re.search(r"\.facts dl > div \{[^}]*flex-wrap: wrap", text)
    assert re.search(r"body \{[^}]*overflow-wrap: anywhere", text)


@pytest.mark.slow
def test_no_card_is_wider_than_a_phone_in_a_browser(tmp_path):
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with Page(tmp_path / "profile") as browser:
        browser.look(375, 812, touch=True)
        browser.open(page(tmp_path / "report.html"))
        assert browser.complaints == []
        assert browser.ask("document.documentElement.scrollWidth") == 375
        right = "[...document.querySelectorAll('.facts *')].map((part) => part.getBoundingClientRect().right)"
        assert max(browser.ask(right)) <= 375 - 16
