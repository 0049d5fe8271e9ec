"""One small table in every form, and what long, missing or odd entries become."""

import csv
import re
from io import StringIO

import pytest

from llm4grn.report.blocks import Cell, Table
from llm4grn.report.renderers import RENDERERS, to_csv, to_markdown, to_terminal

SMALL = Table(
    name="scores",
    title="Scores",
    header=["Data set", "KB", "Inferer", "n", "MMD ↓"],
    rows=[
        ["pbmc_3k", "human", "grnboost2", Cell("12 †", 12), Cell("0.013 ± 0.002", 0.0130834, bold=True)],
        ["pbmc_3k", "human", "random", Cell("12", 12), Cell("0.022 ± 0.001", 0.0221740)],
        ["pbmc_3k", "gpt4", "llm", Cell("4", 4), Cell("0.018 ± 0.003", 0.0181, underlined=True)],
        ["mouse|x", "human", "llm", Cell("4", 4), "–"],
    ],
    n_labels=3,
    notes=["A first note with 50 % & more."],
    definitions=["MMD: exp(-d^2/s^2), s in {m/2, m}."],
)


def test_terminal_golden():
    assert to_terminal(SMALL) == (
        "Scores\n"
        "\n"
        "Data set  KB     Inferer       n           MMD ↓\n"
        "------------------------------------------------\n"
        "pbmc_3k   human  grnboost2  12 †  0.013 ± 0.002*\n"
        "                 random       12  0.022 ± 0.001\n"
        "          gpt4   llm           4  0.018 ± 0.003+\n"
        "mouse|x   human  llm           4              –\n"
        "\n"
        "* = bold. + = underlined.\n"
        "A first note with 50 % & more.\n"
        "MMD: exp(-d^2/s^2), s in {m/2, m}.\n"
    )


def test_terminal_folds_labels_into_headings_where_the_table_is_too_wide():
    assert to_terminal(SMALL, width=46).split("\n\n", 1)[1] == (
        "                n           MMD ↓\n"
        "---------------------------------\n"
        "pbmc_3k · human\n"
        "  grnboost2  12 †  0.013 ± 0.002*\n"
        "  random       12  0.022 ± 0.001\n"
        "pbmc_3k · gpt4\n"
        "  llm           4  0.018 ± 0.003+\n"
        "\n"
        "mouse|x · human\n"
        "  llm           4              –\n"
        "\n"
        "* = bold. + = underlined.\n"
        "A first note with 50 % & more.\n"
        "MMD: exp(-d^2/s^2), s in {m/2, m}.\n"
    )


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("n_labels", [1, 2, 4])
def test_terminal_keeps_to_its_width_and_loses_nothing(width, n_labels):
    n_numbers = 14
    labels = ["a data set", "its setting", "a knowledge base with a long name", "an-inferer-" + "x" * 60][-n_labels:]
    rows = [[*labels, *(Cell(f"{row}.{i:03} ± 0.{i:03}", i) for i in range(n_numbers))] for row in range(3)]
    header = [*(f"Label {i}" for i in range(n_labels)), *(f"A metric of number {i}" for i in range(n_numbers))]
    text = to_terminal(Table("wide", "T", header, rows, n_labels, ["note " * 40]), width)
    assert max(map(len, text.splitlines())) <= width
    for row in rows:
        for cell in row[n_labels:]:
            assert text.count(cell.text) == 1
    assert len(re.findall("x", text)) % 60 == 0
    assert "x" * 13 in text


def test_terminal_wraps_a_long_entry():
    table = Table("t", "T", ["TF", "Targets"], [["A", " ".join(f"GENE{i}" for i in range(60))]])
    text = to_terminal(table)
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"GENE{i}" in text.split() for i in range(60))


@pytest.mark.parametrize("render", RENDERERS.values())
def test_a_table_without_rows_is_its_header(render):
    text = render(Table("empty", "Nothing", ["TF", "Target"], []))
    assert "TF" in text
    assert "Target" in text


def test_markdown_golden():
    assert to_markdown(SMALL) == (
        "**Scores**\n"
        "\n"
        "| Data set | KB | Inferer | n | MMD ↓ |\n"
        "| --- | --- | --- | ---: | ---: |\n"
        "| pbmc_3k | human | grnboost2 | 12 † | **0.013 ± 0.002** |\n"
        "| pbmc_3k | human | random | 12 | 0.022 ± 0.001 |\n"
        "| pbmc_3k | gpt4 | llm | 4 | <ins>0.018 ± 0.003</ins> |\n"
        "| mouse\\|x | human | llm | 4 | – |\n"
        "\n"
        "- A first note with 50 % & more.\n"
        "- MMD: exp(-d^2/s^2), s in {m/2, m}.\n"
    )


def test_csv_holds_values_with_all_their_digits_and_every_label():
    rows = list(csv.reader(StringIO(to_csv(SMALL))))
    assert rows[0] == list(SMALL.header)
    assert rows[1] == ["pbmc_3k", "human", "grnboost2", "12", "0.0130834"]
    assert rows[2][:3] == ["pbmc_3k", "human", "random"]
    assert rows[4] == ["mouse|x", "human", "llm", "4", ""]
    third = 1 / 3
    (_, (_, read)) = csv.reader(StringIO(to_csv(Table("t", "T", ["a", "b"], [["x, y", Cell("0.33", third)]]))))
    assert float(read) == third
