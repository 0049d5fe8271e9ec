"""The held-out predictive score of one graph, its summary, and what it says of the data set.

:mod:`llm4grn.evaluation.graphs.predictive` measures it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.held_out import RAW, WITHIN
from llm4grn.evaluation.scores.statistics import mean_interval
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import pandas as pd

FALSE_DISCOVERY_RATE = 0.05
FILE = "predictive.tsv"
_COLUMNS = ("target", "cells", "model", "n_regulators", "r2", "r2_random", "r2_all", "p", "predictable")
_SLUGS = {RAW: "raw", WITHIN: "within_type"}


@dataclass(frozen=True)
class Summary:
    """The score of a graph in one space, by one model.

    Parameters
    ----------
    cells, model
        Space and model.
    gain
        Mean over targets of R² minus that of random graphs.
    low, high
        Ends of its 95 % bootstrap interval over targets.
    share
        The gain over that of all TFs; nan if the latter's interval is not above 0.
    n_better
        Number of predictable targets that are predicted better than by random graphs, at a false discovery rate of 5 %.
    n_predictable, n_targets
        Number of predictable targets, and of all.
    r2_random
        Mean R² of random graphs.
    ceiling, ceiling_low, ceiling_high
        Gain of all TFs, with its interval.
    """

    cells: str
    model: str
    gain: float
    low: float
    high: float
    share: float
    n_better: int
    n_predictable: int
    n_targets: int
    r2_random: float
    ceiling: float
    ceiling_low: float
    ceiling_high: float


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

    def summaries(self, seed: int = 0) -> list[Summary]:
        """Return the score in each space by each model; ``seed`` is that of the bootstrap."""
        groups = self.targets.dropna(subset="r2").groupby(["cells", "model"], sort=False)
        return [_summary(own, str(space), str(model), seed) for (space, model), own in groups]

    def summary(self, seed: int = 0) -> pd.DataFrame:
        """Return :meth:`summaries` as a table, with the fields of :class:`Summary` as columns."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.summaries(seed)], columns=[f.name for f in fields(Summary)])

    def gains(self, space: str = RAW, model: str = "ridge") -> pd.Series:
        """Return the R² of each target minus that of random graphs, by target."""
        own = self.targets[(self.targets["cells"] == space) & (self.targets["model"] == model)].set_index("target")
        return (own["r2"] - own["r2_random"]).rename("gain")

    def metrics(self) -> dict[str, float]:
        """Return the gains by their names in results files, as in ``predictive_within_type_ridge``."""
        return {f"predictive_{_SLUGS[one.cells]}_{one.model}": one.gain for one in self.summaries()}

    def warning(self) -> str | None:
        """Say in one sentence that these cells cannot tell graphs apart, or only by cell type; None if they can."""
        summaries = self.summaries()
        model = "ridge" if any(one.model == "ridge" for one in summaries) else "trees"
        blind = [one.cells for one in summaries if one.model == model and not one.ceiling_low > 0]
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
        return self.summary().to_html(index=False)

    def __repr__(self) -> str:
        return self.summary().to_string(index=False)


def _summary(own: pd.DataFrame, space: str, model: str, seed: int) -> Summary:
    from scipy.stats import false_discovery_control

    gain = (own["r2"] - own["r2_random"]).to_numpy()
    ceiling = (own["r2_all"] - own["r2_random"]).to_numpy()
    low, high = mean_interval(gain, derive_seed(seed, "predictive", space, model))
    ceiling_low, ceiling_high = mean_interval(ceiling, derive_seed(seed, "predictive", space, model))
    p = own.loc[own["predictable"], "p"].to_numpy()
    n_better = int((false_discovery_control(p) < FALSE_DISCOVERY_RATE).sum()) if len(p) else 0
    return Summary(
        cells=space,
        model=model,
        gain=float(gain.mean()),
        low=low,
        high=high,
        share=float(gain.mean() / ceiling.mean()) if ceiling_low > 0 else math.nan,
        n_better=n_better,
        n_predictable=len(p),
        n_targets=len(own),
        r2_random=float(own["r2_random"].mean()),
        ceiling=float(ceiling.mean()),
        ceiling_low=ceiling_low,
        ceiling_high=ceiling_high,
    )
