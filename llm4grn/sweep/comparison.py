"""The end of a sweep: its runs in one table, and what did not end well."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean

from llm4grn.causal_graph import CausalGraph, overlap
from llm4grn.evaluation.comparison import load_runs
from llm4grn.evaluation.results import to_csv
from llm4grn.evaluation.tables import markdown_table, terminal_table
from llm4grn.store import atomic_write
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.plan import aligned
from llm4grn.sweep.records import Record, read_record


def compare(sweep: Path, jobs: Sequence[Job]) -> str:
    """Write ``comparison.md`` and ``comparison.csv`` of the finished jobs into the folder of the sweep, and tell them.

    Runs with scores are compared by these; jobs that end at the graph by the overlap of the graphs of a setting over
    its inference seeds (section 4 of the protocol).
    """
    done = [(job, Path(record.folder)) for job, record in records(sweep, jobs) if record and record.folder]
    scored = sorted({folder for _, folder in done if (folder / "results.json").is_file()})
    graphs = [(job, folder) for job, folder in done if not (folder / "results.json").is_file()]
    if scored:
        results, n_cells = load_runs(scored)
        table, markdown, tidy = terminal_table(results, n_cells), markdown_table(results, n_cells), to_csv(results)
    elif rows := consistency(graphs):
        table = aligned(rows, left=len(rows[0]) - 4) + "\n"
        markdown = "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
        markdown, tidy = markdown + "\n", "\n".join(",".join(row) for row in rows) + "\n"
    else:
        return ""
    paths = {"table": sweep / "comparison.md", "tidy": sweep / "comparison.csv"}
    for (_, path), text in zip(paths.items(), (markdown, tidy), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
    return table + "\n" + "\n".join(f"{name:6} {path}" for name, path in paths.items())


def records(sweep: Path, jobs: Sequence[Job]) -> list[tuple[Job, Record | None]]:
    """What became of each job."""
    return [(job, read_record(sweep, job.overrides)) for job in jobs]


def consistency(graphs: Sequence[tuple[Job, Path]]) -> list[list[str]]:
    """Heading and one row per setting with several graphs: overlap of each two that differ in the inference seed."""
    columns = ["dataset", "kb", "inferer", "llm", "graph", "seed"]
    groups: dict[tuple[str, ...], list[CausalGraph]] = {}
    for job, folder in graphs:
        labels = tuple(str(job.setting.labels[column]) or "-" for column in columns)
        groups.setdefault(labels, []).append(CausalGraph.from_json(folder / "graph.json"))
    rows = [
        [*labels, str(len(group)), *(f"{value(overlaps):.4f}" for value in (fmean, min, max))]
        for labels, group in groups.items()
        if (overlaps := [overlap(a, b) for a, b in combinations(group, 2)])
    ]
    return [[*columns, "graphs", "mean overlap", "least", "most"], *rows] if rows else []


def failures(sweep: Path, jobs: Sequence[Job]) -> list[str]:
    """One line per job that did not end well."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    lines = []
    for job, record in records(sweep, jobs):
        name = f"job {job.number} ({' '.join(word for word in job.overrides if word not in shared)})"
        if record is None:
            lines.append(f"{name}: not started")
        elif record.status == "running":
            lines.append(f"{name}: its process ended without a word; killed, or out of memory?")
        elif record.status == "failed":
            lines.append(f"{name}: {record.error}\n    {record.traceback}")
    return lines
