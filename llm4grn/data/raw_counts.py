"""Validation of raw counts; every error names the problem, its location and a remedy in one line."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from scipy.sparse import csr_matrix

_ENOUGH_CELLS = 20  # to say something about most of them
_EMPTY = 10  # counts of an empty droplet at most
_N_INSPECTED_CELLS = 200  # enough to determine whether all cells have the same library size
_PARTIAL = {"ambiguous", "unspliced", "spanning"}
_LARGEST_COUNT = 2**53  # beyond, not every integer is one in double precision
_LARGEST_LOG = 20.0  # exp(20) is half a billion, larger than any count, so log1p of a count is smaller


def check_counts(adata: AnnData, name: str) -> None:
    """Raise UserError unless the matrix holds raw counts of uniquely named genes and cells (protocol section 2).

    Parameters
    ----------
    adata
        Cells x genes; ``X`` is sparse or dense. Layers and ``raw`` are only inspected to suggest an alternative.
    name
        Name of the data for messages: a path, or the name of the data set.

    Raises
    ------
    UserError
        If the matrix is empty, a gene name or barcode is duplicated, or a value is not a number, NaN, infinite,
        negative or not an integer. The message names the first such value in cell order and a remedy.
    """
    import numpy as np

    remedy = f"raw counts are needed{_elsewhere(adata)}"
    counts = check_numbers(adata, name, f"repair the matrix: {remedy}")
    _check_unique(adata.obs_names, f"{name}: barcode", "make them unique (adata.obs_names_make_unique())")
    _refuse(adata, name, counts, counts.data > _LARGEST_COUNT, f"larger than any count; {remedy}")
    if np.issubdtype(counts.dtype, np.unsignedinteger):
        return
    _refuse(adata, name, counts, counts.data < 0, f"negative (scaled or centred values?); {remedy}")
    if not np.issubdtype(counts.dtype, np.integer):
        fractional = counts.data != np.rint(counts.data)
        if fractional.any():
            _refuse(adata, name, counts, fractional, f"not an integer: {_what_it_is(counts)}; {remedy}")


def check_numbers(adata: AnnData, name: str, remedy: str) -> csr_matrix:
    """Return the matrix as CSR; raise UserError unless it holds finite numbers of uniquely named genes.

    Parameters
    ----------
    adata, name
        As for :func:`check_counts`.
    remedy
        What to do about a value that is no finite number.

    Raises
    ------
    UserError
        If the matrix is empty, a gene name is duplicated, or a value is not a number, NaN or infinite.
    """
    import numpy as np

    if adata.X is None:
        raise UserError(f"{name}: the file has no matrix X{_elsewhere(adata)}")
    matrix = as_csr(adata.X, name)
    if min(matrix.shape) == 0 or not matrix.data.any():
        raise UserError(
            f"{name}: the matrix is empty ({matrix.shape[0]} cells x {matrix.shape[1]} genes, "
            f"{np.count_nonzero(matrix.data)} values above zero); give raw counts{_elsewhere(adata)}"
        )
    _check_unique(adata.var_names, f"{name}: gene name", "merge or rename them (adata.var_names_make_unique())")
    if matrix.dtype.kind == "f" and not np.isfinite(matrix.data).all():
        _refuse(adata, name, matrix, np.isnan(matrix.data), f"not a number (NaN); {remedy}")
        _refuse(adata, name, matrix, np.isinf(matrix.data), f"infinite; {remedy}")
    return matrix


def _refuse(adata: AnnData, name: str, matrix: csr_matrix, bad: np.ndarray, what: str) -> None:
    """Raise UserError for the first bad entry, if any."""
    import numpy as np

    if bad.any():
        entry = int(bad.argmax())
        cell = adata.obs_names[int(np.searchsorted(matrix.indptr, entry, side="right")) - 1]
        gene = adata.var_names[int(matrix.indices[entry])]
        raise UserError(f"{name}: value {matrix.data[entry]:.6g} of gene {gene} in cell {cell} is {what}")


def as_csr(matrix: Any, name: str) -> csr_matrix:
    """Convert a dense or sparse matrix of numbers to CSR; a CSR matrix is returned as is.

    Raises
    ------
    UserError
        If there is no matrix, or its values are not numbers.
    """
    from scipy.sparse import csr_matrix, issparse

    if matrix is None:
        raise UserError(f"{name}: the file has no matrix X; set dataset.layer to a layer that holds raw counts")
    dtype = getattr(matrix, "dtype", None)
    if dtype is None or dtype.kind not in "buif":
        raise UserError(f"{name}: the matrix holds {dtype} values and not numbers; give raw counts")
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):  # scipy has no sparse matrices of half precision
        matrix = matrix.astype("float32" if dtype.itemsize < 4 else "float64")
    return matrix if issparse(matrix) and matrix.format == "csr" else csr_matrix(matrix)


def _check_unique(names: Any, what: str, remedy: str) -> None:
    duplicated = names.duplicated()
    if duplicated.any():
        first = names[int(duplicated.argmax())]
        times = int((names == first).sum())
        others = f", and {names[duplicated].nunique() - 1} more such names" if names[duplicated].nunique() > 1 else ""
        raise UserError(f"{what} {first} occurs {times} times{others}; {remedy} and save the file again")


def _elsewhere(adata: AnnData) -> str:
    """Suggest where else the counts may be: the layer that holds counts, of several the one with most of them."""
    layers = {name: adata.layers[name] for name in adata.layers}
    if adata.raw is not None and "raw" not in layers:
        layers["raw"] = adata.raw.X
    if not layers:
        return ": this file has no other layer, so give the file from before normalisation"
    # velocyto's layers of intron and unclear reads hold counts too, but are not the expression.
    sums = {name: float(matrix.sum()) for name, matrix in layers.items() if _are_counts(matrix)}
    ordered = sorted(sums, key=lambda name: (name in _PARTIAL, -sums[name], name))
    rest = sorted(set(layers) - set(ordered))
    have = f"layers here: {', '.join([*ordered, *rest])}"
    if not ordered or ordered[0] in _PARTIAL:
        return f": no layer holds the counts ({have}), so give the unnormalised file"
    return f": set dataset.layer={ordered[0]} ({have}), or give the unnormalised file"


def _are_counts(matrix: Any) -> bool:
    import numpy as np

    # a dense layer is an array, whose .data is a memory buffer
    values = matrix.data if hasattr(matrix, "indptr") else np.asarray(matrix)
    if values.dtype.kind not in "iuf":
        return False
    return bool(np.any(values)) and bool(np.all((values >= 0) & (values == np.rint(values))))


def _what_it_is(counts: csr_matrix) -> str:
    """Guess how the counts were transformed, from the sums of some cells."""
    import numpy as np

    some = counts[:_N_INSPECTED_CELLS].astype(np.float64)
    if total := _common_sum(some):
        return f"it looks normalised to {total:.6g} per cell"
    corrected = (
        "it looks normalised or corrected; if these are decontaminated or estimated counts (SoupX, CellBender, "
        "salmon), set dataset.round=true"
    )
    if counts.data.max() >= _LARGEST_LOG:
        return corrected
    if total := _common_sum(some.expm1()):
        return f"it looks like log1p of counts normalised to {total:.6g} per cell"
    return "it looks log-transformed" if _is_log(some) else corrected


def kind_of_values(matrix: csr_matrix) -> str:
    """Return what a matrix holds, as in "the values look like raw counts", judged by some of its cells.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> counts = csr_matrix([[3.0, 1, 0], [5, 0, 2], [0, 1, 1]])
    >>> kind_of_values(counts), kind_of_values(-counts)
    ('like raw counts', 'scaled or centred: some are negative')
    """
    import numpy as np

    if (matrix.data < 0).any():
        return "scaled or centred: some are negative"
    if matrix.dtype.kind != "f" or bool((matrix.data == np.rint(matrix.data)).all()):
        return "like raw counts"
    return _what_it_is(matrix).removeprefix("it looks ").partition(";")[0]


def is_corrected(counts: csr_matrix) -> bool:
    """Return True if fractional values are neither logarithms nor normalised to one sum: they can be rounded."""
    return "dataset.round" in _what_it_is(counts)


def _is_log(some: csr_matrix) -> bool:
    """Return True if exp(x) - 1 is a multiple of the smallest such value of the cell, as it is for log1p of counts.

    Small corrected counts are as small as logarithms, but no multiples of each other on that scale.
    """
    import numpy as np

    fits = []
    for start, stop in pairwise(some.indptr):
        values = some.data[start:stop]
        values = values[values > 0]
        if len(values) > 1:
            fits.append(max(_share_of_multiples(scale(values)) for scale in (np.expm1, lambda x: np.exp2(x) - 1)))
    return bool(fits) and float(np.median(fits)) > 0.9


def _share_of_multiples(values: np.ndarray) -> float:
    import numpy as np

    ratios = values / values.min()
    return float(np.mean(np.abs(ratios - np.rint(ratios)) < 0.01 * ratios))


def _common_sum(some: csr_matrix) -> float | None:
    """Return the library size that all non-empty cells share within 0.5 %; else None."""
    import numpy as np

    sums = np.asarray(some.sum(axis=1)).ravel()
    sums = sums[sums > 0]
    return float(sums.mean()) if sums.size > 1 and np.ptp(sums) < 5e-3 * sums.mean() else None


def warnings_about_counts(counts: csr_matrix) -> list[str]:
    """Return what is odd about a matrix of integers that passes for counts, in plain words with the remedy.

    Parameters
    ----------
    counts
        Counts, shape (n_cells, n_genes).
    """
    import numpy as np

    lines = []
    if counts.data.max(initial=0) == 1:
        lines.append("all values are 0 or 1: this looks like a binary matrix; give the counts if there are any")
    total = _common_sum(counts[:_N_INSPECTED_CELLS].astype(np.float64))
    if total and counts.shape[0] >= _ENOUGH_CELLS:
        lines.append(
            f"every cell sums to about {total:.6g}: these look like rounded TPM or normalised values; give the counts, "
            "unless they were drawn to one depth"
        )
    sums = np.asarray(counts.sum(axis=1)).ravel()
    empty = int((sums < _EMPTY).sum())
    if counts.shape[0] >= _ENOUGH_CELLS and empty > counts.shape[0] / 2:
        lines.append(
            f"{empty} of {counts.shape[0]} barcodes have fewer than {_EMPTY} counts: this looks like the unfiltered "
            "matrix, of which most barcodes are empty droplets; give the filtered one, or raise "
            "dataset.preprocessing.min_genes"
        )
    if counts.data.max(initial=0) >= 2**24:
        lines.append(
            f"the largest value is {counts.data.max()}: values beyond 16777216 (2^24) lose digits in single precision, "
            "and hardly are counts of molecules"
        )
    return lines


def n_copies(matrix: csr_matrix) -> int:
    """Return how many cells have exactly the values of an earlier one.

    Nearly empty cells, which are alike by chance, do not count.

    Parameters
    ----------
    matrix
        Expression, raw or normalised, shape (n_cells, n_genes), with the entries of each row in the same order.
    """
    import numpy as np

    # Two random sums tell cells apart that are not copies of each other, in one pass over the entries.
    sums = matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], 2))
    full = sums[np.diff(matrix.indptr) >= _EMPTY]
    return len(full) - len(np.unique(full, axis=0))
