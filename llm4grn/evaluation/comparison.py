"""Finished runs found on disk, read or scored again from their cells."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.evaluation.results import Result, read_results, read_run
from llm4grn.seeding import derive_seed


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Folders with a ``results.json`` that match, sorted.

    Raises
    ------
    UserError
        If a pattern matches no finished run.
    """
    if not patterns:
        raise UserError("runs=[]: name at least one folder of a run, or a pattern like 'outputs/*'")
    found: set[Path] = set()
    for pattern in patterns:
        runs = {Path(path) for path in glob.glob(pattern) if (Path(path) / "results.json").is_file()}
        if not runs:
            raise UserError(
                f"runs={pattern}: no finished run there (a folder with results.json); train one with python train.py"
            )
        found |= runs
    return sorted(found)


def load_runs(folders: Sequence[Path], rescore: bool = False) -> tuple[list[Result], dict[str, int]]:
    """Results of all runs, and the cells on each side of a comparison by data set.

    Parameters
    ----------
    folders
        Of finished runs.
    rescore
        Score the runs' synthetic cells again, instead of reading their scores.
    """
    results: list[Result] = []
    n_cells: dict[str, int] = {}
    for folder in folders:
        read, run = read_results(folder / "results.json"), read_run(folder / "results.json")
        results += [result for result in read if result.source != "run" or not rescore]
        if rescore:
            results += _score(folder, read)
        n_cells[read[0].dataset] = run["n_cells"]
    return results, n_cells


def _score(folder: Path, recorded: Sequence[Result]) -> list[Result]:
    """The recorded results of source ``run``, with values from the cells in the folder."""
    import anndata

    from llm4grn.evaluation.score import score
    from llm4grn.progress import progress

    real = anndata.read_h5ad(folder / "test.h5ad")
    mine = [result for result in recorded if result.source == "run"]
    scores = {}
    for sample in progress(sorted({result.sample for result in mine}), desc=f"scoring {folder.name}", unit="set"):
        synthetic = anndata.read_h5ad(folder / f"synthetic_{sample}.h5ad")
        if list(synthetic.var_names) != list(real.var_names):
            raise UserError(f"{folder}/synthetic_{sample}.h5ad: its genes are not those of test.h5ad beside it")
        seed = derive_seed(mine[0].seed, "score", sample)
        scores[sample] = score(real.X, synthetic.X, seed, sorted({result.metric for result in mine}))
    return [replace(result, value=scores[result.sample][result.metric]) for result in mine]
