"""All that a GPU should show, in one command that ends within six minutes and writes one JSON.

    python -m benchmarks.gpu                               one NVIDIA GPU
    python -m benchmarks.gpu --device cpu --tiny           the same program on the CPU, within a minute: a rehearsal
    python -m benchmarks.gpu --only rates "paper bfloat16"

Parts: versions; the device's own rates (matrix products, bandwidth, launches); one training step on the GPU and on the
CPU against float64 (losses, gradients, weights), for the step recorded from GRouNdGAN and at the paper's size; seconds
and memory of a step of ``model=paper`` and ``model=groundgan``, eagerly, as a CUDA graph, through torch.compile, and
compiled as a graph, with the hours of 240,000 steps and the shares of the roofline; 2,000 steps of both stages of
``model=small`` on simulated cells (the paper's Appendix C, nothing is downloaded) whose scores are compared with the
same trainings on the CPU, which run beside the other parts; metrics; generated cells per second.

Each part runs in a process of its own with a budget of seconds, and what it found before it failed is kept, with the
reason. Parts for which no time is left are skipped. The JSON is written anew after each part; a table at the end says
what is in it. The exit status is 1 if a part failed or was skipped, or a check did not hold.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import gpu_results, gpu_speed
from benchmarks.gpu_report import FIRST, ON_CPU, compared_scores, failed_checks, finite, table
from benchmarks.gpu_speed import Job, Result
from llm4grn.store import atomic_write

#: Seconds after which no part runs any more; the six minutes include the imports and the last table.
DEADLINE = 340.0
#: What the server of processes imports.
IMPORTED = ["benchmarks.gpu_results", "llm4grn.api.options", "llm4grn.gan.api", "llm4grn.metrics.stateful"]
#: A part is skipped if less than this share of its budget is left.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes
    ----------
    name
        Name in the JSON.
    run
        Generator of named results, a function that another process can import.
    budget
        Seconds after which it is ended.
    options
        Options of ``run``.
    beside
        If True, it starts first and runs on the CPU beside the others.
    """

    name: str
    run: Callable[[Job], Iterator[Result]]
    budget: float
    options: Mapping[str, Any] = field(default_factory=dict)
    beside: bool = False


