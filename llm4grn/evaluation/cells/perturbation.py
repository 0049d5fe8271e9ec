"""Effect of an intervention on generated cells: fold changes per gene, a picture, the cells themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.report.figures import COLOURS, INK, panels, save
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import anndata
    import pandas as pd

#: Added to both means of a fold change, in counts per cell: genes that hardly any cell expresses stay near 0.
PSEUDOCOUNT = 0.1

_SHOWN = 20


def fold_changes(before: np.ndarray, after: np.ndarray, graph: CausalGraph, changed: Sequence[str]) -> pd.DataFrame:
    """Compute the change of every gene, one row per gene, the largest change first.

    Parameters
    ----------
    before, after
        The same cells without and with the intervention, shape (n_cells, n_genes), genes ordered as ``graph.genes``.
    graph
        The imposed graph.
    changed
        Genes intervened on.

    Returns
    -------
    Columns ``gene``; ``role``: intervened, target (of an intervened gene), descendant (further downstream) or
    unreached; ``mean_before`` and ``mean_after`` in counts; ``log2_fold_change`` of the means, ``PSEUDOCOUNT`` added to
    both; ``effect``, the mean difference in standard deviations of the gene before the intervention;
    ``share_changed``, the share of cells in which the count differs.
    """
    import pandas as pd

    reached = graph.descendants(changed)

    def role(gene: str) -> str:
        if gene in changed:
            return "intervened"
        if gene not in reached:
            return "unreached"
        return "target" if set(graph.regulators[gene]) & set(changed) else "descendant"

    means = before.mean(axis=0, dtype=np.float64), after.mean(axis=0, dtype=np.float64)
    spread = before.std(axis=0, dtype=np.float64)
    difference = means[1] - means[0]
    table = pd.DataFrame(
        {
            "gene": list(graph.genes),
            "role": [role(gene) for gene in graph.genes],
            "mean_before": means[0],
            "mean_after": means[1],
            "log2_fold_change": np.log2((means[1] + PSEUDOCOUNT) / (means[0] + PSEUDOCOUNT)),
            "effect": np.divide(difference, spread, out=np.zeros_like(spread), where=spread > 0),
            "share_changed": (before != after).mean(axis=0),
        }
    )
    order = table["log2_fold_change"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def paired_cells(before: np.ndarray, after: np.ndarray, genes: Sequence[str], do: str) -> anndata.AnnData:
    """Return all cells in one AnnData.

    ``obs["condition"]`` is before or after; ``obs["pair"]`` numbers the cells that belong together.
    """
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

    pair = np.tile(np.arange(len(before)), 2)
    condition = np.repeat(["before", "after"], len(before))
    names = [f"{which}-{i}" for which, i in zip(condition, pair, strict=True)]
    obs = pd.DataFrame({"condition": condition, "pair": pair}, index=names)
    cells = csr_matrix(np.vstack([before, after]))
    return anndata.AnnData(cells, obs=obs, var=pd.DataFrame(index=list(genes)), uns={"do": do})


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Write the table tab-separated, at full precision."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    return path


def plot_fold_changes(table: pd.DataFrame, path: Path, title: str) -> Path:
    """Draw the genes that changed most, except those intervened on, coloured by their role."""
    others = table[(table["role"] != "intervened") & (table["share_changed"] > 0)].head(_SHOWN)[::-1]
    figure, axes = panels(1, 1, width=5.0, height=max(1.8, 0.22 * len(others) + 1.0))
    axis = axes[0, 0]
    colours = {"target": COLOURS[1], "descendant": COLOURS[2]}
    for role, colour in colours.items():
        places = np.flatnonzero(others["role"] == role)
        if len(places):
            axis.barh(
                places, others["log2_fold_change"].iloc[places], color=colour, label=f"{role} of what was changed"
            )
    axis.set_yticks(range(len(others)), others["gene"], fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.set_xlabel("log2 fold change of the mean", fontsize=8, color=INK)
    axis.set_title(title if len(others) else f"{title}: no other gene changed", fontsize=9, color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    if len(others):
        axis.legend(fontsize=7, frameon=False)
    return save(figure, path)


def summary(table: pd.DataFrame, n_shown: int = 10) -> str:
    """Return the terminal summary: how many genes of each role changed, and the largest changes."""
    roles = table.assign(changed=table["share_changed"] > 0).groupby("role")["changed"].agg(["sum", "size"])
    counts = ", ".join(f"{row['sum']} of {row['size']} {role}" for role, row in roles.iterrows())
    largest = table.head(n_shown).to_string(index=False, float_format=lambda value: f"{value:.3f}")
    return f"changed: {counts}\n\n{largest}"
