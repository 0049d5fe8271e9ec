"""LaTeX as text, and as pdfLaTeX sets it: no error, nothing wider or longer than the page."""

import re
import shutil
import subprocess

import pytest
from test_renderers import SMALL

from llm4grn.report.blocks import Cell, Table
from llm4grn.report.latex import escaped, to_latex

ODD = "a\\b&c%d$e#f_g{h}i~j^k<l>m|n±o↓p†q`r–s→t≥u·v"
FOREIGN = "γδ T, β, Ω, café, Señor, Å, ø, č, ç, CD8⁺, 細胞, 🧬"


def wide(n_rows: int, n_columns: int, notes: list[str]) -> Table:
    header = ["Data set", "Metric", "Setting", *(f"A metric of number {i} ↓" for i in range(n_columns))]
    rows = [
        ["pbmc3k", f"metric {row // 10}", f"row {row}", *(Cell(f"0.1234 ± 0.{row:04}", row) for _ in range(n_columns))]
        for row in range(n_rows)
    ]
    return Table(f"wide_{n_rows}_{n_columns}", "A table", header, rows, 3, notes)


LINES = ["A note that is as long as notes on numbers use to be, which say what is what and how it was found out."]
TABLES = [
    SMALL,
    Table("odd", ODD, [ODD, FOREIGN], [[FOREIGN, ODD]], notes=[ODD, FOREIGN]),
    Table("empty", "Nothing", ["TF", "Target"], []),
    wide(12, 4, LINES),
    wide(12, 9, LINES * 12),
    wide(150, 2, LINES * 3),
    wide(150, 9, LINES * 3),
    wide(30, 6, LINES * 200),
]


def columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)&", line)) + 1


def test_latex_is_a_booktabs_table_with_as_many_columns_everywhere():
    lines = to_latex(SMALL).splitlines()
    begin = lines.index(r"\begin{tabular}{lllrr}")
    end = lines.index(r"\end{tabular}")
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    body = [line for line in lines[begin + 1 : end] if line.endswith(r"\\")]
    assert [columns(line) for line in body] == [5] * 5
    assert body[1] == r"pbmc\_3k & human & grnboost2 & 12 \textdagger{} & \textbf{0.013 $\pm$ 0.002} \\"
    assert body[2] == r" &  & random & 12 & 0.022 $\pm$ 0.001 \\"
    assert body[3] == r" & gpt4 & llm & 4 & \underline{0.018 $\pm$ 0.003} \\"
    assert body[4] == r"mouse\textbar{}x & human & llm & 4 & -- \\"
    assert lines[lines.index(body[3]) - 1] == r"\addlinespace"
    assert lines[lines.index(body[4]) - 1] == r"\midrule"
    for word in (r"\caption{Scores}", r"\label{tab:scores}", r"50 \% \& more", r"\{m/2, m\}", r"d\textasciicircum{}2"):
        assert word in "\n".join(lines)


def test_latex_escapes_what_would_break_or_change_a_document():
    odd = "a\\b&c%d$e#f_g{h}i~j^k<l>m|n±o↓p†q"
    (line,) = [line for line in to_latex(Table("t", "T", ["a", "b"], [["x", odd]])).splitlines() if line[:4] == "x & "]
    left = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$\\\w+\$", "", line.removeprefix("x & ").removesuffix(r" \\"))
    assert left == "abcdefghijklmnopq"
    assert line.isascii()


def test_latex_balances_braces_and_environments_and_has_a_minus():
    text = to_latex(Table("t", "T", ["a", "b"], [["x-y", Cell("-0.5", -0.5, bold=True, underlined=True)]]))
    assert r"x-y & \textbf{\underline{$-$0.5}} \\" in text
    plain = text.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]


def test_letters_beyond_ascii_are_set_or_replaced():
    assert escaped("γδ T") == r"$\gamma$$\delta$ T"
    assert escaped("é") == r"\'{e}"
    assert escaped("CD8⁺ 細") == "CD8+ ?"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_row_and_note_is_there_once(table):
    text = to_latex(table)
    (rows,) = re.findall(r"\\midrule\n(.*)\\bottomrule", text, re.S)
    assert rows.count(r" \\") == len(table.rows)
    for note in set(table.lines_below):
        assert text.count(escaped(note)) >= table.lines_below.count(note)


def compile_latex(tables: list[Table], folder) -> str:
    """The log of an article of these tables, each in a group of its own; skips without pdfLaTeX."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine: apt-get install texlive-latex-extra")
    texts = [to_latex(table) for table in tables]
    packages = sorted({name for text in texts for name in re.search(r"\\usepackage\{(.+)\}", text)[1].split(",")})
    body = "\n\\clearpage\n".join(texts)
    document = rf"\documentclass{{article}}\usepackage{{{','.join(packages)}}}\begin{{document}}{body}\end{{document}}"
    (folder / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_pdflatex_sets_all_of_them_on_their_pages(tmp_path):
    log = compile_latex(TABLES, tmp_path)
    for complaint in "Overfull", "Float too large", "Missing character", "undefined":
        assert complaint not in log, log[log.index(complaint) - 200 :][:600]


def test_the_check_sees_what_is_too_wide(tmp_path, monkeypatch):
    monkeypatch.setattr("llm4grn.report.latex._LARGEST", r"max width=2\linewidth")
    assert "Overfull" in compile_latex([wide(5, 9, [])], tmp_path)
