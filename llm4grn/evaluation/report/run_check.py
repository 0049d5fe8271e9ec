"""Check, before any work, that the folders of finished runs are complete and that their scores are comparable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.evaluation.cells.run_cells import RunCells
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.results import read_results

_FILES = ("config.yaml", "tfs.json", "grn.tsv", "graph.json", "test.h5ad")
_AGAIN = "delete its results.json and run the same command again, which writes the folder anew from the store"


def check_runs(folders: Sequence[Path]) -> None:
    """Raise UserError unless the runs can be compared.

    Runs of one data set and seed must have been scored against the same cells and genes; otherwise their controls
    differ, and so does the scale of every metric.

    Parameters
    ----------
    folders
        Folders of finished runs.

    Raises
    ------
    UserError
        If a file is missing or damaged, or two runs of one data set and seed have different cells or genes.
    """
    seen: dict[tuple[str, int], tuple[Path, list[str], list[str]]] = {}
    for folder in folders:
        results, run = read_results(folder / "results.json"), RunCells.open(folder)
        samples = {result.sample for result in results if result.source == "run"}
        synthetic = [f"synthetic_{sample}.h5ad" for sample in sorted(samples)]
        if missing := [name for name in (*_FILES, *synthetic) if not (folder / name).is_file()]:
            raise UserError(f"{folder}: no {missing[0]} in it; {_AGAIN}")
        (graph,) = read_graph_runs([folder])
        cells, genes = _names(folder / "test.h5ad")
        for name in synthetic:
            if _names(folder / name)[1] != genes:
                raise UserError(f"{folder / name}: its genes are not those of test.h5ad beside it; {_AGAIN}")
        if list(graph.causal_graph.genes) != genes:
            raise UserError(f"{folder / 'graph.json'}: its genes are not those of test.h5ad beside it; {_AGAIN}")
        first = seen.setdefault((str(run.setting["dataset"]), run.seed), (folder, cells, genes))
        if (cells, genes) != first[1:]:
            what = "genes" if genes != first[2] else "test cells"
            raise UserError(
                f"{first[0]} and {folder}: both are of {run.setting['dataset']}, seed {run.seed}, but have different "
                f"{what}, so that their scores do not compare; give runs=... those of one kind, or train one of them "
                "again with a dataset.name of its own"
            )


def _names(path: Path) -> tuple[list[str], list[str]]:
    """Read the names of cells and genes in an ``.h5ad``, without its counts."""
    import h5py

    try:
        with h5py.File(path) as file:
            cells, genes = (file[axis][file[axis].attrs["_index"]].asstr()[:].tolist() for axis in ("obs", "var"))
            _ = file["X"]
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read as .h5ad; {_AGAIN}") from error
    return cells, genes
