"""Effect of the perturbation of each transcription factor on the expression of each gene, in a perturbation screen.

A screen is an AnnData of raw counts in which a column of ``obs`` names the gene that is perturbed in each cell (knocked
out, or repressed by CRISPRi), or says that none is. Expression is log1p of counts normalised to 10,000 per cell over
all genes of the screen. The effect of a TF on a gene is the Wasserstein distance between the gene's expression in the
cells in which the TF is perturbed and in control cells, with the p-value of the Mann-Whitney test, as in CausalBench
(Chevalley et al., Communications Biology 8, 2025).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm4grn.data import readers
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.two_samples import Sample, mann_whitney, wasserstein
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import FilePath, Text, check_fields

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

LIBRARY_SIZE = 10_000
#: Cells of one condition beyond this number are left out, drawn at random: they would add time, and little precision.
MAX_CELLS = 2000


@dataclass(frozen=True)
class Screen:
    """The file of a perturbation screen.

    Parameters
    ----------
    path
        An ``.h5ad`` file with raw counts in ``X``.
    column
        Column of ``obs`` with the symbol of the gene that is perturbed in each cell.
    control
        Entry of that column for cells in which no gene is perturbed.
    min_cells
        Least number of cells of a perturbation, and of control cells; perturbations with fewer are skipped.
    """

    path: FilePath
    column: Text = "perturbation"
    control: Text = "control"
    min_cells: Annotated[int, Field(ge=2)] = 20

    def __post_init__(self) -> None:
        check_fields(self, "perturbation")

    def check(self) -> None:
        """Raise UserError unless the file has the column and enough control cells; the counts are not read."""
        import h5py
        from anndata.io import read_elem

        readers.check_is_h5ad(Path(self.path).expanduser(), "perturbation.path")
        try:
            with h5py.File(Path(self.path).expanduser(), "r") as file:
                obs = read_elem(file["obs"])
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"perturbation.path: {self.path} cannot be read as .h5ad ({reason})") from error
        _labels(obs, self.column, self.control, self.min_cells, str(self.path))

    def load(self) -> AnnData:
        """Read the cells."""
        return readers.read_h5ad(Path(self.path).expanduser(), "perturbation.path")


@dataclass(frozen=True)
class Effects:
    """Effects of perturbed TFs on genes.

    Parameters
    ----------
    tfs, genes
        The TFs that are perturbed in enough cells, and the genes that are measured.
    wasserstein, p_value, change
        Shape (n_tfs, n_genes): Wasserstein distance between perturbed and control cells; p-value of the two-sided
        Mann-Whitney test; difference of the means, positive if the perturbation raises the expression.
    n_cells
        Number of cells of each perturbation that were compared.
    n_control
        Number of control cells that they were compared with.
    skipped
        What was left out and why, one sentence each.
    """

    tfs: tuple[str, ...]
    genes: tuple[str, ...]
    wasserstein: np.ndarray
    p_value: np.ndarray
    change: np.ndarray
    n_cells: tuple[int, ...]
    n_control: int
    skipped: tuple[str, ...]


def perturbation_effects(
    screen: AnnData,
    tfs: Iterable[str],
    genes: Iterable[str],
    *,
    column: str = "perturbation",
    control: str = "control",
    min_cells: int = 20,
    seed: int = 0,
    name: str = "screen",
) -> Effects:
    """Measure the effect of each perturbed TF on each gene.

    Parameters
    ----------
    screen
        Raw counts, (n_cells, n_genes), with the perturbed gene of each cell in ``obs[column]``.
    tfs, genes
        The TFs and the genes that are of interest; those that are not perturbed or not measured are skipped.
    column, control, min_cells
        See :class:`Screen`.
    seed
        Seed for the choice of cells where a condition has more than 2,000.
    name
        What messages call the screen, for instance its path.

    Raises
    ------
    UserError
        If the column or the control cells are missing, no TF is perturbed in enough cells, no gene is measured, or the
        matrix does not hold raw counts.
    """
    import numpy as np

    labels = _labels(screen.obs, column, control, min_cells, name)
    wanted_tfs, wanted_genes = sorted(set(tfs)), sorted(set(genes))
    sizes = labels.value_counts()
    kept = [tf for tf in wanted_tfs if sizes.get(tf, 0) >= min_cells]
    measured = [gene for gene in wanted_genes if gene in screen.var_names]
    skipped = _skipped(wanted_tfs, wanted_genes, measured, sizes.drop(control), min_cells)
    if not kept:
        raise UserError(
            f"perturbation.column={column}: none of the {len(wanted_tfs)} TFs is perturbed in {min_cells} cells of "
            f"{name} or more (perturbed there: {_some(sizes.drop(control).index)}); the column must hold gene symbols, "
            "and perturbation.min_cells may be lower"
        )
    if not measured:
        raise UserError(
            f"perturbation.path: {name} measures none of the {len(wanted_genes)} genes of the graphs (genes there: "
            f"{_some(screen.var_names)}); give a screen of the same organism, with gene symbols as names"
        )
    cells = _Cells(screen, labels, measured, seed, name)
    baseline = cells.of(control)
    samples = [Sample.of(gene) for gene in baseline.T]
    results: list[list[tuple[float, float]]] = []
    changes: list[np.ndarray] = []
    n_cells: list[int] = []
    for tf in kept:
        perturbed = cells.of(tf)
        results.append(_compare(perturbed, samples))
        changes.append(perturbed.mean(axis=0) - baseline.mean(axis=0))
        n_cells.append(len(perturbed))
    both = np.array(results)
    return Effects(
        tfs=tuple(kept),
        genes=tuple(measured),
        wasserstein=both[:, :, 0],
        p_value=both[:, :, 1],
        change=np.array(changes),
        n_cells=tuple(n_cells),
        n_control=len(baseline),
        skipped=tuple(skipped),
    )


class _Cells:
    """Expression of the cells of each condition, log1p of normalised counts."""

    def __init__(self, screen: AnnData, labels: pd.Series, genes: Sequence[str], seed: int, name: str) -> None:
        import numpy as np

        try:
            counts = readers.as_counts(screen, name, None).X
        except UserError as error:  # the reader's advice is about the data set of a run
            raise UserError(f"perturbation.path: {str(error).partition('; ')[0]}; give raw counts in X") from error
        self._totals = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1.0)
        self._counts = counts[:, screen.var_names.get_indexer(list(genes))]
        self._labels, self._seed = labels.to_numpy(), seed

    def of(self, label: str) -> np.ndarray:
        """Return the expression in the cells of one condition, (n_cells, n_genes)."""
        import numpy as np

        rows = np.flatnonzero(self._labels == label)
        if len(rows) > MAX_CELLS:
            rng = np.random.default_rng(derive_seed(self._seed, "screen", label))
            rows = np.sort(rng.choice(rows, MAX_CELLS, replace=False))
        counts = self._counts[rows].toarray().astype(np.float64)
        return np.log1p(counts * (LIBRARY_SIZE / self._totals[rows])[:, None])


def _compare(perturbed: np.ndarray, control: Sequence[Sample]) -> list[tuple[float, float]]:
    """Return distance and p-value of each gene, of perturbed cells (n_cells, n_genes) and a control sample per gene."""
    samples = zip(map(Sample.of, perturbed.T), control, strict=True)
    return [(wasserstein(own, other), mann_whitney(own, other)) for own, other in samples]


def _labels(obs: pd.DataFrame, column: str, control: str, min_cells: int, name: str) -> pd.Series:
    """Return the perturbation of each cell as text; cells without an entry get an empty one."""
    if column not in obs:
        raise UserError(
            f"perturbation.column={column}: {name} has no such obs column (columns: {_some(obs.columns)}); name the "
            "one with the perturbed genes"
        )
    labels = obs[column].astype(object).where(obs[column].notna(), "").astype(str)
    n_control = int((labels == control).sum())
    if n_control < min_cells:
        found = _some(label for label in labels.value_counts().index if label != control)
        raise UserError(
            f"perturbation.control={control}: {n_control} cells of {name} have this entry in {column}, and at least "
            f"{min_cells} are needed (other entries: {found}); name the entry of control cells"
        )
    return labels


def _skipped(
    tfs: Sequence[str], genes: Sequence[str], measured: Sequence[str], sizes: pd.Series, min_cells: int
) -> list[str]:
    """Say which TFs, genes and perturbations are left out."""
    absent = [tf for tf in tfs if tf not in sizes.index]
    small = [f"{tf} ({sizes[tf]})" for tf in tfs if 0 < sizes.get(tf, 0) < min_cells]
    unmeasured = sorted(set(genes) - set(measured))
    others = [label for label in sizes.index if label and label not in set(tfs)]
    unlabelled = int(sizes.get("", 0))
    parts = {
        f"TFs that are not perturbed, of {len(tfs)}": absent,
        f"TFs that are perturbed in fewer than {min_cells} cells": small,
        f"Genes that are not measured, of {len(genes)}": unmeasured,
        "Perturbations of no TF of the graphs": others,
        "Cells without a named perturbation": [""] * unlabelled,
    }
    shown = {what: f" ({_some(names)})" if names[:1] != [""] else "" for what, names in parts.items()}
    return [f"{what}: {len(names)}{shown[what]}." for what, names in parts.items() if names]


def _some(names: Iterable[object], limit: int = 5) -> str:
    """Return the first few names."""
    listed = list(map(str, names))
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "") or "none"
