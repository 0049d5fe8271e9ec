"""Find finished runs on disk, read their scores or compute them again from the cells, and compare them in tables."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from llm4grn.errors import UserError
from llm4grn.evaluation.scores.paper_numbers import paper_rows
from llm4grn.evaluation.scores.statistical_tables import difference_table, interval_table
from llm4grn.evaluation.scores.statistics import differences, intervals
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.tables import scores_tables
from llm4grn.metrics.registry import METRICS, metric_parameters
from llm4grn.report.blocks import Table
from llm4grn.results import Result, of_cells, read_results, read_run
from llm4grn.runtime.seeding import derive_seed

logger = logging.getLogger("llm4grn")


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Return the folders of finished runs that match, sorted; if none has scores, folders of ``infer_grn.py``.

    Raises
    ------
    UserError
        If a pattern matches neither, or only graphs while another matches runs with scores.
    """
    if not patterns:
        raise UserError("runs=[]: name at least one folder of a run, or a pattern like 'outputs/*'")
    selected: dict[str, set[Path]] = {}
    for pattern in patterns:
        folders = [Path(path) for path in glob.glob(pattern)]
        matching = {folder for folder in folders if is_scored(folder) or (folder / "graph.json").is_file()}
        if not matching:
            raise UserError(
                f"runs={pattern}: no finished run there (a folder with results.json); train one with python train.py"
            )
        selected[pattern] = {folder for folder in matching if is_scored(folder)} or matching
        if left_out := len(matching - selected[pattern]):
            logger.info("runs=%s: left out, as without scores: %d folder(s) of infer_grn.py", pattern, left_out)
    every = {folder for folders in selected.values() for folder in folders}
    scored = {folder for folder in every if is_scored(folder)}
    if scored and (alone := [pattern for pattern, folders in selected.items() if not folders & scored]):
        raise UserError(
            f"runs={alone[0]}: a graph of infer_grn.py, without scores, among finished runs; compare graphs by "
            "themselves, or train with the same options first"
        )
    return sorted(every)


def is_scored(folder: Path) -> bool:
    """Return True if the folder is that of a finished run, rather than of a graph alone."""
    return (folder / "results.json").is_file()


class Loaded(NamedTuple):
    """Results of several runs.

    Attributes
    ----------
    results
        Scores of their cells.
    n_cells
        Number of cells on each side of a comparison, by data set.
    models
        Name of each run's model in the results, by folder; see :func:`model_labels`.
    """

    results: list[Result]
    n_cells: dict[str, int]
    models: dict[Path, str]


def load_runs(folders: Sequence[Path], rescore: bool = False) -> Loaded:
    """Read the results of all runs.

    Parameters
    ----------
    folders
        Folders of finished runs.
    rescore
        Whether to score the runs' synthetic cells again instead of reading their scores.

    Raises
    ------
    UserError
        If a file is missing or damaged, or cells to score have other genes than the test cells.
    """
    results: list[Result] = []
    n_cells: dict[str, int] = {}
    by_folder = {folder: of_cells(read_results(folder / "results.json")) for folder in folders}
    models = model_labels(
        {folder: next((result.model for result in own if result.model), "") for folder, own in by_folder.items()}
    )
    for folder, own in by_folder.items():
        run = read_run(folder / "results.json")
        read = [replace(result, model=models[folder]) if result.model else result for result in own]
        results += [result for result in read if result.source != "run" or not rescore]
        if rescore:
            results += _score(folder, read)
        n_cells[read[0].dataset] = run["n_cells"]
    return Loaded(results, n_cells, models)


def model_labels(names: Mapping[Path, str]) -> dict[Path, str]:
    """Label the model of each run: its name and, if runs of one name were trained differently, the options that differ.

    Without the options, a short training would be averaged with a long one.

    Parameters
    ----------
    names
        Folder of each run to the name of its model.
    """
    configs = {folder: (name, _model_options(folder)) for folder, name in names.items()}
    labels = {}
    for folder, (name, options) in configs.items():
        others = [of for other, of in configs.values() if other == name]
        shared = [(of, field) for of in others for field in of.keys() & options.keys()]
        differing = sorted({field for of, field in shared if of[field] != options[field]})
        shown = ", ".join(f"{field}={options[field]}" for field in differing)
        labels[folder] = f"{name} ({shown})" if shown else name
    return labels