def parts(tiny: bool) -> list[Part]:
    """Return all parts: first what matters most, as the last ones may be skipped."""

    def step(model: str, precision: str, compiled: bool, budget: float) -> Part:
        options = {"model": model, "precision": precision, "compiled": compiled}
        return Part(f"{model} {precision}{' compiled' * compiled}", gpu_speed.step_times, budget, options)

    seeds, others = ((1,), (2,)) if tiny else ((2, 3, 1), (4, 5, 6))
    threads = max(1, ((os.cpu_count() or 1) - 4) // len(others))
    beside = [{"seeds": [seed], "threads": threads} for seed in others]
    return [
        *(Part(f"{ON_CPU} {each['seeds'][0]}", gpu_results.small_training, DEADLINE, each, True) for each in beside),
        Part(FIRST, gpu_speed.environment, 60),
        Part("rates", gpu_speed.rates, 30),
        Part("agreement", gpu_results.agreement, 60),
        step("paper", "bfloat16", False, 30),
        step("paper", "float32", False, 30),
        step("paper", "bfloat16", True, 90),
        Part("small", gpu_results.small_training, 75, {"seeds": seeds, "threads": 1}),
        Part("generation", gpu_results.generation, 30),
        Part("metrics", gpu_results.metrics, 45),
        step("groundgan", "bfloat16", False, 30),
        step("paper", "tf32", False, 30),
        step("groundgan", "bfloat16", True, 90),
        step("paper", "tf32", True, 90),
    ]


class Running:
    """A part in a process of its own, which is ended with all its children."""

    def __init__(self, part: Part, job: Job, folder: Path, method: str = "forkserver") -> None:
        self.part, self.begin = part, time.monotonic()
        self.stem = folder / "".join(letter if letter.isalnum() else "_" for letter in part.name)
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(IMPORTED)
        self.process = context.Process(target=_run, args=(part, job, str(self.stem)))
        self.process.start()
        self.is_over = False

    def kill(self) -> None:
        """End the process, if it has not ended by itself, and all that it has started, such as compilers."""
        if self.is_over:  # another process may have its number by now
            return
        self.is_over = True
        with suppress(ProcessLookupError):  # no such group: it had not made one, or nobody is left in it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def end(self, seconds: float) -> dict[str, Any]:
        """Wait for the end, at most until ``seconds`` after the start, and return status, results and reason."""
        self.process.join(max(0.0, self.begin + seconds - time.monotonic()))
        too_long = self.process.is_alive()
        self.kill()
        found: dict[str, Any] = {"status": "ok", "seconds": round(time.monotonic() - self.begin, 2), "results": {}}
        path = self.stem.with_suffix(".jsonl")
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []  # the last may be cut
        for name, value in map(json.loads, lines):
            if name in ("error", "seconds"):
                found[name] = value
            else:
                found["results"][name] = value
        if too_long:
            found["error"] = f"ended after its {seconds:.0f} s"
        elif self.process.exitcode and "error" not in found:
            found["error"] = f"its process ended with status {self.process.exitcode}"
        if "error" in found:
            found["status"] = "failed"
            log = self.stem.with_suffix(".log")
            found["log"] = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""
        return found


def _run(part: Part, job: Job, stem: str) -> None:
    """Write the results of a part, a line each, and what it prints into a log."""
    begin = time.monotonic()
    os.setpgrp()
    os.nice(10 if part.beside and not job.tiny else 0)
    with open(f"{stem}.log", "w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    with open(f"{stem}.jsonl", "w", encoding="utf-8") as results:

        def write(name: str, value: Any) -> None:
            results.write(json.dumps([name, finite(value)]) + "\n")
            results.flush()

        try:
            for name, value in part.run(job):
                write(name, value)
        except BaseException as error:
            traceback.print_exc()
            write("error", f"{type(error).__name__}: {error}"[:500])
        write("seconds", round(time.monotonic() - begin, 2))


def run_all(chosen: Sequence[Part], device: str, tiny: bool, deadline: float, output: Path) -> dict[str, Any]:
    """Run parts one after the other, and those beside them from the start, and write ``output`` after each.

    Parameters
    ----------
    chosen
        The parts, in order.
    device, tiny
        See :class:`~benchmarks.gpu_speed.Job`.
    deadline
        Seconds from now at which the last part is ended.
    output
        Path of the JSON.

    Returns
    -------
    The content of the JSON; ``checks`` holds what was checked and did not hold.
    """
    begin, report = time.monotonic(), {"benchmark": "gpu", "device": device, "tiny": tiny, "parts": {}}
    found: dict[str, dict[str, Any]] = report["parts"]
    method = "forkserver"  # of starting a process: the server has imported everything, and never used the GPU

    def left() -> float:
        return deadline - (time.monotonic() - begin)

    def write() -> None:
        report["seconds"] = round(time.monotonic() - begin, 1)
        report["checks"] = failed_checks(found)
        with atomic_write(output) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder, ExitStack() as leaving:

        def start(part: Part) -> Running:
            known = {name: of.get("results", {}) for name, of in found.items()}
            job = Job("cpu" if part.beside else device, tiny, part.options, known)
            running = Running(part, job, Path(folder), method)
            leaving.callback(running.kill)
            return running

        beside = [start(part) for part in chosen if part.beside]
        for part in (each for each in chosen if not each.beside):
            if found.get(FIRST, {}).get("status") == "failed":
                found[part.name] = {"status": "skipped", "error": f"the device cannot be used: {found[FIRST]['error']}"}
            elif left() < LEAST_SHARE * part.budget:
                found[part.name] = {"status": "skipped", "error": f"{left():.0f} s were left of {deadline:.0f}"}
            else:
                found[part.name] = start(part).end(min(part.budget, left()))
            if part.name == FIRST and found[FIRST]["status"] == "failed" and device == "cuda":
                method = "spawn"  # an import may have touched the GPU, which a fork does not survive
                report["forkserver"] = found[FIRST]
                found[FIRST] = start(part).end(min(part.budget, left()))
            print(f"{found[part.name]['status']:8}{part.name}  {found[part.name].get('error', '')}", flush=True)
            write()
        for running in beside:
            useless = found.get(FIRST, {}).get("status") == "failed"
            found[running.part.name] = running.end(
                0 if useless else time.monotonic() - running.begin + max(0.0, left())
            )
            write()
    report["small_equals_cpu"] = compared_scores(found)
    write()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that try the program out")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in parts(False)], help="parts to run")
    parser.add_argument("--seconds", type=float, default=DEADLINE, help="after which no part runs any more")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="path of the JSON")
    args = parser.parse_args()
    chosen = [part for part in parts(args.tiny) if not args.only or part.name in args.only]
    report = run_all(chosen, args.device, args.tiny, args.seconds, args.output)
    print(f"\n{table(report)}\n{args.output.resolve()}: {report['seconds']} s")
    if report["checks"] or any(part["status"] != "ok" for part in report["parts"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
