"""Read CellTypist models, one linear classifier per cell type, from their pickles without executing code."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm4grn.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

LIBRARY_SIZE = 10_000
_CLIP = 10.0
_ARRAYS = re.compile(r"numpy (ndarray|dtype)|numpy\._?core\.(multiarray (_reconstruct|scalar)|numeric _frombuffer)")
_INERT = re.compile(r"sklearn\.[\w.]+ \w+|numpy\.random\.[\w.]+ \w+|(builtins|__builtin__) object")


@dataclass(frozen=True)
class CellTypistModel:
    """The parameters of a CellTypist model (Dominguez Conde et al., Science 376, 2022).

    Parameters
    ----------
    types
        Names of the T cell types.
    genes
        Names of the G genes.
    weights, intercepts
        Coefficients (T, G) and intercepts (T,) for scaled expression; a model of two types has one row of each.
    mean, scale
        Mean and standard deviation (G,) of log1p of counts normalised to 10,000 per cell.
    """

    types: np.ndarray
    genes: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def read(cls, path: Path) -> CellTypistModel:
        """Read a ``.pkl`` that CellTypist wrote or offers for download.

        Only numbers and text are restored: numpy's arrays are the only classes of the file that are imported.

        Raises
        ------
        UserError
            If the file does not exist or is not a CellTypist model.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"{path}: no such CellTypist model; give a .pkl downloaded from https://www.celltypist.org/models"
            )
        try:
            with path.open("rb") as file:
                parts = _Unpickler(file).load()
            model, scaler = parts["Model"].content, parts["Scaler_"].content
            mean = scaler["mean_"] if scaler.get("with_mean", True) else 0 * scaler["scale_"]
            names = [np.asarray(model[name]).astype(str) for name in ("classes_", "features")]
            numbers = [model["coef_"], model["intercept_"], mean, scaler["scale_"]]
            return cls(*names, *(np.asarray(values, dtype=np.float64) for values in numbers))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except Exception as error:  # a broken or malicious pickle can raise any exception
            message = f"{path}: not a CellTypist model ({type(error).__name__}: {error}); give a .pkl of CellTypist"
            raise UserError(message) from error

    def classify(self, cells: AnnData) -> np.ndarray:
        """Return the type with the highest score for each cell (n_cells,), from the genes that model and cells share.

        Parameters
        ----------
        cells
            Cells of shape (n_cells, n_genes), with counts of any library size in ``X``.

        Raises
        ------
        UserError
            If model and cells share no gene.
        """
        _, own, theirs = np.intersect1d(self.genes, cells.var_names.to_numpy().astype(str), return_indices=True)
        if not len(own):
            raise UserError("the CellTypist model shares no gene with the cells: give one of the same organism")
        counts = cells.X.toarray() if hasattr(cells.X, "toarray") else np.asarray(cells.X)
        size = counts.sum(axis=1, keepdims=True)
        expression = np.log1p(counts[:, theirs] * (LIBRARY_SIZE / np.where(size > 0, size, 1)))
        scaled = np.minimum((expression - self.mean[own]) / self.scale[own], _CLIP)
        scores = scaled @ self.weights[:, own].T + self.intercepts
        best = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)
        return self.types[best]


class _Inert:
    """A placeholder for an object in the pickle: it keeps the attributes without importing the class."""

    def __init__(self, *args: Any) -> None:
        self.content: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.content = state if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module} {name}"
        if full == "_codecs encode":
            return lambda text, encoding: text.encode("latin-1")
        if full in ("copyreg _reconstructor", "copy_reg _reconstructor"):
            return lambda *args: _Inert()
        if _ARRAYS.fullmatch(full):
            return super().find_class(module, name)
        if _INERT.fullmatch(full):
            return _Inert
        raise UserError(f"asks for {module}.{name}, which is not opened; give a .pkl of CellTypist")
