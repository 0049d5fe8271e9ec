"""Ranked gene regulatory networks: checking, reading and writing, and selecting the causal graph to impose."""

from __future__ import annotations

import html
import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from llm4grn.errors import UserError
from llm4grn.grn.causal_graph import CausalGraph, overlap
from llm4grn.grn.edge_tables import EXPECTED, read_edge_file
from llm4grn.grn.signs import SIGN, read_signs
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

logger = logging.getLogger("llm4grn")

Strategy = Literal["top", "bottom", "random", "odd", "even"]

COLUMNS = ["TF", "target", "importance"]
_SIGNED = ["TF", "target", SIGN]
RANK = "rank_"  # prefix of the columns that hold each edge's rank in one member of a consensus


@dataclass(frozen=True, eq=False, repr=False)
class GRN:
    """Ranked regulatory edges inferred by one method.

    Construct a GRN with :meth:`from_edges` or :meth:`read`, which check and sort the table.

    Parameters
    ----------
    edges
        Columns ``TF``, ``target`` (gene names) and ``importance`` (float64; larger means more certain, and only the
        order within a target matters). Sorted by descending importance, ties by names, so equal networks give identical
        files. Optional columns: ``importance_std``, the standard deviation of the importance between runs, and for a
        consensus ``rank_<member>``, the edge's rank among those of its target in that member, missing where the member
        does not have the edge; ``sign``, 1 for activation, -1 for repression, 0 where it is not known.
    provenance
        Origin of the edges, as JSON values.
    genes, tf_names
        All genes of the data set and its transcription factors, if they are known: the defaults of :meth:`top`. They
        are not written to files.
    """

    edges: pd.DataFrame
    provenance: dict[str, object] = field(default_factory=dict)
    genes: tuple[str, ...] | None = None
    tf_names: tuple[str, ...] | None = None

    @classmethod
    def from_edges(cls, edges: pd.DataFrame, provenance: Mapping[str, object] | None = None) -> GRN:
        """Check and sort a table of edges; columns that the class does not document are dropped.

        Raises
        ------
        UserError
            If a column is missing, a name is empty, an importance is not a finite number, a sign is none, an edge is
            given twice, or a gene regulates itself.
        """
        import numpy as np

        missing = [name for name in COLUMNS if name not in edges.columns]
        if missing:
            raise UserError(f"edges without the column {', '.join(missing)}; {EXPECTED}")
        names = edges[["TF", "target"]].fillna("").astype(str)
        numbers = [name for name in ("importance", "importance_std") if name in edges.columns]
        ranks = [name for name in edges.columns if str(name).startswith(RANK)]
        try:
            table = names.assign(**edges[numbers].astype("float64"))
            table = table.assign(**{name: _whole(edges[name]) for name in ranks})
        except (ValueError, TypeError) as error:
            raise UserError(f"column importance holds something that is not a number ({error}); {EXPECTED}") from error
        if SIGN in edges.columns:
            try:
                table[SIGN] = read_signs(edges[SIGN])
            except ValueError as error:
                raise UserError(
                    f"column sign holds {error}; expected 1 (activation), -1 (repression) or 0 (unknown), or remove it"
                ) from error
        _refuse(table, (names == "").any(axis=1), "an edge without a gene name")
        not_finite = table[numbers].isin([np.inf, -np.inf, np.nan]).any(axis=1)
        _refuse(table, not_finite, "an importance that is not a finite number")
        _refuse(table, table.duplicated(["TF", "target"]), "an edge that is given twice")
        _refuse(table, table["TF"] == table["target"], "a gene that regulates itself")
        table = table.sort_values(["importance", "TF", "target"], ascending=[False, True, True], ignore_index=True)
        return cls(table, dict(provenance or {}))

    def joined(self, other: GRN) -> GRN:
        """Return the edges of both networks, with the provenance of this one.

        Raises
        ------
        UserError
            If the networks share an edge.
        """
        import pandas as pd

        return GRN.from_edges(pd.concat([self.edges, other.edges], ignore_index=True), self.provenance)

    def write(self, path: str | Path) -> None:
        """Write the edges at full precision as tab-separated text, and the provenance as JSON with the same stem."""
        path = Path(path)
        with atomic_write(path) as temporary:
            self.edges.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
        with atomic_write(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(self.provenance, indent=2, sort_keys=True) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> GRN:
        """Read the edges of any tool, see :func:`~llm4grn.grn.edge_tables.read_edges`.

        Edges of signed importances are ranked by size. Rows that are no edges are dropped, and one warning counts them.
        A file of :meth:`write` is read as it is, and its provenance from the JSON beside it.

        Raises
        ------
        UserError
            If the file is missing, binary, empty or of another form, or holds invalid edges. The message names the
            file.
        """
        path = Path(path).expanduser()
        try:
            provenance = _provenance_beside(path)
            if _is_own(path):
                with suppress(UserError):  # edited, or another tool's beside a file of that name
                    return cls.from_edges(_read_own(path), provenance)
            table = read_edge_file(path)
            grn = cls.from_edges(table.edges, provenance)
        except UserError as error:
            raise UserError(f"{path}: {error}" + ("" if EXPECTED in str(error) else f"; {EXPECTED}")) from error
        if line := table.report():
            logger.warning("%s: %s", path, line)
        return grn

    def top(
        self,
        k: int | Mapping[str, int],
        genes: Sequence[str] | None = None,
        tf_names: Sequence[str] | None = None,
        strategy: Strategy = "top",
        seed: int = 0,
        tf_k: int = 0,
    ) -> CausalGraph:
        """Select k regulators of each target: the bipartite graph of section 4 of the protocol, or a layered graph.

        Every gene that is not a TF is a target; edges from targets are ignored. Edges onto TFs are ignored too unless
        ``tf_k`` is above 0; then TFs may regulate TFs as long as the graph stays acyclic.

        Parameters
        ----------
        k
            Regulators per target: one number for all targets, or one for each. A target with fewer ranked TFs keeps all
            of them.
        genes
            All genes, in the order of the cell's columns; None: those of the network.
        tf_names
            Transcription factors: the candidate regulators, and the roots of the graph; None: those of the network.
        strategy
            ``top``: the k best; ``bottom``: the k worst of those ranked; ``odd``: the first k of ranks 1, 3, 5, ...;
            ``even``: the first k of ranks 2, 4, 6, ...; ``random``: any k of ``tf_names``, ranked or not.
        seed
            Seed for ``random``. Each target has its own random stream, so the order of the genes does not matter.
        tf_k
            Maximum number of regulators per TF. In order of name, every TF gets its best regulator unless that closes a
            cycle, then its second best, and so on; a TF without any regulator is a root.

        Raises
        ------
        UserError
            If ``k`` or ``strategy`` is invalid, a TF is not among the genes, or neither the network nor the call
            says which genes and TFs there are.
        """
        genes = self.genes if genes is None else genes
        tf_names = self.tf_names if tf_names is None else tf_names
        if genes is None or tf_names is None:
            raise UserError("top: this network came without its genes and TFs; give genes= and tf_names=")
        tfs = sorted(set(tf_names))
        targets = [gene for gene in genes if gene not in set(tfs)]
        wanted = _wanted(k, targets, len(tfs))
        if strategy not in get_args(Strategy):
            raise UserError(f"graph.strategy={strategy}: choose one of {', '.join(get_args(Strategy))}")
        unknown = sorted(set(tfs) - set(genes))
        if unknown:
            raise UserError(f"{len(unknown)} TFs are not among the genes, for instance {unknown[0]}")

        if strategy == "random":
            regulators = {target: _draw(tfs, wanted[target], seed, target) for target in targets}
            candidates = {tf: _draw([other for other in tfs if other != tf], len(tfs) - 1, seed, tf) for tf in tfs}
        else:
            usable = self.edges[self.edges["TF"].isin(tfs) & self.edges["target"].isin(genes)]
            ranked = usable.groupby("target", sort=False)["TF"].agg(tuple).to_dict()
            candidates = {tf: _pick(ranked.get(tf, ()), len(tfs), strategy) for tf in tfs}
            regulators = {target: _pick(ranked.get(target, ()), wanted[target], strategy) for target in targets}
        short = [target for target in targets if len(regulators[target]) < wanted[target]]
        if short:
            logger.warning(
                "%d of %d targets have fewer ranked TFs than graph.k asks for (strategy %s), for instance %s with %d",
                *(len(short), len(targets), strategy, short[0], len(regulators[short[0]])),
            )
        return CausalGraph(tuple(genes), regulators | _acyclic(candidates, tf_k))

    @property
    def table(self) -> pd.DataFrame:
        """The ranked edges, another name of ``edges``."""
        return self.edges

    def regulators(self, k: int) -> dict[str, tuple[str, ...]]:
        """Return the ``k`` best TFs of each ranked target, best first; a TF that is ranked is a target too."""
        groups = self.edges.groupby("target", sort=False)["TF"]
        return {str(target): tuple(tfs.head(k)) for target, tfs in groups}

    @property
    def signs(self) -> dict[tuple[str, str], int] | None:
        """TF and target of each edge whose sign is known to that sign, 1 or -1; None without a column ``sign``."""
        if SIGN not in self.edges.columns:
            return None
        rows = self.edges.loc[self.edges[SIGN] != 0, _SIGNED].itertuples(index=False, name=None)
        return {(str(tf), str(target)): int(sign) for tf, target, sign in rows}

    def _signed_top(self, k: int) -> set[tuple[str, str, int]]:
        """Return the edges with known signs among the ``k`` best of each target, with their signs."""
        top = {(tf, target) for target, tfs in self.regulators(k).items() for tf in tfs}
        return {(*edge, sign) for edge, sign in (self.signs or {}).items() if edge in top}

    def compare(self, other: GRN, k: int = 10) -> pd.DataFrame:
        """Return how much the ``k`` best regulators per target of two networks have in common.

        Returns
        -------
        DataFrame
            Rows ``TFs``, ``targets`` and ``edges``, each counted in this network, in the other, and shared, with the
            Jaccard index of the two sets; row ``regulators per target`` has the mean Jaccard index over shared targets
            (section 4 of the protocol; Figure 2 of the paper). If both networks have signs, row ``signed edges``
            counts edges whose sign is known, which are shared if both networks give them the same sign.

        Raises
        ------
        UserError
            If the networks share no target.
        """
        import pandas as pd

        ours, theirs = (_graph_of(network.regulators(k)) for network in (self, other))
        rows: dict[str, tuple[object, ...]] = {}
        for name, a in ours.parts().items():
            b = theirs.parts()[name]
            rows[name] = (len(a), len(b), len(a & b), len(a & b) / len(a | b))
        if self.signs is not None and other.signs is not None:
            signed, theirs_signed = (network._signed_top(k) for network in (self, other))
            n_shared, n_all = len(signed & theirs_signed), len(signed | theirs_signed)
            rows["signed edges"] = (len(signed), len(theirs_signed), n_shared, n_shared / n_all if n_all else math.nan)
        rows["regulators per target"] = (pd.NA, pd.NA, pd.NA, overlap(ours, theirs))
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["this", "other", "shared", "jaccard"])
        return table.astype({"this": "Int64", "other": "Int64", "shared": "Int64", "jaccard": "float64"})

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return all ranked edges as a directed graph; each has its ``importance`` and, if it is known, ``sign``."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        rows = self.edges[COLUMNS].itertuples(index=False, name=None)
        graph.add_edges_from((tf, target, {"importance": importance}) for tf, target, importance in rows)
        nx.set_edge_attributes(graph, self.signs or {}, SIGN)
        return graph

    def __repr__(self) -> str:
        edges, method = self.edges, self.provenance.get("method", "file")
        return f"GRN ({method}): {len(edges)} edges, {edges['TF'].nunique()} TFs, {edges['target'].nunique()} targets"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.edges.head(10).to_html(index=False)}"


