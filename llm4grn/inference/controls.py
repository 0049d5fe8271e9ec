"""Controls that know half of what another network knows: which TFs are named, but not of which target."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from llm4grn.errors import UserError
from llm4grn.inference.base import CombiningInferer, Inferer
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import Positive, check_fields

if TYPE_CHECKING:
    import pandas as pd

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")

_N_PARTNERS = 200  # targets that are tried for an exchange; with fewer targets, all are


@dataclass(frozen=True)
class _Control(CombiningInferer):
    """A network that is made of the network of one other inferer, its only member.

    Lists of TFs onto targets and lists of TFs onto other TFs (in a layered graph) are treated separately, so the edges
    onto targets do not depend on whether there are edges onto TFs.
    """

    method: ClassVar[str]

    members: Mapping[str, Inferer] = field(compare=False)

    def __post_init__(self) -> None:
        if len(self.members) != 1:
            raise UserError(f"inferer={self.method}: expected one inferer, for instance inferer.of=grnboost2")
        check_fields(self, "inferer", k="graph.k")

    @abstractmethod
    def _control(self, edges: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Return the edges of the control for one layer; ``edges`` are those of the network that it is made of."""

    def combine(
        self, networks: Mapping[str, GRN], genes: Sequence[str], tf_names: Sequence[str] | None, seed: int = 0
    ) -> GRN:
        """Make the control of the only network."""
        import pandas as pd

        from llm4grn.grn import GRN

        ((name, network),) = networks.items()
        if network.edges.empty:
            raise UserError(f"inferer={self.method}: the network of {name} has no edges; use inferer=random")
        onto_tfs = network.edges["target"].isin(tf_names or ())
        layers = {"targets": network.edges[~onto_tfs], "TFs": network.edges[onto_tfs]}
        made = [
            self._control(edges, derive_seed(seed, self.method, layer))
            for layer, edges in layers.items()
            if not edges.empty
        ]
        provenance = {
            "method": self.method,
            "of": name,
            **self._parameters(seed),
            "members": {name: network.provenance},
        }
        return GRN.from_edges(pd.concat(made, ignore_index=True), provenance)

    @abstractmethod
    def _parameters(self, seed: int) -> dict[str, object]:
        """Return what else decides the control, for its provenance."""


@dataclass(frozen=True)
class Shuffled(_Control):
    """The regulator lists of another network, dealt out to other targets.

    Every list goes to exactly one target and none stays where it was, so each TF keeps its out-degree and each list its
    length and importances. What is lost is which target a list was made for: such a network knows what its method
    names anywhere, and nothing of the target.

    Where genes are both TFs and targets, a list can hold the gene that it is dealt to. Such lists are exchanged between
    targets; a self-edge that remains (a full ranking holds every gene) is left out.

    Parameters
    ----------
    members
        The inferer whose lists are dealt out, by its name. Its stage is an input of this stage.

    Raises
    ------
    UserError
        If there is not exactly one member, or :meth:`combine` gets a network with a single list.
    """

    method: ClassVar[str] = "shuffled"

    def _parameters(self, seed: int) -> dict[str, object]:
        return {"seed": seed}

    def _control(self, edges: pd.DataFrame, seed: int) -> pd.DataFrame:
        lists = {str(target): tuple(tfs) for target, tfs in edges.groupby("target")["TF"]}
        if len(lists) < 2:
            raise UserError(
                f"inferer=shuffled: the network has TFs for one target only, {next(iter(lists))}, so there is no other "
                "to deal its list to; use inferer=random"
            )
        giver = deal(lists, seed)
        receiver = {source: target for target, source in giver.items()}
        dealt = edges.assign(target=edges["target"].map(receiver))
        kept = dealt[dealt["TF"] != dealt["target"]]
        if len(kept) < len(dealt):
            logger.info("shuffled: %d of %d edges left out, as a gene would regulate itself", *_lost(kept, dealt))
        return kept


@dataclass(frozen=True)
class Popular(_Control):
    """The TFs that another network names most, the same ones for every target.

    TFs are ranked by the number of targets that have them among their ``k`` best, ties by the sum of these importances,
    then by name. A target that is among them is not its own regulator. The importance of the last TF is 1, that of the
    one before it 2, and so on.

    Parameters
    ----------
    members
        The inferer whose TFs are counted, by its name. Its stage is an input of this stage.
    k
        Number of regulators per target that are counted.

    Raises
    ------
    UserError
        If there is not exactly one member, or ``k`` is below 1.
    """

    method: ClassVar[str] = "popular"

    k: Positive = 10

    def _parameters(self, seed: int) -> dict[str, object]:
        return {"k": self.k}

    def _control(self, edges: pd.DataFrame, seed: int) -> pd.DataFrame:
        import pandas as pd

        best = edges.groupby("target", sort=False).head(self.k)
        named = best.groupby("TF")["importance"].agg(["size", "sum"]).reset_index()
        ranked = named.sort_values(["size", "sum", "TF"], ascending=[False, False, True], ignore_index=True)
        tfs = ranked[["TF"]].assign(importance=range(len(ranked), 0, -1))
        table = tfs.merge(pd.DataFrame({"target": sorted(edges["target"].unique())}), how="cross")
        return table[table["TF"] != table["target"]]


def deal(lists: Mapping[str, Sequence[str]], seed: int) -> dict[str, str]:
    """Return for each target the target whose list it gets: a permutation without fixed points.

    Parameters
    ----------
    lists
        Ranked regulators of each target, best first; two or more targets.
    seed
        Seed of the permutation, which does not depend on the order of the targets.

    Notes
    -----
    The targets are put in a random circle and each gets the list of its neighbour, so that none keeps its own. A target
    that is in its new list exchanges it with the partner for which the fewest and lowest-ranked self-edges remain.

    Examples
    --------
    >>> sorted(deal({"X": "A", "Y": "B", "Z": "C"}, seed=0).items())
    [('X', 'Y'), ('Y', 'Z'), ('Z', 'X')]
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    order = rng.permutation(sorted(lists)).tolist()
    giver = dict(zip(order, order[1:] + order[:1], strict=True))
    ranks = {target: {tf: rank for rank, tf in enumerate(tfs, start=1)} for target, tfs in lists.items()}

    def harm(target: str, source: str) -> float:
        if target == source:
            return float("inf")
        return 1 / ranks[source][target] if target in ranks[source] else 0.0

    for target in order:
        if not harm(target, giver[target]):
            continue
        drawn = rng.choice(len(order), size=min(_N_PARTNERS, len(order)), replace=False)
        after = {order[i]: harm(target, giver[order[i]]) + harm(order[i], giver[target]) for i in drawn}
        partner = min(after, key=after.__getitem__)
        if after[partner] < harm(target, giver[target]) + harm(partner, giver[partner]):
            giver[target], giver[partner] = giver[partner], giver[target]
    return giver


def _lost(kept: pd.DataFrame, dealt: pd.DataFrame) -> tuple[int, int]:
    return len(dealt) - len(kept), len(dealt)