def _model_options(folder: Path) -> dict[str, object]:
    """Return the model options of both stages; none if the run's configuration is missing."""
    import yaml

    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    stages = config.get("model") or {} if isinstance(config, dict) else {}
    return {
        f"{stage}.{field}": value
        for stage, fields in stages.items()
        if isinstance(fields, dict)
        for field, value in fields.items()
    }


def score_tables(
    folders: Sequence[Path],
    rescore: bool = False,
    paper: bool = False,
    seed: int = 0,
    loaded: Loaded | None = None,
    no_real_type: Mapping[tuple[str, ...], Sequence[float]] | None = None,
) -> list[Table]:
    """Build all tables on the scores of finished runs.

    Parameters
    ----------
    folders
        Folders of finished runs, of any data sets.
    rescore
        Whether to score the runs' synthetic cells again instead of reading their scores.
    paper
        Whether to show the numbers of the paper beside ours, for the data sets it has.
    seed
        Seed for the bootstrap.
    loaded
        Result of :func:`load_runs` for these arguments, so that nothing is scored twice.
    no_real_type
        See :func:`~llm4grn.evaluation.scores.tables.scores_tables`.

    Returns
    -------
    ``scores``; ``scores_with_collapsed`` if any set of cells collapsed; ``intervals``; ``differences`` if a data set
    has two settings with a common seed.
    """
    results, n_cells, _ = loaded or load_runs(folders, rescore)
    notes = run_notes(folders, rescore)
    rows = summarise(results)
    theirs = paper_rows(row.dataset for row in rows) if paper else []
    if paper and (without := sorted({row.dataset for row in rows} - {row.dataset for row in theirs})):
        notes.append(f"The paper has no numbers for {', '.join(without)}.")
    tables = [
        *scores_tables(results, n_cells, theirs, notes, no_real_type),
        interval_table(intervals(rows, seed), seed),
    ]
    tested = differences(rows)
    return [*tables, difference_table(tested)] if tested else tables


def run_notes(folders: Sequence[Path], rescored: bool = False) -> list[str]:
    """Return notes on training warnings and outdated metric parameters in the runs' files, each naming its run.

    A run with training warnings is not left out: whether its cells collapsed is decided by their scores. Metrics that
    were scored with other parameters than the current ones are named, unless they were scored again.
    """
    warnings, changes = [], []
    for folder in folders:
        run = read_run(folder / "results.json")
        for stage, texts in run.get("training_warnings", {}).items():
            warnings += [f"Warning from the training of {folder.name} ({stage}): {', '.join(texts)}."] if texts else []
        if not rescored:
            scored = {result.metric for result in of_cells(read_results(folder / "results.json"))}
            recorded = {name: old for name, old in run.get("metrics", {}).items() if name in scored}
            changes += [f"{folder.name}: {line}; use rescore=true." for line in _changes(recorded)]
    return warnings + changes


def _changes(recorded: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Name the metrics whose recorded parameters differ from those that are printed below the table."""
    current = json.loads(json.dumps(metric_parameters()))
    lines = []
    for name, old in recorded.items():
        changed = {key: value for key, value in old.items() if current[name].get(key, value) != value}
        shown = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in changed.items())
        lines += [f"{METRICS[name].label} was scored otherwise ({shown})"] if changed else []
    return lines


def _score(folder: Path, recorded: Sequence[Result]) -> list[Result]:
    """Return the recorded results of source ``run``, with values computed from the cells in the folder."""
    import anndata

    from llm4grn.evaluation.scores.score import score
    from llm4grn.runtime.progress import progress

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
