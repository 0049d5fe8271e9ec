"""What a sweep would compute, as text: jobs, stages and whether they are there, questions, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from llm4grn.store import Stage, Store
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.questions import Cost


@dataclass(frozen=True)
class Plan:
    """The work of a sweep.

    Parameters
    ----------
    store
        Of finished stages.
    stages
        All stages of each job, by its number; jobs that cannot be planned are absent.
    costs
        Of the language models.
    """

    store: Store
    stages: Mapping[int, Sequence[Stage]]
    costs: Sequence[Cost]

    @property
    def distinct(self) -> dict[str, Stage]:
        """Every stage once, by its key, in the order of the first job that wants it."""
        return {stage.key: stage for stages in self.stages.values() for stage in stages}

    @property
    def to_run(self) -> list[Stage]:
        """Stages that no job has to compute twice, and that are not in the store."""
        return [stage for stage in self.distinct.values() if not self.store.has(stage)]

    def text(self, jobs: Sequence[Job], name: str) -> str:
        """The plan as tables."""
        parts = [
            f"{name}: {len(jobs)} job{'s' if len(jobs) > 1 else ''}",
            self._jobs(jobs),
            self._stages(),
            self._questions(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _jobs(self, jobs: Sequence[Job]) -> str:
        columns = ["dataset", "kb", "inferer", "llm", "model", "graph", "seed"]
        if any(job.setting and job.setting.inference_seed != job.setting.seed for job in jobs):
            columns.append("inference seed")
        rows = [["job", *columns, "stages to run"]]
        for job in jobs:
            if job.setting is None:
                rows.append([str(job.number), *["?"] * len(columns), "cannot be built"])
                continue
            labels = {**job.setting.labels, "inference seed": job.setting.inference_seed}
            rows.append([str(job.number), *(str(labels[column]) for column in columns), self._missing(job)])
        return aligned([[cell or "-" for cell in row] for row in rows], left=len(columns) + 1)

    def _missing(self, job: Job) -> str:
        if job.number not in self.stages:
            return "unknown"
        missing = sum(not self.store.has(stage) for stage in self.stages[job.number])
        return f"{missing} of {len(self.stages[job.number])}" if missing else "none, finished"

    def _stages(self) -> str:
        wanted = Counter(stage.name for stages in self.stages.values() for stage in stages)
        distinct = Counter(stage.name for stage in self.distinct.values())
        to_run: dict[str, list[Stage]] = {}
        for stage in self.to_run:
            to_run.setdefault(stage.name, []).append(stage)
        rows = [["stage", "wanted", "different", "in the store", "to run", "expected time"]]
        for name, n in distinct.items():
            missing = to_run.get(name, [])
            time = duration(self._seconds(missing)) if missing else "-"
            rows.append([name, *map(str, (wanted[name], n, n - len(missing), len(missing))), time])
        unknown = [name for name, stages in to_run.items() if self._seconds(stages) is None]
        known = sum(self._seconds(stages) or 0.0 for stages in to_run.values())
        if not self.to_run:
            total = "Nothing is left to compute."
        elif unknown:
            least = f"at least {duration(known)}; " if known else ""
            total = f"Expected time: {least}unknown for {', '.join(unknown)}, which never ran with these options here."
        else:
            total = f"Expected time: {duration(known)}, one job after the other, as it took before in this store."
        return f"{aligned(rows)}\n\n{total}" if len(rows) > 1 else ""

    def _seconds(self, stages: Sequence[Stage]) -> float | None:
        """What earlier stages with the same arguments took, summed; None if there is none for one of them."""
        times = [self.store.durations(stage) for stage in stages]
        return sum(map(median, times)) if all(times) else None

    def _questions(self) -> str:
        if not self.costs:
            return "No language model would be asked."
        rows = [["asked", "about", "data set", "questions", "answered", "prompt tokens", "US dollars"]]
        for cost in self.costs:
            about = f"{'~' if cost.is_guess else ''}{cost.n_questions:,}"
            numbers = about, f"{cost.n_answered:,}", f"{cost.prompt_tokens:,}", f"{cost.dollars:,.2f}"
            rows.append([cost.llm, cost.about, cost.dataset, *numbers])
        tokens, dollars = (sum(getattr(cost, name) for cost in self.costs) for name in ("prompt_tokens", "dollars"))
        n, answered = (sum(getattr(cost, name) for cost in self.costs) for name in ("n_questions", "n_answered"))
        rows.append(["sum", "", "", f"{n:,}", f"{answered:,}", f"{tokens:,}", f"{dollars:,.2f}"])
        notes = [
            "Questions that several jobs share are counted once. Tokens are estimates; dollars are at most, by the"
        ]
        notes.append("prices in conf/llm and answers of full length, without those that are asked again.")
        if any(cost.is_guess for cost in self.costs):
            notes.append("~ genes or TFs are not known before other stages ran: counted with one gene in ten as TF.")
        return aligned(rows, left=3) + "\n\n" + "\n".join(notes)


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table as text under a line of headings: the first ``left`` columns and their headings to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        padded = [cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(cells)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def duration(seconds: float | None) -> str:
    """A time as one reads it.

    Examples
    --------
    >>> duration(42.3), duration(170), duration(7300), duration(None)
    ('42 s', '3 min', '2.0 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
