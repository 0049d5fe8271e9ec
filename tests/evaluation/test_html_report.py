"""The page as text, and in a headless Chromium: nothing fetched, nothing complained of, tables that sort."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from chromium import Page, find_chromium
from PIL import Image

from llm4grn.evaluation.report.html_report import Section, write_html
from llm4grn.evaluation.scores.verdicts import Verdict
from llm4grn.report.blocks import Cell, Figure, Table

SCORES = Table(
    "scores",
    "Scores",
    ["Data set", "KB", "Inferer", "RF AUROC ↓"],
    [
        ["pbmc3k", "human", "grnboost2", Cell("0.9 ± 0.1", 0.9)],
        ["pbmc3k", "human", "random", Cell("0.10 ± 0.1", 0.10, bold=True, underlined=True)],
        ["pbmc3k", "gpt4", "llm", "–"],
        ["pbmc3k", "gpt4", "<script>alert(1)</script>", Cell("0.35", 0.35)],
    ],
    n_labels=3,
    notes=["Lower is better & 0.5 is <chance>."],
    definitions=["AUROC: of a forest."],
)
HUBS = Table("hubs", "Scores", ["TF", "Rank"], [["A10", Cell("1e1", 10)], ["A9", Cell("9", 9)], ["a2", "–"]])
VERDICTS = [Verdict("pbmc3k", ("No network wins (p = 1).", "None loses."), ("Tests: two seeds are too few.",))]
COMMANDS = [("RUN_A", "python train.py seed=1000 dataset.path='a b'"), ("this report", "python evaluate.py")]
WIDE = Table("wide", "Wide", ["Gene", *(f"Column number {i}" for i in range(30))], [["G", *["1234567.89"] * 30]])


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 255, size=(300, 2400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, dpi=(150, 150))
    return Figure('A "picture"', path, "Grey is real & colour is not.")


def write(path, figure, **changes):
    given = {
        "title": "Comparison of 2 runs",
        "verdict": VERDICTS,
        "sections": [Section("Scores", [SCORES, HUBS], "How close?"), Section("Cells", [figure, WIDE])],
        "commands": COMMANDS,
        "versions": {"python": "3.11.7"},
    }
    return write_html(path, **(given | changes))


@pytest.fixture(scope="module")
def report(figure, tmp_path_factory):
    return write(tmp_path_factory.mktemp("report") / "new folder" / "report.html", figure)


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def test_same_input_same_bytes_wherever_it_is_written(report, figure, tmp_path):
    assert write(tmp_path / "again.html", figure).read_bytes() == report.read_bytes()
    assert str(tmp_path.parent) not in report.read_text()


def test_text_of_users_is_escaped(report):
    text = report.read_text()
    assert "<script>alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for words in (
        "0.5 is &lt;chance&gt;.",
        "<strong>Tests:</strong> two seeds are too few.",
        '<p class="answer">No network wins <span>(p = 1)</span>.</p>',
        "dataset.path=&#39;a b&#39;",
        "3.11.7",
    ):
        assert words in text


def test_everything_is_inside(report, figure):
    elements = Elements(report.read_text())
    (image,) = elements.all("img")
    assert image["alt"] == 'A "picture"'
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    with Image.open(BytesIO(base64.b64decode(data))) as embedded, Image.open(figure.path) as own:
        assert np.array_equal(np.asarray(embedded), np.asarray(own))
    assert int(image["width"]) == 2400 * 96 / 150
    for _, attributes in elements.found:
        for name in "src", "href", "srcset", "action", "data", "poster":
            assert re.match(r"(data:|#)", attributes.get(name) or "#"), attributes
    assert not re.search(r"url\(|@import", report.read_text())


def test_contents_lead_to_every_section_and_block_once(report):
    elements = Elements(report.read_text())
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    links = [attributes["href"][1:] for attributes in elements.all("a") if attributes["href"].startswith("#")]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    assert {"verdict", "scores", "scores-2", "scores-3", "cells", "a-picture", "wide", "reproduce"} <= set(links)


def test_best_is_bold_and_best_in_group_underlined(report):
    marked = [attributes for attributes in Elements(report.read_text()).all("td") if attributes.get("class")]
    assert [(cell["class"], cell["data-value"]) for cell in marked] == [("bold underlined", "0.1")]


def test_a_table_can_be_saved_from_the_page(report):
    saved = {a["download"]: a["href"] for a in Elements(report.read_text()).all("a") if "download" in a}
    assert set(saved) == {f"{name}.{ending}" for name in ("scores", "hubs", "wide") for ending in ("csv", "tex")}
    csv = base64.b64decode(saved["hubs.csv"].split(",")[1]).decode()
    assert csv.splitlines()[0] == "TF,Rank"


def test_sections_without_blocks_are_left_out(figure, tmp_path):
    text = write(tmp_path / "report.html", figure, sections=[Section("Nothing", [])]).read_text()
    assert "Nothing" not in text


def test_the_answer_stands_above_its_picture_and_the_picture_above_what_it_rests_on(figure, tmp_path):
    verdict = [replace(VERDICTS[0], figure=figure)]
    text = write(tmp_path / "report.html", figure, verdict=verdict).read_text()
    order = ("None loses.", "<img ", "<figcaption>Grey is real &amp; colour", "What this rests on", "<strong>Tests:")
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert places[-1] < text.index("How close?")
    image, _ = Elements(text).all("img")
    assert image["alt"] == 'A "picture"'


# ---- in a browser


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with Page(tmp_path_factory.mktemp("profile")) as page:
        page.look(1360, 900)
        page.open(report)
        yield page


@pytest.fixture
def fresh(page, report):
    page.look(1360, 900)
    page.open(report)
    return page


def column(page: Page, table: int, number: int) -> list[str]:
    rows = f"[...document.querySelectorAll('table')[{table}].tBodies[0].rows]"
    return page.ask(f"{rows}.map((row) => row.cells[{number}].textContent)")


def click(page: Page, table: int, number: int) -> str | None:
    header = f"document.querySelectorAll('table')[{table}].tHead.rows[0].cells[{number}]"
    return page.ask(f"{header}.querySelector('button').click(); {header}.getAttribute('aria-sort')")


def test_it_opens_from_disk_without_complaint_or_request(fresh, report):
    assert fresh.complaints == []
    asked = [url for url in fresh.requests if not url.startswith("data:")]
    assert set(asked) == {report.resolve().as_uri()}


def test_a_browser_would_tell_of_a_request_and_an_error(figure, tmp_path):
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    bad = write(tmp_path / "report.html", figure)
    tags = '<img src="http://127.0.0.1:9/a.png"><script>console.error("no"); undefined.x</script></main>'
    bad.write_text(bad.read_text().replace("</main>", tags))
    with Page(tmp_path / "profile") as page:
        page.open(bad)
        assert any("Content Security Policy" in complaint for complaint in page.complaints)
        assert len(page.complaints) >= 3


def test_a_click_sorts_by_value_not_by_text(fresh):
    before = column(fresh, 0, 3)
    assert click(fresh, 0, 3) == "ascending"
    assert column(fresh, 0, 3) == ["0.10 ± 0.1", "0.35", "0.9 ± 0.1", "–"]
    assert click(fresh, 0, 3) == "descending"
    assert column(fresh, 0, 3) == ["0.9 ± 0.1", "0.35", "0.10 ± 0.1", "–"]
    assert click(fresh, 0, 3) is None
    assert column(fresh, 0, 3) == before
    assert click(fresh, 1, 1) == "ascending"
    assert column(fresh, 1, 0) == ["A9", "A10", "a2"]  # nine before ten; what has no rank is last
    assert click(fresh, 1, 0) == "ascending"
    assert column(fresh, 1, 0) == ["a2", "A9", "A10"]
    assert fresh.ask("document.querySelectorAll('table')[1].querySelectorAll('[aria-sort]').length") == 1


def test_keys_sort_too(fresh):
    fresh.ask("document.querySelectorAll('table')[0].tHead.rows[0].cells[3].querySelector('button').focus()")
    fresh.press("Enter", 13, "\r")
    assert column(fresh, 0, 3)[0] == "0.10 ± 0.1"
    fresh.press(" ", 32, " ")
    assert column(fresh, 0, 3)[0] == "0.9 ± 0.1"


def test_pictures_are_shown(fresh):
    assert fresh.ask("[...document.images].map((image) => image.naturalWidth)") == [2400]


@pytest.mark.parametrize("width", [390, 768, 1130, 1360, 2000])
def test_tables_scroll_in_their_box_and_figures_scale(fresh, report, width):
    fresh.look(width, 844, touch=width == 390)
    fresh.open(report)
    assert fresh.ask("document.documentElement.scrollWidth") == width
    place = "document.querySelector('main').getBoundingClientRect()"
    sides = fresh.ask(f"[{place}.left, innerWidth - {place}.right]")
    assert min(sides) >= 16
    assert fresh.ask("document.images[0].getBoundingClientRect().width") < width
    box = "[...document.querySelectorAll('.box')].at(-1)"
    assert fresh.ask(f"{box}.scrollWidth > {box}.clientWidth && {box}.clientWidth <= {width}")


def test_labels_stay_and_figures_open_on_a_phone(fresh, report):
    fresh.look(390, 844, touch=True)
    fresh.open(report)
    label = "[...document.querySelectorAll('tbody')].at(-1).rows[0].cells[0]"
    left = f"{label}.getBoundingClientRect().left"
    before = fresh.ask(left)
    fresh.ask("[...document.querySelectorAll('.box')].at(-1).scrollLeft = 500")
    assert fresh.ask(left) == before
    width = "document.images[0].getBoundingClientRect().width"
    small = fresh.ask(width)
    assert fresh.ask(f"document.querySelector('.card').click(); {width}") == 2400 * 96 / 150
    assert fresh.ask("document.documentElement.scrollWidth") == 390
    assert fresh.ask(f"document.querySelector('.card').click(); {width}") == small


def test_definitions_are_folded_but_not_on_paper(fresh):
    height = "document.querySelector('.block .definitions li').getBoundingClientRect().height"
    part = "document.querySelector('.block .definitions')"
    text = " ".join(fresh.ask(f"{part}.textContent").split())
    assert text == "How the numbers are defined AUROC: of a forest."
    assert not fresh.ask(f"{part}.open")
    fresh.ask("window.dispatchEvent(new Event('beforeprint'))")
    assert fresh.ask(height) > 0
    fresh.ask("window.dispatchEvent(new Event('afterprint'))")
    assert not fresh.ask(f"{part}.open")
    fresh.ask(f"{part}.open = true; window.dispatchEvent(new Event('beforeprint'))")
    fresh.ask("window.dispatchEvent(new Event('afterprint'))")
    assert fresh.ask(f"{part}.open")


def test_what_the_answer_rests_on_is_folded_and_opens(fresh):
    part = "document.querySelector('.verdict details')"
    assert fresh.ask(f"{part}.innerText.trim()") == "What this rests on"
    assert fresh.ask("document.querySelector('.verdict .answer').getBoundingClientRect().bottom") < 900
    fresh.ask(f"{part}.firstElementChild.click()")
    assert "two seeds are too few" in fresh.ask(f"{part}.innerText")


def test_a_data_set_that_all_rows_share_is_not_said_in_each(fresh, figure, tmp_path):
    """... as it is in the title; of two, each is."""
    first = "[...document.querySelectorAll('table')].map((table) => table.rows[1].cells[0].offsetWidth > 0)"
    assert fresh.ask("document.querySelector('table').rows[1].cells[0].textContent") == "pbmc3k"
    assert fresh.ask(first) == [False, True, True]
    others = [[f"bone marrow {i}", *row[1:]] for i, row in enumerate(SCORES.rows)]
    fresh.open(write(tmp_path / "report.html", figure, sections=[Section("Scores", [replace(SCORES, rows=others)])]))
    assert fresh.ask(first) == [True]


def lightness(page: Page, element: str) -> float:
    colour = page.ask(f"getComputedStyle({element}).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_dark_and_light_follow_the_reader_and_figures_keep_a_white_card(fresh):
    assert lightness(fresh, "document.documentElement") == 255
    fresh.look(1360, 900, dark=True)
    assert lightness(fresh, "document.documentElement") < 50
    assert lightness(fresh, "document.querySelector('.card')") == 255


def test_paper_gets_no_contents_and_whole_tables(fresh):
    fresh.look(1360, 900, dark=True)
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    fresh.call("Emulation.setEmulatedMedia", media="print", features=scheme)
    assert fresh.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert fresh.ask("getComputedStyle(document.querySelector('.box')).maxHeight") == "none"
    assert lightness(fresh, "document.documentElement") == 255
    fresh.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize(("width", "tables"), [(688, ".block:not(.wide)"), (1016, ".block.wide")])
def test_no_table_is_cut_off_on_paper(fresh, report, width, tables):
    """The width of the text on A4, upright and turned, in CSS pixels."""
    fresh.look(width, 900)
    fresh.open(report)
    fresh.call("Emulation.setEmulatedMedia", media="print")
    boxes = f"[...document.querySelectorAll('{tables} .box')]"
    found = fresh.ask(f"{boxes}.map((box) => box.scrollWidth - box.clientWidth)")
    fresh.call("Emulation.setEmulatedMedia", media="")
    assert found
    assert max(found) <= 1


def test_the_page_of_a_wide_table_is_turned(fresh, tmp_path):
    fresh.pdf(tmp_path / "report.pdf")
    pages = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", (tmp_path / "report.pdf").read_bytes())
    assert {float(width) > float(height) for width, height in pages} == {True, False}
