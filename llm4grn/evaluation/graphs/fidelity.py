"""Do imposed edges show in the cells? A table over finished runs.

For one set of cells: :mod:`llm4grn.evaluation.graphs.dependence`; as a torchmetrics class:
:mod:`llm4grn.evaluation.graphs.fidelity_metrics`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.causal_graph import CausalGraph
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.dependence import EXPRESSED_STATES, MEASURES, tf_target_dependence
from llm4grn.evaluation.report.blocks import Cell, Table
from llm4grn.evaluation.scores.results import read_run

if TYPE_CHECKING:
    import anndata

_DIGITS = {"correlation": 3, "mutual_information": 4}


def fidelity_table(folders: Iterable[Path], measure: str = "correlation") -> Table:
    """Per finished run, how much imposed pairs depend on each other, against pairs without an edge.

    Parameters
    ----------
    folders
        Of finished runs, with ``graph.json``, ``test.h5ad`` and ``synthetic_*.h5ad``.
    measure
        As in :func:`~llm4grn.evaluation.graphs.dependence.tf_target_dependence`.

    Raises
    ------
    UserError
        A file is missing or holds other genes than the graph.
    """
    sign = MEASURES.get(measure, measure)
    labels = ["Data set", "KB", "Inferer", "Model", "Graph", "Seed"]
    parts = [f"imposed {sign}", f"other {sign}", "AUROC"]
    header = [*labels, *parts, *(f"{part}, real cells" for part in parts)]
    notes = [
        "Dependence of a target on a TF, mean over the pairs with an imposed edge and over all other pairs of a TF and "
        "a target; AUROC = chance that an imposed pair depends more than another one, 0.5 = the edges do not show. A "
        "gene that no cell of a set expresses depends on nothing: 0.",
        "Mean ± standard deviation over the run's generated sets; beside it the same pairs in the real test cells, "
        "without any generator. An AUROC above that of the real cells is the work of the generator.",
        "|r|: absolute Pearson correlation of log1p counts."
        if measure == "correlation"
        else f"MI: mutual information in nats, genes in {EXPRESSED_STATES + 1} states; it is above 0 by chance alone.",
    ]
    rows = [_row(Path(folder), measure) for folder in folders]
    return Table("tf_target_dependence", "Do the imposed edges show?", header, rows, len(labels), notes)


def _row(folder: Path, measure: str) -> list[Cell | str]:
    graph = CausalGraph.from_json(folder / "graph.json")
    sets = sorted(folder.glob("synthetic_*.h5ad"))
    if not sets:
        raise UserError(f"{folder}: no synthetic_*.h5ad in it; give the folder of a finished run of train.py")
    generated = [tf_target_dependence(_read(path, graph).X, graph, measure) for path in sets]
    real = tf_target_dependence(_read(folder / "test.h5ad", graph).X, graph, measure)
    setting = read_run(folder)["setting"]
    names = [str(setting[name]) for name in ("dataset", "kb", "inferer", "model", "graph", "seed")]
    means = [
        _cell([getattr(found, part) for found in of], _DIGITS[measure])
        for of in (generated, [real])
        for part in ("imposed", "other")
    ]
    aurocs = [_cell([found.auroc for found in of], 3) for of in (generated, [real])]
    return [*names, *means[:2], aurocs[0], *means[2:], aurocs[1]]


def _cell(values: Sequence[float], digits: int) -> Cell:
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return Cell(f"{mean:.{digits}f}{spread}", mean)


def _read(path: Path, graph: CausalGraph) -> anndata.AnnData:
    import anndata

    if not path.is_file():
        raise UserError(f"{path}: no such file; give the folder of a finished run")
    adata = anndata.read_h5ad(path)
    if list(adata.var_names) != list(graph.genes):
        raise UserError(f"{path}: its genes are not those of graph.json beside it")
    return adata
