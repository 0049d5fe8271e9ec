"""Claim: a slip in the code that decides results is noticed by the tests.

    python -m benchmarks.mutants                       every module, a sample of its mutants
    python -m benchmarks.mutants setting store         some modules
    python -m benchmarks.mutants setting --all         every mutant of one
    python -m benchmarks.mutants --seed 1              another sample: mutants that no test was written for

cosmic-ray makes the mutants (an operator replaced, a number changed, a condition turned round, ...). Each is put into a
copy of the repository, and the tests of its module run until one fails. The processes that run them are forked from one
that has imported the libraries, so a mutant costs what its tests cost. Mutants that differ from the code in annotations
only are left out: they are never executed. What survives is printed as a diff: it is equivalent, or a test is missing.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("llm4grn", "tests", "conf", "multirun_sweeps", "benchmarks", "pyproject.toml")
WIRING = ("tests/test_leakage.py", "tests/test_keys.py", "tests/test_seeds.py", "tests/test_inferers_in_line.py")
BOOSTING = tuple(f"tests/inference/test_{name}.py" for name in ("grnboost2", "boosting", "invariants", "distributed"))
SCORES = ("tests/evaluation/test_statistics.py", "tests/evaluation/test_tables.py")
VERDICTS = ("tests/evaluation/test_verdicts.py", "tests/evaluation/test_verdict_answers.py")
GAN = ("tests/gan/test_optimizers.py", "tests/gan/test_full_step.py", "tests/gan/test_recorded_step.py")
#: The tests of each module, those that notice most first.
MODULES: dict[str, tuple[str, ...]] = {
    "setting": ("tests/test_setting.py", "tests/test_keys.py", "tests/test_cli.py"),
    "store": ("tests/test_store.py", "tests/sweep/test_plan.py", "tests/test_setting.py"),
    "pipeline": ("tests/test_pipeline.py", *WIRING, "tests/test_consensus_in_line.py", "tests/test_paper_keys.py"),
    "run": ("tests/test_run.py", "tests/test_scripts.py"),
    "data/preprocess": ("tests/data/test_preprocess.py", "tests/data/test_gene_selection.py", "tests/test_seeds.py"),
    "gan/observation": ("tests/gan/test_observation.py", "tests/gan/test_full_step.py"),
    "gan/adversarial": (*GAN, "tests/gan/test_training.py", "tests/gan/test_monitor.py"),
    "gan/causal_gan": (*GAN, "tests/gan/test_interventions.py", "tests/gan/test_training.py"),
    "gan/losses": ("tests/gan/test_losses.py", "tests/gan/test_full_step.py"),
    "gan/target_generators": ("tests/gan/test_target_generators.py", "tests/gan/test_interventions.py"),
    "grn/network": ("tests/test_grn.py", "tests/test_edge_tables.py", "tests/api/test_python_interface.py"),
    "grn/causal_graph": ("tests/test_causal_graph.py", "tests/test_grn_commands.py"),
    "inference/genie3": ("tests/inference/test_genie3.py", "tests/inference/test_invariants.py"),
    "inference/grnboost2": BOOSTING,
    "evaluation/scores/statistics": (*SCORES, *VERDICTS),
    "evaluation/scores/verdicts": VERDICTS,
    "evaluation/scores/answers": VERDICTS,
    "evaluation/scores/summary": (*SCORES, *VERDICTS),
    "knowledge/llm": ("tests/knowledge/test_llm_kb.py",),
    "llm/answers_cache/cache": ("tests/llm/test_cache.py", "tests/llm/test_cache_claims.py"),
    "llm/parsing/answers": ("tests/llm/test_answers.py",),
    "llm/budget": ("tests/llm/test_budget.py", "tests/llm/test_interview.py"),
}
WARM = "import numpy, pandas, scipy.stats, anndata, torch, pytorch_lightning, sklearn.ensemble, hydra, hypothesis"


@dataclass(frozen=True)
class Mutant:
    """One change to one module."""

    module: str
    line: int
    code: str
    original: str

    @property
    def diff(self) -> str:
        pair = self.original.splitlines(), self.code.splitlines()
        return "\n".join(list(difflib.unified_diff(*pair, self.module, self.module, n=0, lineterm=""))[2:])


def mutants(module: str) -> Iterator[tuple[tuple[int, int], Mutant]]:
    """Yield every mutant of a module that differs in what is executed, with the place in the code that it changes."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    original = (ROOT / "llm4grn" / f"{module}.py").read_text()
    executed = _executed(original)
    nodes = list(ast_nodes(get_ast(original)))
    for name in operator_names():
        if get_operator(name).arguments():
            continue  # made for one variable of one program
        operator = get_operator(name)()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            code = mutate_code(original, operator, occurrence)
            if code is None:
                continue
            try:
                if _executed(code) == executed:
                    continue
            except SyntaxError:
                continue
            yield start, Mutant(module, start[0], code, original)


