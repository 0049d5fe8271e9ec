"""The metrics as pure functions of two sets of cells (protocol section 6).

Every function takes arrays or tensors of shape (n_cells, n_genes) in counts normalised to a library size of 20,000 per
cell, computes in float64 and returns a plain ``float``. Computation stays on a tensor's own device, except for
:func:`rf_auroc` and :func:`milisi`, whose libraries run on the CPU only. Linear algebra whose rounding could depend on
the number of threads runs on one thread, so that a score is identical to the last bit on every run.

Every function raises :class:`~llm4grn.errors.UserError` if a set is empty, not a matrix, or holds NaN or infinite
values, or if the two sets differ in their number of genes (:func:`llm4grn.metrics.arrays.pair`).
"""

from llm4grn.metrics.arrays import N_REPEATS, equal_size
from llm4grn.metrics.embedding import PERPLEXITY, TSNE_COMPONENTS
from llm4grn.metrics.forest import N_TREES, PCA_COMPONENTS, TEST_FRACTION, rf_auroc
from llm4grn.metrics.mixing import lisi, milisi
from llm4grn.metrics.mmd import mmd, mmd_bandwidth
from llm4grn.metrics.summaries import (
    cosine_distance,
    euclidean_distance,
    gene_correlations,
    gene_means,
    gene_variances,
    zero_fractions,
)

__all__ = [
    "N_REPEATS",
    "N_TREES",
    "PCA_COMPONENTS",
    "PERPLEXITY",
    "TEST_FRACTION",
    "TSNE_COMPONENTS",
    "cosine_distance",
    "equal_size",
    "euclidean_distance",
    "gene_correlations",
    "gene_means",
    "gene_variances",
    "lisi",
    "milisi",
    "mmd",
    "mmd_bandwidth",
    "rf_auroc",
    "zero_fractions",
]
