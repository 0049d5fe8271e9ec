"""Effect of knock-outs of regulators on their targets, in the trained generator of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

N_CELLS = 500
SEED = 1000


def knock_outs(run: Path, edges: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Return the log2 fold change of each edge's target in generated cells under do(TF = 0).

    Every TF is knocked out once, in the same cells as every other.

    Parameters
    ----------
    run
        Folder of a finished run of ``train.py``.
    edges
        TF and target of each edge, all of them genes of the run.

    Raises
    ------
    UserError
        If the folder is not that of a finished run, or a TF is not among its genes.
    """
    from llm4grn.evaluation.cells.perturbation import fold_changes
    from llm4grn.gan.api import load_trained
    from llm4grn.gan.interventions import parse_interventions

    model, graph = load_trained(Path(run))
    changes: dict[tuple[str, str], float] = {}
    for tf in dict.fromkeys(tf for tf, _ in edges):
        before, after = (cells.numpy() for cells in model.do(parse_interventions({tf: 0}, graph.genes), N_CELLS, SEED))
        table = fold_changes(before, after, graph, [tf]).set_index("gene")["log2_fold_change"]
        changes |= {edge: float(table[edge[1]]) for edge in edges if edge[0] == tf}
    return changes
