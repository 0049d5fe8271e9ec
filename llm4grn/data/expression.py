"""Expression of a user's cells as it is, raw or normalised, for inference that takes either."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from llm4grn.data.names import warnings_about
from llm4grn.data.raw_counts import check_numbers, kind_of_values, n_copies, warnings_about_counts
from llm4grn.data.users_cells import CellChoice, chosen_genes

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


def chosen_expression(adata: AnnData, name: str, choice: CellChoice) -> AnnData:
    """Return the expression of a user's AnnData, sparse, with named genes; one line says what the values look like.

    Cells that are exact copies of others are warned of.

    Parameters
    ----------
    adata
        It is not changed.
    name
        What messages call it: its path, for instance.
    choice
        What to take of it; ``round``, ``batch`` and ``cell_type_column`` do not matter.

    Raises
    ------
    UserError
        If there is no such layer or column, no cell is left, a gene has no name or the name of another, genes are
        named as cells are, or a value is no finite number.
    """
    import anndata
    import pandas as pd

    adata, shown = chosen_genes(adata, name, choice), choice.shown(name)
    matrix = check_numbers(adata, shown, "repair the matrix, or leave that gene out")
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()  # n_copies compares cells entry by entry
    kind = kind_of_values(matrix)
    logger.info("%s: %d cells x %d genes; the values look %s, and are used as they are", shown, *matrix.shape, kind)
    lines = warnings_about(list(adata.var_names), choice.organism)
    if kind == "like raw counts":
        lines += warnings_about_counts(matrix)
    if copies := n_copies(matrix):
        lines.append(
            f"{copies} of {matrix.shape[0]} cells are exact copies of others, as in a sample that was merged twice: "
            "trees are stopped by the cells that they were not grown on, whose copies they know, so that boosting goes "
            "on for thousands of trees; drop the copies"
        )
    for line in lines:
        logger.warning("%s: %s", shown, line)
    obs, var = (pd.DataFrame(index=names.astype(str)) for names in (adata.obs_names, adata.var_names))
    return anndata.AnnData(matrix, obs=obs, var=var)
