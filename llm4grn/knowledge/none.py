"""No prior knowledge: every gene is a candidate, and the transcription factors are selected from the ranked network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.knowledge.base import KnowledgeBase, TFSet

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class NoPriorList(KnowledgeBase):
    """The inferer ranks every gene as a regulator of every other gene, and the TFs are selected from its ranking.

    Both selections go through the edges in descending order of importance:

    - ``naive`` takes the first ``n_tfs`` distinct regulators;
    - ``iterative`` assigns every gene one role, TF or target. It keeps an edge if its regulator is not yet a target,
      its target is not yet a TF and has fewer than ``k`` regulators, and (if ``n_tfs`` is set) the regulator is already
      a TF or fewer than ``n_tfs`` are selected. ``GRN.top(k)`` with these TFs imposes exactly the kept edges.

    A gene without an edge from any selected TF cannot be generated from TFs. It becomes a TF too, that is, a root of
    the graph, and a warning reports the number of such genes.

    Parameters
    ----------
    selection
        ``naive`` or ``iterative``.
    n_tfs
        Number of TFs to select; None (only for ``iterative``) sets no limit.
    k
        Number of regulators per target in the graph that will be imposed.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    selection: Literal["naive", "iterative"] = "naive"
    n_tfs: int | None = 75
    k: int = 10

    def __post_init__(self) -> None:
        if self.selection not in ("naive", "iterative"):
            raise UserError(f"kb.selection={self.selection}: choose naive or iterative")
        if self.n_tfs is None:
            if self.selection == "naive":
                raise UserError(
                    "kb.n_tfs=null: kb.selection=naive needs a number of TFs; kb.selection=iterative does not"
                )
        elif isinstance(self.n_tfs, bool) or not isinstance(self.n_tfs, int) or self.n_tfs < self.k:
            raise UserError(f"kb.n_tfs={self.n_tfs!r}: expected a whole number, at least graph.k={self.k}")

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """Return all genes as candidates."""
        return TFSet(tuple(genes), provenance={"method": "none"})

    def select(self, grn: GRN, genes: Sequence[str]) -> TFSet:
        """Select the TFs among ``genes``.

        Parameters
        ----------
        grn
            Edges between any two of the genes.
        genes
            All genes of the data set.

        Raises
        ------
        UserError
            If no target would be left.
        """
        edges = list(zip(grn.edges["TF"], grn.edges["target"], strict=True))
        chosen = naive(edges, self.n_tfs) if self.selection == "naive" else iterative(edges, self.k, self.n_tfs)
        regulated = {target for tf, target in edges if tf in chosen}
        left_over = sorted(set(genes) - chosen - regulated)
        if left_over:
            logger.warning(
                "kb=none: %d of %d genes have none of the %d chosen TFs in their ranking and become roots too, as %s",
                *(len(left_over), len(genes), len(chosen), left_over[0]),
            )
        names = tuple(chosen.union(left_over))
        if len(names) >= len(genes):
            raise UserError(
                f"kb.n_tfs={self.n_tfs}: no target is left among {len(genes)} genes; choose fewer TFs, or an inferer "
                "that ranks more edges"
            )
        provenance = {"method": "none", "selection": self.selection, "chosen": len(chosen), "left_over": left_over}
        return TFSet(names, provenance=provenance)


def naive(edges: Sequence[tuple[str, str]], n_tfs: int | None) -> set[str]:
    """Return the first ``n_tfs`` distinct regulators; all of them if it is None.

    Examples
    --------
    >>> sorted(naive([("A", "B"), ("A", "C"), ("B", "C"), ("D", "A")], 2))
    ['A', 'B']
    """
    return set(list(dict.fromkeys(tf for tf, _ in edges))[:n_tfs])


def iterative(edges: Sequence[tuple[str, str]], k: int, n_tfs: int | None = None) -> set[str]:
    """Return the regulators of a bipartite graph built edge by edge, in descending order of importance.

    Examples
    --------
    >>> sorted(iterative([("A", "B"), ("A", "C"), ("B", "C"), ("D", "A")], k=2))  # B is already a target, A a TF
    ['A']
    """
    tfs: set[str] = set()
    in_degree: dict[str, int] = {}
    for tf, target in edges:
        is_free = tf in tfs or (tf not in in_degree and (n_tfs is None or len(tfs) < n_tfs))
        if is_free and target not in tfs and in_degree.get(target, 0) < k:
            tfs.add(tf)
            in_degree[target] = in_degree.get(target, 0) + 1
    return tfs
