"""The held-out predictive score of one graph, its summary, and what it says of the data set.

:mod:`llm4grn.evaluation.graphs.predictive` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.held_out import RAW, WITHIN
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import pandas as pd

FALSE_DISCOVERY_RATE = 0.05
N_RESAMPLES = 2_000
FILE = "predictive.tsv"
_COLUMNS = ("target", "cells", "model", "n_regulators", "r2", "r2_random", "r2_all", "p", "predictable")
_SLUGS = {RAW: "raw", WITHIN: "within_type"}


@dataclass(frozen=True, eq=False, repr=False)
class PredictiveScore:
    """Held-out predictive score of one graph.

    Parameters
    ----------
    targets
        One row per target, space and model: ``target``, ``cells`` (the space), ``model``, ``n_regulators``, ``r2``,
        ``r2_random``, ``r2_all``, ``p`` (one-sided, of a lower squared error than random graphs have, over test cells)
        and ``predictable``. R² of a target that does not vary in the test cells is missing.
    """

    targets: pd.DataFrame

    def summary(self, seed: int = 0) -> pd.DataFrame:
        """Return one row per space and model.

        Parameters
        ----------
        seed
            Seed for the bootstrap.

        Returns
        -------
        DataFrame
            ``cells``, ``model``; ``gain``: mean over targets of R² minus that of random graphs, with the ends ``low``
            and ``high`` of its 95 % bootstrap interval over targets; ``share``: the gain over that of all TFs, missing
            if the latter's interval is not above 0; ``n_better``: number of predictable targets that are predicted
            better than by random graphs, at a false discovery rate of 5 %; ``n_predictable``, ``n_targets``;
            ``r2_random``; ``ceiling``, the gain of all TFs, with ``ceiling_low`` and ``ceiling_high``.
        """
        import pandas as pd

        groups = self.targets.dropna(subset="r2").groupby(["cells", "model"], sort=False)
        return pd.DataFrame([_summary(own, str(space), str(model), seed) for (space, model), own in groups])

    def gains(self, space: str = RAW, model: str = "ridge") -> pd.Series:
        """Return the R² of each target minus that of random graphs, by target."""
        own = self.targets[(self.targets["cells"] == space) & (self.targets["model"] == model)].set_index("target")
        return (own["r2"] - own["r2_random"]).rename("gain")

    def metrics(self) -> dict[str, float]:
        """Return the gains by their names in results files, as in ``predictive_within_type_ridge``."""
        rows = self.summary().itertuples()
        return {f"predictive_{_SLUGS[str(row.cells)]}_{row.model}": float(row.gain) for row in rows}

    def warning(self) -> str | None:
        """Say in one sentence that these cells cannot tell graphs apart, or only by cell type; None if they can."""
        ceilings = {str(row.cells): row for row in self.summary().itertuples() if row.model == "ridge"}
        blind = [space for space, row in ceilings.items() if not row.ceiling_low > 0]
        helps = (
            "more cells, genes that vary (dataset.preprocessing.selection=pearson_residuals) or more TFs among them "
            "(dataset.preprocessing.n_tfs) would help"
        )
        if RAW in blind:
            return (
                "these cells cannot tell graphs apart: even all TFs together predict a held-out target no better than "
                f"random TFs do, so the scores below say little about regulation; {helps}"
            )
        if WITHIN in blind:
            return (
                "within cell types these cells cannot tell graphs apart: even all TFs together predict a held-out "
                "target no better than random TFs do, so a graph scores by naming what marks a cell type; "
                f"{helps}"
            )
        return None

    def write(self, path: Path) -> None:
        """Write :attr:`targets` as a tab-separated table."""
        with atomic_write(path) as temporary:
            self.targets.to_csv(temporary, sep="\t", index=False, float_format="%.10g", lineterminator="\n")

    @classmethod
    def read(cls, path: Path) -> PredictiveScore:
        """Read what :meth:`write` wrote.

        Raises
        ------
        UserError
            If the file cannot be read or has other columns.
        """
        import pandas as pd

        try:
            table = pd.read_csv(path, sep="\t", dtype={"target": str}, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); delete it and run the same command again") from error
        if missing := [name for name in _COLUMNS if name not in table.columns]:
            raise UserError(f"{path}: no column {missing[0]}; delete it and run the same command again")
        return cls(table)

    def _repr_html_(self) -> str:
        return str(self.summary()._repr_html_())

    def __repr__(self) -> str:
        return self.summary().to_string(index=False)


def _summary(own: pd.DataFrame, space: str, model: str, seed: int) -> dict[str, object]:
    from scipy.stats import false_discovery_control

    gain = (own["r2"] - own["r2_random"]).to_numpy()
    ceiling = (own["r2_all"] - own["r2_random"]).to_numpy()
    low, high = _bootstrap(gain, derive_seed(seed, "predictive", space, model))
    ceiling_low, ceiling_high = _bootstrap(ceiling, derive_seed(seed, "predictive", space, model))
    p = own.loc[own["predictable"], "p"].to_numpy()
    n_better = int((false_discovery_control(p) < FALSE_DISCOVERY_RATE).sum()) if len(p) else 0
    return {
        "cells": space,
        "model": model,
        "gain": gain.mean(),
        "low": low,
        "high": high,
        "share": gain.mean() / ceiling.mean() if ceiling_low > 0 else np.nan,
        "n_better": n_better,
        "n_predictable": len(p),
        "n_targets": len(own),
        "r2_random": own["r2_random"].mean(),
        "ceiling": ceiling.mean(),
        "ceiling_low": ceiling_low,
        "ceiling_high": ceiling_high,
    }


def _bootstrap(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval of the mean."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(N_RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