def _graph_of(regulators: dict[str, tuple[str, ...]]) -> CausalGraph:
    """The graph of a ranking without a list of TFs, which need not be a valid one."""
    return CausalGraph(tuple(sorted({*regulators, *(tf for tfs in regulators.values() for tf in tfs)})), regulators)


def _acyclic(candidates: Mapping[str, Sequence[str]], k: int) -> dict[str, tuple[str, ...]]:
    """Choose at most ``k`` regulators of each gene without closing a cycle, taking all genes' best candidates first."""
    chosen: dict[str, list[str]] = {gene: [] for gene in candidates}
    ancestors: dict[str, set[str]] = {gene: {gene} for gene in candidates}  # every gene counts as its own ancestor
    for rank in range(max(map(len, candidates.values()), default=0)):
        for gene in sorted(gene for gene in candidates if rank < len(candidates[gene]) and len(chosen[gene]) < k):
            regulator = candidates[gene][rank]
            if gene in ancestors[regulator]:
                continue
            chosen[gene].append(regulator)
            for upstream in ancestors.values():
                if gene in upstream:
                    upstream |= ancestors[regulator]
    return {gene: tuple(regulators) for gene, regulators in chosen.items() if regulators}


def _wanted(k: int | Mapping[str, int], targets: Sequence[str], n_tfs: int) -> dict[str, int]:
    """Return the number of regulators for each target."""
    if isinstance(k, Mapping):
        missing = [target for target in targets if target not in k]
        if missing:
            raise UserError(f"graph.k gives no number for {len(missing)} targets, for instance {missing[0]}")
        wanted = {target: k[target] for target in targets}
    else:
        wanted = dict.fromkeys(targets, k)
    for number in wanted.values() if isinstance(k, Mapping) else [k]:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UserError(f"graph.k={number!r}: the number of regulators per target must be an integer of at least 1")
        if number > n_tfs:
            raise UserError(f"graph.k={number}: there are only {n_tfs} TFs; set graph.k to {n_tfs} or less")
    return wanted


