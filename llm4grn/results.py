"""Read and write tidy results: one record per data set, setting, seed, sample and metric, as CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from llm4grn.errors import UserError
from llm4grn.metrics.registry import GRAPH_METRICS, METRICS, metric_parameters
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import pandas as pd

SOURCES = ("control", "stage1", "run")
_NAMES = (*METRICS, *GRAPH_METRICS)


@dataclass(frozen=True)
class Result:
    """The value of one metric for one scored set of cells.

    Parameters
    ----------
    dataset, kb, inferer, llm, model, graph
        The setting, as named in the configuration; an empty string where a label does not apply.
    seed
        Seed of the run and of its data split.
    sample
        Index of the scored set of cells, from 0.
    source
        ``control`` (real training cells), ``stage1`` (the GAN without a graph) or ``run``.
    metric
        A name in the metric registry, of a metric of cells or of a score of the run's network (sample 0).
    value
        A finite number.

    Raises
    ------
    UserError
        If the source or the metric is unknown, or the value is not finite.
    """

    dataset: str
    kb: str
    inferer: str
    llm: str
    model: str
    graph: str
    seed: int
    sample: int
    source: str
    metric: str
    value: float

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UserError(f"source: '{self.source}' unknown; choose from {', '.join(SOURCES)}")
        if self.metric not in _NAMES:
            raise UserError(f"metric: '{self.metric}' unknown; choose from {', '.join(_NAMES)}")
        if not math.isfinite(self.value):
            raise UserError(f"value: {self.metric} of {self.source} is {self.value}; it must be finite")


COLUMNS = tuple(column.name for column in fields(Result))
_LABELS = tuple(name for name in COLUMNS if name not in ("seed", "sample", "value"))


class RunRecord(TypedDict, total=False):
    """The entry ``run`` of the ``results.json`` of a finished run.

    Attributes
    ----------
    key
        Key of the run.
    setting
        Labels of the run: dataset, kb, inferer, llm, model, graph, seed.
    n_cells
        Number of cells on each side of a comparison.
    stages
        Name of each stage to its key.
    training_warnings
        Name of a training stage to its warnings; missing if there are none.
    metrics
        Fixed parameters of each metric.
    """

    key: str
    setting: dict[str, str | int]
    n_cells: int
    stages: dict[str, str]
    training_warnings: dict[str, list[str]]
    metrics: dict[str, dict[str, object]]


def _order(result: Result) -> tuple:
    setting = (result.dataset, SOURCES.index(result.source), result.kb, result.inferer, result.llm, result.model)
    return (*setting, result.graph, result.seed, result.sample, _NAMES.index(result.metric), result.value)


def write_results(results: Iterable[Result], folder: Path, run: Mapping[str, object]) -> tuple[Path, Path]:
    """Write ``results.csv`` and ``results.json`` into ``folder``; the bytes do not depend on the order of the results.

    Parameters
    ----------
    results
        The records; floats are written so that they read back exactly.
    folder
        Output folder; created if it does not exist.
    run
        Plain JSON values that describe the run; stored under ``run`` in the JSON, with the metrics' fixed parameters.

    Returns
    -------
    The two paths, CSV first.
    """
    ordered = sorted(results, key=_order)
    records = [asdict(result) for result in ordered]
    document = {"run": {**run, "metrics": metric_parameters()}, "results": records}
    folder = Path(folder)
    return (
        _write(folder / "results.csv", to_csv(ordered)),
        _write(folder / "results.json", json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"),
    )


def to_csv(results: Iterable[Result]) -> str:
    """Return the results as CSV text: a header, then one line per result in the given order."""
    text = StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(result) for result in results)
    return text.getvalue()


def _write(path: Path, text: str) -> Path:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


def read_results(path: Path) -> list[Result]:
    """Read ``results.csv``, ``results.json`` or a folder that holds one of them.

    Raises
    ------
    UserError
        If the file does not exist or is not a results file, a column is missing, or a value is not a number. The
        message names the file and the record.
    """
    path = _results_file(Path(path))
    if path.suffix == ".json":
        rows = _read_document(path)["results"]
    else:
        rows = list(csv.DictReader(StringIO(_read_text(path), newline="")))
    if not rows:
        raise UserError(f"{path}: holds no results; expected a results file with columns {', '.join(COLUMNS)}")
    return [_parse(row, path, number) for number, row in enumerate(rows, start=1)]


def read_run(path: Path) -> RunRecord:
    """Return the ``run`` entry of a ``results.json``: the mapping given to :func:`write_results`, and ``metrics``."""
    return _read_document(_results_file(Path(path), "results.json"))["run"]


def _results_file(path: Path, *names: str) -> Path:
    if path.is_dir():
        candidates = [path / name for name in names or ("results.csv", "results.json")]
        path = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    if not path.is_file():
        raise UserError(f"{path}: no such results file; give a finished run's folder or its results.csv")
    return path


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file; give a results.csv or results.json written by train.py") from error


def _read_document(path: Path) -> dict:
    try:
        document = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: not a JSON file ({error}); delete it and run the same command again to write it"
        ) from error
    if not (isinstance(document, dict) and isinstance(document.get("results"), list) and "run" in document):
        raise UserError(f"{path}: no 'run' or 'results' in it; give the results.json of a finished run")
    return document


def _parse(row: object, path: Path, number: int) -> Result:
    if not isinstance(row, dict) or (missing := [name for name in COLUMNS if row.get(name) is None]):
        gaps = ", ".join(missing) if isinstance(row, dict) else "all columns"
        raise UserError(f"{path}: record {number} lacks {gaps}; a results file has {', '.join(COLUMNS)}")
    try:
        labels = {name: str(row[name]) for name in _LABELS}
        return Result(**labels, seed=int(row["seed"]), sample=int(row["sample"]), value=float(row["value"]))
    except UserError as error:
        raise UserError(f"{path}: record {number}: {error}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: record {number}: seed, sample and value must be numbers ({error})") from error


def of_cells(results: Iterable[Result]) -> list[Result]:
    """Return the scores of cells, without those of networks."""
    return [result for result in results if result.metric in METRICS]


def to_dataframe(results: Iterable[Result]) -> pd.DataFrame:
    """Return the records as a data frame with the columns of the CSV."""
    import pandas as pd

    return pd.DataFrame([asdict(result) for result in results], columns=list(COLUMNS))


def drawn_by(inferer: str, llm: str) -> str:
    """Return who draws a network: the label of its inferer, in which the language model's name replaces ``llm``.

    Examples
    --------
    >>> drawn_by("llm", "gpt4"), drawn_by("shuffled llm", "gpt4"), drawn_by("consensus", "gpt4")
    ('gpt4', 'shuffled gpt4', 'consensus')
    """
    *words, last = inferer.split(" ")
    return " ".join([*words, llm]) if last == "llm" and llm else inferer