def _executed(code: str) -> str:
    """The syntax tree without annotations and docstrings, as text."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value = ast.Constant(None)
    return ast.dump(tree)


def sampled(module: str, n: int | None, seed: int = 0) -> list[Mutant]:
    """Return ``n`` mutants at as many places, the same ones for each seed; all of them for None."""
    by_place: dict[tuple[int, int], list[Mutant]] = {}
    for place, mutant in mutants(module):
        by_place.setdefault(place, []).append(mutant)
    if n is None:
        return [mutant for group in by_place.values() for mutant in group]
    rng = random.Random(f"{module} {seed}")
    places = rng.sample(sorted(by_place), min(n, len(by_place)))
    return [rng.choice(by_place[place]) for place in places]


def survives(mutant: Mutant | None, copy: Path, tests: tuple[str, ...], limit_s: float) -> bool:
    """Return True if all tests pass in a copy of the repository with this mutant; one that hangs is noticed."""
    path = copy / "llm4grn" / f"{mutant.module}.py" if mutant else None
    if mutant and path:
        path.write_text(mutant.code)
    process = multiprocessing.get_context("fork").Process(target=_test, args=(copy, tests))
    process.start()
    process.join(limit_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # one that hangs, and what a failed test has left running
    process.join()
    if mutant and path:
        path.write_text(mutant.original)
    return process.exitcode == 0


def _test(copy: Path, tests: tuple[str, ...]) -> None:
    import pytest

    os.chdir(copy)
    os.setpgrp()
    sys.path[:0] = [str(copy)]
    os.environ["PYTHONPATH"] = str(copy)
    sys.dont_write_bytecode = True
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests])
    os._exit(int(code))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="names below llm4grn without .py; all of the list by default")
    parser.add_argument("--sample", type=int, default=40, help="mutants per module (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which sample (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every mutant")
    args = parser.parse_args()
    if strangers := [name for name in args.modules if name not in MODULES]:
        parser.error(f"{strangers[0]}: choose some of {', '.join(MODULES)}")
    exec(WARM)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repository"
        copy.mkdir()
        for name in COPIED:
            source = ROOT / name
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
        for script in ROOT.glob("*.py"):
            shutil.copy(script, copy)
        for module in args.modules or MODULES:
            tests = (f"llm4grn/{module}.py", *MODULES[module])  # its doctests first
            started = time.monotonic()
            if not survives(None, copy, tests, 3600):
                raise SystemExit(f"{module}: its tests fail without a mutant")
            limit_s = 3 * (time.monotonic() - started) + 30
            chosen = sampled(module, None if args.all else args.sample, args.seed)
            alive = [mutant for mutant in chosen if survives(mutant, copy, tests, limit_s)]
            figures[module] = {"mutants": len(chosen), "killed": len(chosen) - len(alive)}
            share = 1 - len(alive) / max(len(chosen), 1)
            print(f"{module:32} {len(chosen) - len(alive):4} of {len(chosen):4} killed, {share:.0%}", flush=True)
            for mutant in alive:
                print("  " + mutant.diff.replace("\n", "\n  "), flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
