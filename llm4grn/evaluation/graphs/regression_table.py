"""The table of geneRNIB's regression score of all ranked networks, on the test cells of their runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.regression_score import QUANTILES, regression_score
from llm4grn.evaluation.graphs.runs import GraphRun, over_seeds
from llm4grn.report.blocks import Cell, Table


def regression_table(runs: Sequence[GraphRun], seed: int = 0) -> Table | None:
    """Tabulate means over seeds, one row per data set, KB and inferer; None if no folder has test cells.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`; networks that differ only in the edges
        imposed count once.
    seed
        Seed for the groups of cells.
    """
    import anndata

    networks: dict[tuple[str, int], dict[tuple[str, str, str, int], GraphRun]] = defaultdict(dict)
    for run in runs:
        if (run.folder / "test.h5ad").is_file():
            networks[run.dataset, run.seed].setdefault((run.dataset, run.kb, run.inferer, run.inference_seed), run)
    scores: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    refused = {}
    for (dataset, run_seed), named in networks.items():
        cells = anndata.read_h5ad(next(iter(named.values())).folder / "test.h5ad")
        keys = {str(i): key for i, key in enumerate(named)}
        try:
            table = regression_score({name: named[key].grn for name, key in keys.items()}, cells, seed=seed)
        except UserError as error:  # a few cells are enough for other parts of the page
            refused[f"{dataset}, seed {run_seed}"] = error
            continue
        for name, label, score in table[["network", "quantile", "score"]].itertuples(index=False):
            scores[keys[name][:3]][label].append(score)
    if not scores:
        return None
    rows: list[list[Cell | str]] = [
        [*setting, *(over_seeds(of[label], 4) for label in QUANTILES)] for setting, of in scores.items()
    ]
    quantiles = ", ".join(f"{theta} ({label})" for label, theta in QUANTILES.items())
    notes = [
        "As in geneRNIB, on the test cells: R² of ridge regressions on the best n regulators of each target, clipped "
        "to [0, 1], averaged over targets; n is a quantile of the numbers of regulators in the networks shown: "
        f"{quantiles}.",
        "Comparable within a data set only. It does not tell regulation from cell type. For the benchmark's own "
        "numbers, score its evaluation data with lg.regression_score.",
        *(f"Not scored: {which}: {error}" for which, error in refused.items()),
    ]
    header = ("Data set", "KB", "Inferer", *(label.capitalize() for label in QUANTILES))
    return Table("graph_regression", "geneRNIB's regression score of the ranked edges", header, rows, 3, notes)
