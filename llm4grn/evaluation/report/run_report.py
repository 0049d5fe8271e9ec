"""The report of one run: a verdict that its numbers support, the table, the pictures, the command that repeats it."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from llm4grn.evaluation.graphs.predictive_score import PredictiveScore
from llm4grn.evaluation.graphs.predictive_table import score_table
from llm4grn.evaluation.scores.answers import DECISIVE
from llm4grn.evaluation.scores.summary import COLLAPSE_FACTOR, Row, summarise
from llm4grn.evaluation.scores.tables import markdown_table
from llm4grn.llm.audit import audit_table
from llm4grn.metrics.registry import METRICS
from llm4grn.report.renderers import to_markdown
from llm4grn.results import Result
from llm4grn.store import atomic_write

_PACKAGES = (
    "llm4grn",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "numpy",
    "scipy",
    "scikit-learn",
    "scanpy",
    "anndata",
)
_ABOUT_AUDIT = (
    "Symbols are those of the answers that counted; tokens, cost and seconds are those of all requests when they were "
    "first answered: what was answered before this run was not paid for again."
)
_BASELINES = {"control": "the control", "stage1": "stage 1"}


def write_report(
    path: Path,
    results: Sequence[Result],
    *,
    command: str,
    n_tfs: int,
    n_targets: int,
    n_edges: int,
    pictures: Mapping[str, Path],
    files: Mapping[str, Path],
    n_cells: int | None = None,
    density: float | None = None,
    audits: Mapping[str, Mapping[str, object]] | None = None,
    predictive: PredictiveScore | None = None,
    versions: Mapping[str, str] | None = None,
) -> Path:
    """Write the Markdown report of one run.

    Parameters
    ----------
    path
        Output Markdown path; pictures and files are linked relative to it.
    results
        Results of the run, its control and its stage 1.
    command
        Command that reproduces the run.
    n_tfs, n_targets, n_edges
        Size of the imposed graph.
    pictures, files
        Caption to PNG path; description to file path.
    n_cells
        Number of cells on each side of a comparison, if known.
    density
        Density of the imposed graph; None for that of a bipartite one.
    audits
        Stage to the summary of its language model requests (see :func:`llm4grn.llm.audit.audit`).
    predictive
        Held-out predictive score of the graph.
    versions
        Package to version; the installed versions if None.

    Raises
    ------
    ValueError
        If the results are not those of exactly one run.
    """
    path = Path(path)
    run = _only_run(summarise(results))
    names = (run.kb, run.inferer, run.llm, run.model, run.graph)
    sections = [
        f"# {run.dataset}: {' / '.join(name for name in names if name)}",
        verdict(results),
        "## Scores",
        markdown_table(results, {run.dataset: n_cells} if n_cells else None).rstrip(),
        "## Graph",
        _graph(n_tfs, n_targets, n_edges, density),
        *([to_markdown(score_table(predictive)).rstrip()] if predictive is not None else []),
        *(["## Language model", audit_table(audits), _ABOUT_AUDIT] if audits else []),
        *_links(path, pictures, files),
        "## Again",
        f"```\n{command}\n```",
        _origin(run.seeds, installed_versions() if versions is None else versions),
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def _graph(n_tfs: int, n_targets: int, n_edges: int, density: float | None) -> str:
    if density is None:
        density = n_edges / (n_tfs * n_targets) if n_tfs * n_targets else 0.0
    return (
        f"{n_tfs} transcription factors, {n_targets} targets, {n_edges} edges, density {density:.4f} "
        "(edges / (transcription factors x targets))."
    )


def _links(report: Path, pictures: Mapping[str, Path], files: Mapping[str, Path]) -> list[str]:
    """Return the sections of pictures and of files, if there are any."""
    shown = [f"![{caption}]({_link(picture, report)})\n\n{caption}" for caption, picture in pictures.items()]
    listed = [f"- {what}: [{link}]({link})" for what, file in files.items() for link in [_link(file, report)]]
    return [*(["## Pictures", *shown] if shown else []), *(["## Files", "\n".join(listed)] if listed else [])]


def _origin(seeds: Sequence[int], versions: Mapping[str, str]) -> str:
    packages = ", ".join(f"{package} {number}" for package, number in versions.items())
    return f"Seeds: {', '.join(map(str, seeds))}. Versions: {packages}."


def verdict(results: Sequence[Result]) -> str:
    """Compare one run with the control and stage 1, in words.

    Differences no larger than the two rows' joint standard deviation are called level; the words follow from RF AUROC
    and MMD only.

    Raises
    ------
    ValueError
        If the results are not those of exactly one run.
    """
    rows = summarise(results)
    run = _only_run(rows)
    if run.failed:
        return (
            f"**The run collapsed**: the mean cell of every generated set lies more than {COLLAPSE_FACTOR:g} times as "
            "far from the real one as the control's. Its numbers say nothing about the graph."
        )
    bases = {row.source: row for row in rows if row.source in _BASELINES}
    metrics = [name for name in DECISIVE if name in run.mean]
    outcomes = {
        source: [_compare(run, base, name) for name in metrics if name in base.mean] for source, base in bases.items()
    }
    details = [_detail(run, bases, name) for name in metrics]
    caution = (
        "A single scored set gives no spread: small differences mean nothing."
        if run.n == 1
        else f"Level = within the standard deviation over {run.n} sets."
    )
    if len(run.seeds) == 1 and run.n > 1:
        caution += " All come from one seed, so the spread between trainings is not in it."
    lost = f"{run.collapsed} collapsed set(s) are left out. " if run.collapsed else ""
    return f"**{_headline(outcomes)}** {lost}{'; '.join(details)}. {caution}"


def installed_versions() -> dict[str, str]:
    """Return the installed versions of Python and of the packages behind the numbers."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _only_run(rows: Sequence[Row]) -> Row:
    runs = [row for row in rows if row.source == "run"]
    if len(runs) != 1 or len({row.dataset for row in rows}) != 1:
        raise ValueError(f"a report is about one run on one data set, got {len(runs)}")
    return runs[0]


