"""Check that the scripts answer every mistake of a user in one line, before any training, without a traceback.

    python tests/bad_inputs.py

runs every case of ``bad_input_cases.py`` in a temporary folder, prints a table of seconds and messages, and one JSON
line last. The same cases are tests (``tests/test_bad_inputs.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bad_input_cases import CASES, Case

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 20.0
TRAINED = ("controller", "causal_gan")  # stages that no bad input must reach


@dataclass(frozen=True)
class Outcome:
    """Result of running a case."""

    status: int
    output: str
    errors: str
    seconds: float
    trained: bool

    @property
    def message(self) -> str:
        """Return the line for the user: the error, or else the warning."""
        lines = [line for line in self.errors.splitlines() if line.startswith("error: ") or "warning: " in line]
        return lines[-1] if lines else ""


def run(case: Case, folder: Path) -> Outcome:
    """Run the script of a case in ``folder`` as a user starts it."""
    if case.make:
        case.make(folder)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "LLAMA_BASE_URL")
    }
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(REPOSITORY / case.command[0]), *case.command[1:]]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=3 * LIMIT_S)
    except subprocess.TimeoutExpired:
        return Outcome(-1, "", "", time.perf_counter() - start, has_trained(folder))
    return Outcome(done.returncode, done.stdout, done.stderr, time.perf_counter() - start, has_trained(folder))


def has_trained(folder: Path) -> bool:
    """Return True if the store of a script that ran in ``folder`` has a training that began."""
    return any((folder / "outputs" / "store" / stage).exists() for stage in TRAINED)


def problems(case: Case, outcome: Outcome) -> list[str]:
    """Return what is wrong with the answer to a mistake; empty if nothing is."""
    n_errors = sum(line.startswith("error: ") for line in outcome.errors.splitlines())
    wrong = {
        f"exit status {outcome.status}, not {case.status}": outcome.status != case.status,
        f"{n_errors} lines of error": n_errors != (case.status != 0),
        "a traceback": "Traceback" in outcome.output + outcome.errors,
        f"{outcome.seconds:.1f} s": outcome.seconds >= LIMIT_S,
        "training had begun": outcome.trained,
    }
    unsaid = [f"no {text!r} in the message" for text in case.says if text not in outcome.message]
    return [what for what, is_wrong in wrong.items() if is_wrong] + unsaid


def main() -> None:
    """Run all cases, or only those whose names contain a word of the command line."""
    chosen = [case for case in CASES if all(word in case.name for word in sys.argv[1:])]
    seconds, passed = [], 0
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(case, Path(folder))
        wrong = problems(case, outcome)
        seconds.append(outcome.seconds)
        passed += not wrong
        print(
            f"{'FAILS' if wrong else 'ok':5}  {case.name:30}  {outcome.seconds:5.1f} s  {outcome.message}", flush=True
        )
        for what in wrong:
            print(f"{'':9}{what}")
        if wrong and not outcome.message:
            print(outcome.errors[-2000:])
    print(json.dumps({"cases": len(chosen), "passed": passed, "slowest_seconds": round(max(seconds, default=0), 1)}))
    sys.exit(passed != len(chosen))


if __name__ == "__main__":
    main()