def _pick(ranked: tuple[str, ...], k: int, strategy: Strategy) -> tuple[str, ...]:
    """Return at most k of the ranked TFs, best first."""
    return {"top": ranked[:k], "bottom": ranked[-k:], "odd": ranked[0::2][:k], "even": ranked[1::2][:k]}[strategy]


def _draw(tfs: Sequence[str], k: int, seed: int, target: str) -> tuple[str, ...]:
    import numpy as np

    drawn = np.random.default_rng(derive_seed(seed, "graph", target)).choice(len(tfs), size=k, replace=False)
    return tuple(tfs[i] for i in sorted(drawn))


def _refuse(table: pd.DataFrame, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        tf, target, importance = table[wrong].iloc[0][COLUMNS]
        raise UserError(
            f"{what}: {tf!r} -> {target!r} with importance {importance} ({wrong.sum()} such edges); remove them"
        )


def _is_own(path: Path) -> bool:
    """Return True for a file of :meth:`GRN.write`: beside it is its provenance or, in a run's folder, its graph."""
    try:
        with path.open(encoding="utf-8") as file:
            of_run = path.name == "grn.tsv" and path.with_name("graph.json").is_file()
            is_ours = of_run or path.with_suffix(".json").is_file()
            return is_ours and file.readline().startswith("\t".join(COLUMNS))
    except (OSError, UnicodeDecodeError):
        return False


def _read_own(path: Path) -> pd.DataFrame:
    """Read a table as text, so that a gene called NA is not read as a missing value."""
    import pandas as pd

    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({' '.join(str(error).split())[:160]})") from error


def _whole(column: pd.Series) -> pd.Series:
    """Convert a column to integers, of which some may be missing."""
    import pandas as pd

    return pd.to_numeric(column.replace("", pd.NA)).astype("Int64")


def _provenance_beside(path: Path) -> dict[str, object]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {"source": path.name}
    try:
        provenance = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{beside.name} beside it is not JSON ({error}); repair or remove it") from error
    return provenance if isinstance(provenance, dict) else {"source": path.name}
