"""Simulated counts with a known regulatory network: the common base class, and the linear simulation of the paper.

In addition to the methods of any source, a simulated source has ``true_graph``: the edges that generate its cells. They
have a separate random stream, so they are known without simulating cells. ``screen`` simulates a perturbation screen
of the same system: cells in which one gene is knocked out, and control cells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm4grn.data import readers
from llm4grn.data.networks import linear_graph
from llm4grn.errors import UserError
from llm4grn.runtime.h5ad import write_h5ad
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import atomic_write
from llm4grn.validation import Amount, NonNegative, Positive, PositiveFloat, check_fields

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

_VERSION = "1"  # raise it whenever the same arguments give different counts

#: Label of unperturbed cells in ``obs["perturbation"]`` of a screen.
CONTROL = "control"


class Constants(dict[str, "np.ndarray"]):
    """The constants of a simulated system, for instance the level at which a TF half saturates its target.

    They are drawn while the cells of a data set are simulated, between the draws of the cells. Other cells of the same
    system are simulated from the constants that the first simulation drew.
    """

    def of(self, name: str, draw: Callable[[], np.ndarray]) -> np.ndarray:
        """Return a constant; ``draw`` makes it if it is not known yet."""
        if name not in self:
            self[name] = draw()
        return self[name]


@dataclass(frozen=True, kw_only=True)
class SimulatedSource(ABC):
    """Base class of the simulations.

    Parameters
    ----------
    n_cells
        Number of cells.
    seed
        Seed of network and cells. It differs from the seed of a run, which only shuffles and splits the data set.
    """

    n_cells: Positive = 5000
    seed: NonNegative = 0

    @abstractmethod
    def true_graph(self) -> pd.DataFrame:
        """Return the edges that generate the cells: ``TF``, ``target``, and ``weight``, negative for a repressor."""

    @abstractmethod
    def _simulate(
        self, graph: pd.DataFrame, rng: np.random.Generator, constants: Constants, n_cells: int, do: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Simulate cells under an intervention.

        Parameters
        ----------
        graph
            True edges.
        rng
            Random numbers of the cells, and of the constants that are not known yet.
        constants
            Constants of the system; those that it lacks are drawn, and added.
        n_cells
            Number of cells.
        do
            Factor on the level of each gene intervened on; its targets are computed from the changed level.

        Returns
        -------
        Counts, shape (n_cells, n_genes) in the order of ``genes``, and the cells' types, if any.
        """

    @property
    @abstractmethod
    def genes(self) -> list[str]:
        """Gene names."""

    def prepare(self) -> None:
        """Do nothing, as there are no files."""
        return

    def fingerprint(self) -> dict[str, str]:
        """Return the version of the simulation, which determines every count together with the arguments."""
        return {"simulation": _VERSION}

    def load(self) -> AnnData:
        """Simulate integer counts, with the true edges in ``uns["true_graph"]`` and cell types, if any, in ``obs``."""
        return self._as_adata(*self._cells(Constants()))

    def screen(
        self, genes: Sequence[str] | None = None, n_cells: int = 100, n_control: int = 500, remaining: float = 0.0
    ) -> AnnData:
        """Simulate a perturbation screen of the system whose unperturbed cells :meth:`load` returns.

        No cell is one of :meth:`load`, so that a network inferred from those is scored on other cells.

        Parameters
        ----------
        genes
            Genes that are perturbed, each in cells of its own; None for all TFs of the true graph.
        n_cells
            Number of cells of each perturbation.
        n_control
            Number of unperturbed cells.
        remaining
            Share of its level that a perturbed gene keeps: 0 for a knockout, 0.2 for instance for CRISPRi.

        Returns
        -------
        AnnData
            As from :meth:`load`; ``obs["perturbation"]`` is the perturbed gene, or ``control``.

        Raises
        ------
        UserError
            If a gene is not simulated, or a number is out of range.
        """
        import numpy as np

        genes = sorted(set(self.true_graph()["TF"])) if genes is None else list(genes)
        if unknown := sorted(set(genes) - set(self.genes)):
            raise UserError(f"genes: {unknown[0]} is not simulated; choose among {self.genes[0]} ... {self.genes[-1]}")
        if min(n_cells, n_control) < 1 or remaining < 0:
            raise UserError("a screen needs n_cells and n_control of 1 or more, and remaining of 0 or more")
        self._cells(constants := Constants())
        conditions = {CONTROL: (n_control, {}), **{gene: (n_cells, {gene: remaining}) for gene in genes}}
        parts = [self._cells(constants, f"screen {name}", n, do) for name, (n, do) in conditions.items()]
        types = [cell_types for _, cell_types in parts if cell_types is not None]
        adata = self._as_adata(np.vstack([counts for counts, _ in parts]), np.concatenate(types) if types else None)
        adata.obs["perturbation"] = np.repeat(list(conditions), [n for n, _ in conditions.values()])
        return adata

    def _cells(
        self,
        constants: Constants,
        stream: str = "cells",
        n_cells: int | None = None,
        do: Mapping[str, float] | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Simulate cells with a random stream of their own; by default those of :meth:`load`."""
        import numpy as np

        rng = np.random.default_rng(derive_seed(self.seed, stream))
        return self._simulate(self.true_graph(), rng, constants, n_cells or self.n_cells, do or {})

    def _as_adata(self, counts: np.ndarray, cell_types: np.ndarray | None) -> AnnData:
        import anndata
        import numpy as np
        from scipy.sparse import csr_matrix

        adata = anndata.AnnData(csr_matrix(counts.astype(np.int32)))
        adata.obs_names = [f"cell{i}" for i in range(len(counts))]
        adata.var_names = self.genes
        adata = readers.as_counts(adata, type(self).__name__, cell_types)
        adata.uns["true_graph"] = self.true_graph()
        adata.uns["simulation"] = {"class": type(self).__name__, **asdict(self)}
        return adata

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``counts.h5ad`` and ``true_graph.tsv`` to ``folder`` and return their paths."""
        counts, edges = Path(folder) / "counts.h5ad", Path(folder) / "true_graph.tsv"
        with atomic_write(counts) as path:
            write_h5ad(self.load(), path)
        with atomic_write(edges) as path:
            self.true_graph().to_csv(path, sep="\t", index=False, lineterminator="\n")
        return counts, edges


@dataclass(frozen=True, kw_only=True)
class LinearUniform(SimulatedSource):
    """The LinearUniform data of the paper's Appendix C, as far as it is described (section 2 of the protocol).

    Every effect has ``causes_per_effect`` distinct causes, drawn uniformly. A cause is zero with probability ``zeros``,
    else exponential; an effect is the sum of its causes with weights from U(0, 1), plus normal noise. Negative values
    are set to zero, and all values are rounded, because the pipeline expects counts.

    Neither the paper nor the protocol specifies the distribution of the causes or the range of the weights. With these
    choices, the distances between two samples of 500 cells are close to those of the paper's control.

    Parameters
    ----------
    n_causes, n_effects, causes_per_effect
        Size of the bipartite network.
    noise
        Standard deviation of the noise, relative to that of the effect without noise.
    zeros
        Share of zeros among the values of the causes.
    scale
        Mean of the non-zero causes, in counts; larger values reduce the effect of rounding.
    """

    n_causes: Positive = 50
    n_effects: Positive = 50
    causes_per_effect: Positive = 10
    noise: Amount = 0.5
    zeros: Annotated[float, Field(ge=0, le=0.99)] = 0.5
    scale: PositiveFloat = 50.0

    def __post_init__(self) -> None:
        check_fields(self, "dataset.source")
        if self.causes_per_effect > self.n_causes:
            raise UserError(
                f"dataset.source.causes_per_effect={self.causes_per_effect}: there are only {self.n_causes} causes"
            )

    @property
    def genes(self) -> list[str]:
        causes, effects = names("cause", self.n_causes), names("effect", self.n_effects)
        return [*causes, *effects]

    def true_graph(self) -> pd.DataFrame:
        causes, effects = self.genes[: self.n_causes], self.genes[self.n_causes :]
        return linear_graph(causes, effects, self.causes_per_effect, derive_seed(self.seed, "graph"))

    def _simulate(
        self, graph: pd.DataFrame, rng: np.random.Generator, constants: Constants, n_cells: int, do: Mapping[str, float]
    ) -> tuple[np.ndarray, None]:
        import numpy as np

        shape = n_cells, self.n_causes
        causes = rng.exponential(self.scale, shape) * (rng.random(shape) >= self.zeros)
        kept = np.array([do.get(gene, 1.0) for gene in self.genes])
        causes *= kept[: self.n_causes]
        weights = graph.pivot(index="TF", columns="target", values="weight").fillna(0)
        weights = weights.reindex(index=self.genes[: self.n_causes], columns=self.genes[self.n_causes :], fill_value=0)
        effects = causes @ weights.to_numpy()
        spread = constants.of("spread", lambda: effects.std(axis=0))
        effects += rng.normal(size=effects.shape) * self.noise * spread
        effects *= kept[self.n_causes :]
        return np.rint(np.maximum(np.hstack([causes, effects]), 0)), None


def true_graph(source: object) -> pd.DataFrame:
    """Return the true edges of a simulated source, with columns ``TF``, ``target``, ``weight``.

    Raises
    ------
    UserError
        If the source is not simulated.
    """
    if not isinstance(source, SimulatedSource):
        raise UserError(
            f"the true graph of {type(source).__name__} is not known; use dataset=linear_uniform or dataset=simulated"
        )
    return source.true_graph()


def names(stem: str, n: int) -> list[str]:
    """Return ``n`` numbered gene names whose alphabetical order is their numerical order."""
    return [f"{stem}{i:0{len(str(n - 1))}d}" for i in range(n)]
