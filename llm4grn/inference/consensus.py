"""Consensus of several inferers: their rankings of each target's regulators, fused by reciprocal ranks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm4grn.errors import UserError
from llm4grn.inference.base import CombiningInferer, Inferer, split_genes
from llm4grn.validation import Amount, PositiveFloat, check_fields

if TYPE_CHECKING:
    import pandas as pd

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")

Weights = Annotated[
    Mapping[str, PositiveFloat],
    Field(description="expected {MEMBER: weight} with weights above 0, for instance {llm: 2}"),
]


@dataclass(frozen=True)
class Consensus(CombiningInferer):
    """Reciprocal rank fusion per target (Cormack, Clarke and Büttcher 2009).

    The importance of an edge is the sum of weight / (constant + rank) over the members that rank it, where rank 1 is a
    member's best TF of that target. A member that does not rank a TF contributes 0.

    Parameters
    ----------
    members
        Inferer of each member, by name; two or more. Their stages are inputs of this stage.
    weights
        Positive weight of a member, by name; 1 for members without an entry.
    constant
        Constant of the fusion, 0 or more; larger values reduce the influence of the first ranks.

    Raises
    ------
    UserError
        If there are fewer than two members, a weight names no member, or a number is out of range.
    """

    members: Mapping[str, Inferer] = field(compare=False)
    weights: Weights | None = None
    constant: Amount = 10

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise UserError(
                f"inferer.members=[{', '.join(self.members)}]: a consensus needs two or more, for instance "
                "inferer.members=[grnboost2,correlation]"
            )
        check_fields(self, "inferer")
        if self.weights is None:
            object.__setattr__(self, "weights", {})
        for name in self.weights or {}:
            if name not in self.members:
                raise UserError(f"inferer.weights.{name}: no such member; the members are {', '.join(self.members)}")

    def combine(
        self, networks: Mapping[str, GRN], genes: Sequence[str], tf_names: Sequence[str] | None, seed: int = 0
    ) -> GRN:
        """Fuse the members' networks; the column ``rank_<member>`` holds the rank of each edge in that member.

        If members give signs, an edge has the sign that the larger weight of members gives it, or 0. ``seed`` is not
        used.
        """
        import pandas as pd

        from llm4grn.grn.network import GRN, RANK
        from llm4grn.grn.signs import SIGN

        members = sorted(networks)  # a fixed order of summation: rounding must not depend on the order of the members
        ranks = [_ranks(networks[name].edges).rename(columns={"rank": f"{RANK}{name}"}) for name in members]
        fused = reduce(lambda left, right: left.merge(right, on=["TF", "target"], how="outer"), ranks)
        weights = {name: (self.weights or {}).get(name, 1.0) for name in members}
        scores = pd.Series(0.0, index=fused.index)
        for name, weight in weights.items():
            scores += (weight / (self.constant + fused[f"{RANK}{name}"])).fillna(0.0)
        if any(network.signs is not None for network in networks.values()):
            fused[SIGN] = _signs(fused, {name: networks[name].signs or {} for name in members}, weights)
        self._report_gaps(fused, split_genes(genes, tf_names)[1])
        provenance = {
            "method": "consensus",
            "constant": self.constant,
            "weights": weights,
            "members": {name: network.provenance for name, network in networks.items()},
        }
        return GRN.from_edges(fused.assign(importance=scores), provenance)

    def _report_gaps(self, fused: pd.DataFrame, targets: Sequence[str]) -> None:
        """Warn about members that rank no TF for some targets."""
        from llm4grn.grn.network import RANK

        for name in self.members:
            ranked = set(fused.loc[fused[f"{RANK}{name}"].notna(), "target"])
            if without := [target for target in targets if target not in ranked]:
                logger.warning(
                    "consensus: %s ranks no TF for %d of %d targets, for instance %s: there the other members decide",
                    *(name, len(without), len(targets), without[0]),
                )


def _ranks(edges: pd.DataFrame) -> pd.DataFrame:
    """Return TF, target and the rank (from 1) of each edge among those of its target; edges are sorted descending."""
    return edges[["TF", "target"]].assign(rank=edges.groupby("target", sort=False).cumcount() + 1)


def _signs(
    edges: pd.DataFrame, signs: Mapping[str, Mapping[tuple[str, str], int]], weights: Mapping[str, float]
) -> list[int]:
    """Return the sign of each edge by the members' weighted vote; 0 for a tie."""
    votes = [
        sum(weight * signs[name].get(edge, 0) for name, weight in weights.items())
        for edge in zip(edges["TF"], edges["target"], strict=True)
    ]
    return [(vote > 0) - (vote < 0) for vote in votes]