def _compare(run: Row, base: Row, name: str) -> str:
    """Return whether the run is ``better`` than the baseline, ``worse`` or ``level``."""
    gap = METRICS[name].shortfall(run.mean[name]) - METRICS[name].shortfall(base.mean[name])
    if abs(gap) <= math.hypot(run.std.get(name, 0.0), base.std.get(name, 0.0)):
        return "level"
    return "worse" if gap > 0 else "better"


def _headline(outcomes: Mapping[str, Sequence[str]]) -> str:
    control, stage1 = (set(outcomes.get(source, ())) for source in _BASELINES)
    if control and "worse" not in control:
        return "By RF AUROC and MMD the generated cells lie as close to held-out real cells as real training cells do."
    parts = {
        frozenset({"better"}): "closer to held-out real cells than those of stage 1, the GAN without a graph",
        frozenset({"worse"}): "farther from held-out real cells than those of stage 1, the GAN without a graph",
        frozenset({"level"}): "as close to held-out real cells as those of stage 1, the GAN without a graph",
        frozenset({"better", "level"}): "at least as close to held-out real cells as those of stage 1",
        frozenset({"worse", "level"}): "no closer to held-out real cells than those of stage 1, on one metric farther",
    }
    where = parts.get(frozenset(stage1))
    short = ", and short of the control" if control else ""
    if where:
        return f"The generated cells are {where}{short}."
    if stage1:
        return f"RF AUROC and MMD disagree on whether the generated cells are closer than those of stage 1{short}."
    return "No stage 1 to compare with" + ("; the generated cells fall short of the control." if control else ".")


def _detail(run: Row, bases: Mapping[str, Row], name: str) -> str:
    def shown(row: Row) -> str:
        spread = f" ± {METRICS[name].format(row.std[name])}" if name in row.std else ""
        return METRICS[name].format(row.mean[name]) + spread

    words = {"level": "level with", "better": "better than", "worse": "worse than"}
    compared = [
        f"{words[_compare(run, base, name)]} {_BASELINES[source]} ({shown(base)})"
        for source, base in bases.items()
        if name in base.mean
    ]
    return f"{METRICS[name].label} {shown(run)}" + (f": {', '.join(compared)}" if compared else "")


def _link(target: Path, report: Path) -> str:
    return quote(Path(os.path.relpath(target, report.parent)).as_posix())
