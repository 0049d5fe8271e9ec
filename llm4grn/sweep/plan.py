"""The plan of a sweep as text: jobs, stages in the store and to run, questions to language models, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm4grn.report.terminal import aligned
from llm4grn.store import Stage, Store
from llm4grn.sweep.estimates import GPU, TRAININGS, Estimates
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.questions import SECONDS_PER_ANSWER, Cost

RULES = {
    "cpu": "trainings on a CPU by steps and size of the networks, from others in this store, or from 2.6 s per step\n"
    "  of the paper's stage 2 on two cores",
    "gpu": f"trainings on a GPU by steps and size of the networks, {GPU.operations:.0e} operations a second (a guess)",
    "rest": "stages that train nothing as pbmc3k takes on two cores",
    "answers": f"{SECONDS_PER_ANSWER:.0f} s for an answer (a guess), and as many at once as conf/llm allows",
}


@dataclass(frozen=True)
class Time:
    """A time in seconds, measured or guessed."""

    seconds: float
    is_guess: bool

    def __str__(self) -> str:
        return ("~" if self.is_guess else "") + duration(self.seconds)

    @property
    def hours(self) -> str:
        """The time in hours with one decimal, as GPU time is given."""
        return f"{'~' if self.is_guess else ''}{self.seconds / 3600:.1f}"


@dataclass(frozen=True)
class Plan:
    """The work of a sweep.

    Parameters
    ----------
    store
        Store of finished stages.
    stages
        Job number to all stages of the job; jobs that cannot be planned are absent.
    costs
        Questions to language models and what they cost.
    asking
        Keys of the stages that ask a language model.
    on_gpu
        Keys of the trainings that run on a GPU.
    """

    store: Store
    stages: Mapping[int, Sequence[Stage]]
    costs: Sequence[Cost]
    asking: Collection[str] = ()
    on_gpu: Collection[str] = ()

    @cached_property
    def estimates(self) -> Estimates:
        """Expected time and disk space of each stage."""
        return Estimates(self.store, self.on_gpu)

    @cached_property
    def bytes(self) -> float:
        """Bytes to be written, including the copies in the folders of the runs."""
        return 2 * sum(self.estimates.bytes(stage) for stage in self.to_run)

    @cached_property
    def distinct(self) -> dict[str, Stage]:
        """Every stage once, by its key, in the order of the first job that needs it."""
        return {stage.key: stage for stages in self.stages.values() for stage in stages}

    @property
    def to_run(self) -> list[Stage]:
        """Stages that are not in the store, each once."""
        return [stage for stage in self.distinct.values() if not self.store.has(stage)]

    def text(self, jobs: Sequence[Job], name: str) -> str:
        """Return the plan as tables for the terminal.

        Parameters
        ----------
        jobs
            Jobs of the sweep, including those that cannot be planned.
        name
            Title of the plan.
        """
        parts = [
            f"{name}: {len(jobs)} job{'s' if len(jobs) > 1 else ''}",
            self._jobs(jobs),
            self._stages(),
            self._questions(),
            self._total(),
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
            computed = [stage for stage in missing if stage.key not in self.asking]
            times = [str(self._time(computed))] if computed else []
            times += ["answers"] if len(computed) < len(missing) else []
            rows.append([name, *map(str, (wanted[name], n, n - len(missing), len(missing))), " + ".join(times) or "-"])
        return aligned(rows) if len(rows) > 1 else ""

    def _time(self, stages: Sequence[Stage]) -> Time:
        times = [self.estimates.seconds(stage) for stage in stages if stage.key not in self.asking]
        return Time(sum(seconds for seconds, _ in times), not all(measured for _, measured in times))

    def _total(self) -> str:
        """Return the last lines: expected time, GPU hours, disk space, and the rules behind the estimates."""
        if not self.stages:
            return ""
        if not self.to_run:
            return "Nothing is left to compute."
        on_gpu = self._to_run_by_rule()["gpu"]
        computing, answers = self._time(self.to_run), Time(sum(cost.seconds for cost in self.costs), True)
        whole = Time(computing.seconds + answers.seconds, computing.is_guess or answers.seconds > 0)
        lines = [f"Expected time: {whole}, one job after the other"]
        lines[0] += f"; of this {answers} for answers" if answers.seconds else ""
        lines[0] += "." if whole.is_guess else ", as it took before in this store."
        if on_gpu:
            lines.append(
                f"GPU: {self._time(on_gpu).hours} hours for {len(on_gpu)} training{'s' if len(on_gpu) > 1 else ''}."
            )
        lines.append(f"Disk: about {self.bytes / 2**30:.1f} GiB.")
        guessed = {kind: self._time(stages).is_guess for kind, stages in self._to_run_by_rule().items()}
        guessed["answers"] = answers.seconds > 0
        if any(guessed.values()):
            lines.append("~ is an estimate for what never ran here with these options:")
            lines += [f"- {rule}" for name, rule in RULES.items() if guessed[name]]
        return "\n".join(lines)

    def _to_run_by_rule(self) -> dict[str, list[Stage]]:
        """Return the stages to run, by the rule in `RULES` that estimates their time."""
        by_rule: dict[str, list[Stage]] = {"cpu": [], "gpu": [], "rest": []}
        for stage in self.to_run:
            by_rule["gpu" if stage.key in self.on_gpu else "cpu" if stage.name in TRAININGS else "rest"].append(stage)
        return by_rule

    def _questions(self) -> str:
        if not self.costs:
            return "No language model would be asked."
        rows = [
            ["asked", "about", "data set", "questions", "answered", "prompt tokens", "US dollars at most", "in batches"]
        ]
        for cost in self.costs:
            about = f"{'~' if cost.is_guess else ''}{cost.n_questions:,}"
            dollars = f"{cost.dollars:,.2f}", f"{cost.batch_dollars:,.2f}"
            rows.append(
                [cost.llm, cost.about, cost.dataset, about, f"{cost.n_answered:,}", f"{cost.prompt_tokens:,}", *dollars]
            )
        tokens = sum(cost.prompt_tokens for cost in self.costs)
        sums = (f"{sum(getattr(cost, name) for cost in self.costs):,.2f}" for name in ("dollars", "batch_dollars"))
        n, answered = (sum(getattr(cost, name) for cost in self.costs) for name in ("n_questions", "n_answered"))
        is_guess = any(cost.is_guess for cost in self.costs)
        rows.append(["sum", "", "", f"{'~' * is_guess}{n:,}", f"{answered:,}", f"{tokens:,}", *sums])
        notes = [
            "Questions that several jobs share are counted once. Tokens and dollars are at most: by the prices in",
            "conf/llm, every answer of full length, without those that are asked again. In batches: llm.batch=true.",
        ]
        if is_guess:
            notes.append("~ genes or TFs are not known before other stages ran: counted with one gene in ten as TF.")
        return aligned(rows, left=3) + "\n\n" + "\n".join(notes)


def duration(seconds: float) -> str:
    """Format a time in seconds as seconds, minutes or hours.

    Examples
    --------
    >>> duration(42.3), duration(170), duration(7300), duration(1e6)
    ('42 s', '3 min', '2.0 h', '278 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:.0f} h"
