"""The causal graph imposed on the generator: for each target gene, the genes that regulate it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeVar

from llm4grn.errors import UserError
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import networkx as nx

T = TypeVar("T")


@dataclass(frozen=True)
class CausalGraph:
    """A directed acyclic graph over the genes of a cell.

    A gene without an entry in ``regulators`` is a root: the causal controller produces it. Every other gene is
    computed from its regulators, which may be roots or, in a layered graph, targets themselves.

    Parameters
    ----------
    genes
        All genes, in the order of the cell's columns.
    regulators
        Regulators of each target; their number may differ between targets.

    Examples
    --------
    >>> graph = CausalGraph(("A", "B", "C"), {"B": ("A",), "C": ("A", "B")})
    >>> graph.validate()
    >>> graph.tf_names, graph.layers()
    (('A',), [['B'], ['C']])
    """

    genes: tuple[str, ...]
    regulators: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "genes", tuple(self.genes))
        object.__setattr__(self, "regulators", {target: tuple(tfs) for target, tfs in self.regulators.items()})

    @property
    def tf_names(self) -> tuple[str, ...]:
        """The roots (genes without regulators), in gene order."""
        return tuple(gene for gene in self.genes if gene not in self.regulators)

    @property
    def targets(self) -> tuple[str, ...]:
        """The genes that have regulators, in gene order."""
        return tuple(gene for gene in self.genes if gene in self.regulators)

    @property
    def n_edges(self) -> int:
        """Number of regulator -> target edges."""
        return sum(len(tfs) for tfs in self.regulators.values())

    @property
    def density(self) -> float:
        """Edges / possible edges (section 4 of the protocol); 0 for a graph without roots or targets.

        Possible are the pairs of a TF and a target other than itself, where TFs are the roots and, in a layered graph,
        the targets that regulate others.
        """
        tfs = {*self.tf_names, *(tf for regulators in self.regulators.values() for tf in regulators)}
        possible = len(tfs) * len(self.targets) - len(tfs.intersection(self.targets))
        return self.n_edges / possible if possible else 0.0

    def validate(self) -> None:
        """Raise UserError if the graph cannot be imposed on the generator.

        Raises
        ------
        UserError
            If there is any duplicate gene, unknown gene, target without regulator, duplicate regulator, self-loop or
            cycle, or no target at all. One message names every offence and lists at most five names for each.
        """
        known = set(self.genes)
        edges = [(tf, target) for target, tfs in self.regulators.items() for tf in tfs]
        named = {*self.regulators, *(tf for tf, _ in edges)}
        cycle = self._cycle()
        offences = {
            "no target: no gene has regulators": ["none"] if not self.regulators else [],
            "duplicate gene": _repeated(self.genes),
            "unknown gene": sorted(named - known),
            "target without regulator": [target for target, tfs in self.regulators.items() if not tfs],
            "duplicate regulator": [f"{tf} -> {target}" for tf, target in _repeated(edges)],
            "self-loop": sorted({tf for tf, target in edges if tf == target}),
            "cycle": [" -> ".join(cycle)] if cycle else [],
        }
        reasons = [f"{offence}: {_shorten(names)}" for offence, names in offences.items() if names]
        if reasons:
            raise UserError(f"the causal graph cannot be imposed; {'; '.join(reasons)}")

    def layers(self) -> list[list[str]]:
        """Group the targets into layers that each depend only on roots and earlier layers.

        Returns
        -------
        list of lists
            The smallest possible number of layers (one for a bipartite graph), each in gene order.

        Raises
        ------
        UserError
            If the graph is not valid.
        """
        self.validate()
        position = {gene: i for i, gene in enumerate(self.genes)}
        sorter = TopologicalSorter(self.regulators)
        sorter.prepare()
        layers = []
        while sorter.is_active():
            ready = sorter.get_ready()
            sorter.done(*ready)
            layers.append(sorted((gene for gene in ready if gene in self.regulators), key=position.__getitem__))
        return [layer for layer in layers if layer]

    def descendants(self, genes: Iterable[str]) -> set[str]:
        """Return all genes downstream of ``genes``, without ``genes`` themselves.

        Examples
        --------
        >>> sorted(CausalGraph(("A", "B", "T", "U"), {"T": ("A",), "U": ("B", "T")}).descendants(["A"]))
        ['T', 'U']
        """
        reached = set(changed := set(genes))
        for layer in self.layers():
            reached |= {target for target in layer if reached.intersection(self.regulators[target])}
        return reached - changed

    def summary(self) -> dict[str, object]:
        """Return the number of TFs (roots), targets and edges, the density, and the range of regulators per target."""
        sizes = [len(tfs) for tfs in self.regulators.values()] or [0]
        return {
            "TFs": len(self.tf_names),
            "targets": len(self.targets),
            "edges": self.n_edges,
            "density": self.density,
            "regulators_per_target": {"min": min(sizes), "median": median(sizes), "max": max(sizes)},
        }

    def parts(self) -> dict[str, set[Any]]:
        """Return the genes that regulate something as ``TFs``, the ``targets``, and the ``edges`` as pairs of genes."""
        edges = {(tf, target) for target, tfs in self.regulators.items() for tf in tfs}
        return {"TFs": {tf for tf, _ in edges}, "targets": set(self.regulators), "edges": edges}

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return the graph with all its genes as nodes; ``role`` of each is ``TF`` (a root) or ``target``."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        roles = ((gene, {"role": "target" if gene in self.regulators else "TF"}) for gene in self.genes)
        graph.add_nodes_from(roles)
        graph.add_edges_from((tf, target) for target in self.targets for tf in self.regulators[target])
        return graph

    def __repr__(self) -> str:
        return f"CausalGraph: {len(self.tf_names)} TFs, {len(self.targets)} targets, {self.n_edges} edges"

    def to_json(self, path: str | Path) -> None:
        """Write ``{"genes": [...], "regulators": {target: [...]}}``; equal graphs give identical files."""
        unknown = [target for target in self.regulators if target not in set(self.genes)]
        ordered = {target: list(self.regulators[target]) for target in (*self.targets, *sorted(unknown))}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"genes": list(self.genes), "regulators": ordered}, indent=1) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> CausalGraph:
        """Read a file written by ``to_json``, or a hand-made file of that form (then call ``validate``).

        Raises
        ------
        UserError
            If the file is missing or not of that form.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            genes, regulators = content["genes"], content["regulators"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(_not_a_graph(path, f"{type(error).__name__}: {error}")) from error
        if not _is_names(genes) or not isinstance(regulators, dict) or not all(map(_is_names, regulators.values())):
            raise UserError(_not_a_graph(path, "genes must be a list of names, regulators a list of names per target"))
        return cls(tuple(genes), regulators)

    def _cycle(self) -> list[str]:
        """Return one cycle of at least two genes, with the first gene repeated at the end; empty if there is none."""
        try:
            TopologicalSorter({t: [tf for tf in tfs if tf != t] for t, tfs in self.regulators.items()}).prepare()
        except CycleError as error:
            return error.args[1]
        return []


def overlap(a: CausalGraph, b: CausalGraph) -> float:
    """Compute the mean Jaccard index of the two regulator sets of each shared target (section 4 of the protocol).

    Graphs over different TFs share only some targets: a gene that is a TF in one graph has no regulators there to
    compare.

    Raises
    ------
    UserError
        If the graphs share no target.

    Examples
    --------
    >>> a = CausalGraph(("A", "B", "T"), {"T": ("A", "B")})
    >>> b = CausalGraph(("A", "B", "T"), {"T": ("A",)})
    >>> overlap(a, b)
    0.5
    """
    shared = [target for target in a.targets if target in b.regulators]
    if not shared:
        raise UserError("the two causal graphs share no target gene, so they have no overlap to measure")
    return fmean(_jaccard(a.regulators[target], b.regulators[target]) for target in shared)


def _jaccard(a: Iterable[str], b: Iterable[str]) -> float:
    intersection, union = set(a).intersection(b), set(a).union(b)
    return len(intersection) / len(union) if union else 1.0


def _repeated(items: Iterable[T]) -> list[T]:
    return [item for item, count in Counter(items).items() if count > 1]


def _shorten(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _not_a_graph(path: str | Path, reason: str) -> str:
    return f'{path}: not a causal graph ({reason}); expected JSON of the form {{"genes": [...], "regulators": {{...}}}}'
