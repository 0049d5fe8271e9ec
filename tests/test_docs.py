"""The documentation site builds without a warning, its links lead somewhere, and what its pages claim works."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny import CONF, write_counts

import llm4grn as lg

ROOT = CONF.parent
DOCS = ROOT / "docs"
pytest.importorskip("sphinx")
sys.path.append(str(DOCS / "_ext"))
links = pytest.importorskip("links")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as ``make docs`` builds it, in another folder."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "--quiet"]
    done = subprocess.run([*command, str(DOCS), str(folder)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_site_builds_and_its_links_lead_somewhere(site):
    assert links.problems(site) == []


@pytest.mark.slow
def test_site_shows_every_public_name_and_option(site):
    api = (site / "reference" / "api.html").read_text()
    assert [name for name in lg.__all__ if name != "datasets" and f"llm4grn.{name}" not in api] == []
    configuration = (site / "reference" / "configuration.html").read_text()
    files = [path for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra"]
    assert len(files) > 30
    options = {f"{path.parent.name}={path.stem}" for path in files}
    assert [option for option in sorted(options) if f">{option}<" not in configuration] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "perturb", "grn", "adjacencies", "answers"])
def test_help_on_the_site_is_that_of_the_command(site, command):
    page = html.unescape(re.sub(r"<[^>]*>", "", (site / "reference" / "command_line.html").read_text()))
    typed = [sys.executable, "-m", "llm4grn", command, "--help"]
    done = subprocess.run(typed, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() in page


def test_dead_links_and_foreign_scripts_are_noticed(tmp_path):
    (tmp_path / "index.html").write_text(
        '<a href="gone.html">x</a><a href="#gone">y</a><a href="other.html#here">z</a><a href="https://example.org">w</a>'
        '<script src="https://cdn.example.org/x.js"></script>'
    )
    (tmp_path / "other.html").write_text('<p id="here">x</p>')
    assert [problem.split(" ", 1)[1] for problem in links.problems(tmp_path)] == [
        "gone.html: no such file",
        "#gone: no such place on that page",
        "https://cdn.example.org/x.js is fetched from elsewhere",
    ]


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 700
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(targets) > 15
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_readme_example_is_valid_python():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    compile(code, "README.md", "exec")
    for name in re.findall(r"lg\.(\w+)", code):
        assert name in lg.__all__


def test_inferer_of_the_how_to_works(tmp_path):
    code, yaml = re.findall(r"```(?:python|yaml)\n(.*?)```", (DOCS / "howto" / "inferer.md").read_text(), re.DOTALL)
    module = tmp_path / "variance_of_the_how_to.py"
    module.write_text(code)
    sys.path.insert(0, str(tmp_path))
    try:
        from variance_of_the_how_to import VariableTFs
    finally:
        sys.path.remove(str(tmp_path))
    import anndata

    counts = anndata.read_h5ad(write_counts(tmp_path / "counts.h5ad"))
    cells = lg.preprocess(counts, n_genes=30, n_test=40, n_validation=20)
    grn = lg.infer_grn(cells, inferer=VariableTFs(), k=2)
    grn.top(2).validate()
    variance = cells.train.to_df().var()
    best = {tfs[0] for tfs in grn.regulators(1).values()}
    assert best == {pd.Series(variance[list(grn.tf_names)]).idxmax()}
    assert "_target_: llm4grn.inference.variance.VariableTFs" in yaml


def test_documents_name_files_that_are_there():
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for grid in re.findall(r"\+multirun_sweeps=(\w+)", page.read_text()):
            assert (ROOT / "multirun_sweeps" / f"{grid}.yaml").exists(), f"{page}: {grid}"


def _options(text: str) -> list[tuple[str, str]]:
    groups = "dataset|kb|inferer|llm|model|trainer|logger"
    return re.findall(rf"(?<![\w./_])({groups})=([\w,]+)(?![\w./])", text)


def test_documents_type_options_that_exist():
    pages = [ROOT / "README.md", *(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
    typed = [
        (path, group, word)
        for path in pages
        for group, words in _options(Path(path).read_text())
        for word in words.split(",")
    ]
    assert len(typed) > 60
    unknown = [
        (path.name, group, word)
        for path, group, word in typed
        if word and word not in ("variance", "VariableTFs") and not (CONF / group / f"{word}.yaml").exists()
    ]
    assert unknown == []
