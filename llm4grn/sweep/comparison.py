"""Compare the runs of a sweep as ``evaluate.py`` does, and list the jobs that failed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llm4grn.evaluation.scores.comparison import is_scored
from llm4grn.store import atomic_write
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.records import Record, read_record


def compare(sweep: Path, jobs: Sequence[Job], *, store: Path, data: Path, command: str) -> str:
    """Compare the finished jobs of a sweep, write the comparison to its folder, and return its summary.

    Runs with scores are compared by their scores, runs that end at the graph by their graphs. The files are rewritten
    only if the results changed since the last comparison.

    Parameters
    ----------
    sweep
        Folder of the sweep, with the records of its jobs.
    jobs
        All jobs of the sweep.
    store, data
        Folders of finished stages and of downloaded data.
    command
        Command line of the sweep, shown in the report.

    Returns
    -------
    Verdict, main table and paths of the files as text; empty if no job is finished.
    """
    done = sorted({Path(record.folder) for _, record in records(sweep, jobs) if record and record.folder})
    scored = [folder for folder in done if is_scored(folder)]
    if not done:
        return ""
    missing = [line.splitlines()[0] for line in failures(sweep, jobs)]
    summary, key = sweep / "summary.txt", _key(scored or done, "results.json" if scored else "graph.json", missing)
    if not (summary.is_file() and summary.read_text().endswith(key + "\n")):
        from llm4grn.evaluation.report.comparison_files import write_comparison
        from llm4grn.evaluation.report.comparison_report import Options, compare_graphs, compare_runs
        from llm4grn.evaluation.scores.verdicts import text_of
        from llm4grn.gan.knock_outs import knock_outs
        from llm4grn.report.renderers import to_terminal

        compared = compare_runs if scored else compare_graphs
        comparison = compared(scored or done, sweep, Options(store=store, data=data, knock_outs=knock_outs))
        if missing:
            subtitle = f"{comparison.subtitle}; {len(missing)} of {len(jobs)} jobs are not done: {'; '.join(missing)}"
            comparison = replace(comparison, subtitle=subtitle.removeprefix("; "))
        files = write_comparison(comparison, sweep, command)
        # The page defines the columns; here the definitions would push the verdict out of sight.
        table = replace(comparison.main_table, definitions=())
        parts = [part for part in (text_of(comparison.verdict), to_terminal(table).rstrip()) if part]
        parts += ["\n".join(f"{what:8} {path}" for what, path in files.items()), f"of {key}"]
        with atomic_write(summary) as path:
            path.write_text("\n\n".join(parts) + "\n")
    return summary.read_text().rsplit("\n\n", 1)[0]


def _key(folders: Sequence[Path], name: str, missing: Sequence[str]) -> str:
    """Return a SHA-256 of everything that the comparison depends on."""
    from llm4grn.evaluation.report.run_report import installed_versions

    digest = hashlib.sha256(repr((sorted(installed_versions().items()), missing)).encode())
    for folder in folders:
        digest.update(folder.name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()


def records(sweep: Path, jobs: Sequence[Job]) -> list[tuple[Job, Record | None]]:
    """Return each job with its record, which is None if the job never started."""
    return [(job, read_record(sweep, job.overrides)) for job in jobs]


def failures(sweep: Path, jobs: Sequence[Job]) -> list[str]:
    """Return one message for each job that is not done."""
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
