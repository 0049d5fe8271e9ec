"""Score a ranked network against known or curated edges, with a permutation test.

Candidates
    The candidates are all pairs of a TF and a target, where the TF is one that the network could rank (a TF of the
    knowledge base, or every gene without one) and regulates something in the reference, and the target is any gene that
    the network could rank as a target. Self-loops are not candidates. Reference edges between other genes are counted,
    not scored. Candidates that the network does not rank are tied, last.

Permutation test
    The p-value is the share of random references that score as well. A random reference renames the targets, in the
    same way for all TFs, among targets with the same number of regulators. So each TF keeps its number of targets, each
    target keeps its number of regulators, and two TFs keep the number of targets they share, as members of a complex
    do. Without the second, a network would look significant because it and the curators prefer the same highly
    expressed genes; without the third, edges that are copies of each other would count as independent. The cost: a
    target with a unique number of regulators is never renamed, so references in which few targets have many regulators
    give large p-values.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.ranking import PermutationTest, Ranking
from llm4grn.grn.edge_tables import read_edge_file, with_names_of
from llm4grn.grn.signs import SIGN
from llm4grn.inference.base import split_genes
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")

PERMUTATIONS = 1000
METRICS = ("AUROC", "AUPRC", "AUPRC ratio", "early precision", "early precision ratio")


@dataclass(frozen=True)
class ReferenceScores:
    """The scores of a network against a reference.

    Parameters
    ----------
    reference
        Name of the reference.
    reference_edges, edges_at_hand, edges
        Number of edges in the reference; between genes of the data set; among the candidates (E of early precision).
    tfs, targets, candidates, ranked
        Number of TFs, targets and candidate pairs; of candidates that the network ranks.
    values, at_random, by_degrees, p_values
        By metric: the score; the expectation of a random order (for AUPRC: in the limit of many candidates); the mean
        of the network over random references, which keep only the degrees; the permutation p-value. The ratios are
        scores over their value at random, so they share the p-value of the score.
    permutations
        Number of random references behind the p-values: none is below 1 / (permutations + 1).
    """

    reference: str
    reference_edges: int
    edges_at_hand: int
    edges: int
    tfs: int
    targets: int
    candidates: int
    ranked: int
    values: dict[str, float]
    at_random: dict[str, float]
    by_degrees: dict[str, float]
    p_values: dict[str, float]
    permutations: int

    def table(self) -> pd.DataFrame:
        """Return one row per metric: ``metric``, ``value``, ``at_random``, ``by_degrees``, ``p_value``."""
        import pandas as pd

        columns = {"value": self.values, "at_random": self.at_random, "by_degrees": self.by_degrees}
        columns["p_value"] = self.p_values
        return pd.DataFrame({"metric": METRICS} | {name: list(of.values()) for name, of in columns.items()})

    def text(self) -> str:
        """Return the table for the terminal, below a description of what was compared."""
        rows = [
            f"{metric:24}{value:>11.4f}{at_random:>11.4f}{by_degrees:>11.4f}{_p(p, self.permutations):>11}"
            for metric, value, at_random, by_degrees, p in self.table().itertuples(index=False)
        ]
        return "\n".join(
            [
                f"Against {self.reference}: {self.edges} edges among {self.candidates} candidates ({self.tfs} TFs x "
                f"{self.targets} targets), of which the network ranks {self.ranked}",
                f"({self.reference_edges} edges in the reference, {self.edges_at_hand} of them between genes at hand)",
                "",
                f"{'':24}{'value':>11}{'at random':>11}{'by degrees':>11}{'p-value':>11}",
                *rows,
                "",
                "by degrees: mean over random references in which every gene keeps its number of edges; the p-value is",
                f"the share of {self.permutations} of them that score as well",
            ]
        )

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write ``reference_scores_NAME.tsv`` (the table) and ``.json`` (everything): one set for each reference."""
        label = file_label(self.reference)
        paths = {f"scores, {kind}": Path(folder) / f"reference_scores_{label}.{kind}" for kind in ("tsv", "json")}
        with atomic_write(paths["scores, tsv"]) as path:
            self.table().to_csv(path, sep="\t", index=False, lineterminator="\n")
        with atomic_write(paths["scores, json"]) as path:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return paths


def score_against(
    grn: GRN,
    reference: pd.DataFrame,
    genes: Sequence[str],
    tf_names: Sequence[str] | None = None,
    *,
    name: str = "reference",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ReferenceScores:
    """Score a ranked network against reference edges; the module docstring defines candidates and p-values.

    Parameters
    ----------
    grn
        Ranked edges. All importances are compared with each other, also those of different targets.
    reference
        Table with the columns ``TF`` and ``target``; duplicates and self-loops are dropped.
    genes
        All genes of the data set.
    tf_names
        The TFs that the inferer was given; None if every gene was ranked for every other one.
    name
        Name of the reference in tables and messages.
    permutations, seed
        Number of random references for the p-values, and their seed.

    Raises
    ------
    UserError
        If no candidate, or every candidate, is a true edge, so that there is nothing to score.
    """
    import numpy as np

    reference = reference.loc[reference["TF"] != reference["target"], ["TF", "target"]].drop_duplicates()
    tfs, targets = split_genes(genes, tf_names)
    known = set(reference["TF"])
    tfs = [tf for tf in tfs if tf in known]
    at_hand = int((reference["TF"].isin(genes) & reference["target"].isin(genes)).sum())
    true = _positions(reference, tfs, targets)
    candidates = np.array(tfs, dtype=object)[:, None] != np.array(targets, dtype=object)
    if not len(true) or len(true) == candidates.sum():
        raise UserError(
            f"reference={name}: {len(true)} of {int(candidates.sum())} candidate edges are in it ({len(reference)} "
            f"edges, {at_hand} of them between genes at hand), so there is nothing to score; check that it is of the "
            "same organism and has the same kind of gene names"
        )
    ranked = grn.edges[grn.edges["TF"].isin(tfs)].pivot(index="TF", columns="target", values="importance")
    importance = ranked.reindex(index=tfs, columns=targets).to_numpy()[candidates]
    test = PermutationTest(Ranking.of(np.nan_to_num(importance, nan=-np.inf)), candidates, true)
    observed, by_degrees, p_values = test.run(permutations, derive_seed(seed, "reference"))
    prevalence = len(true) / float(candidates.sum())
    return ReferenceScores(
        reference=name,
        reference_edges=len(reference),
        edges_at_hand=at_hand,
        edges=len(true),
        tfs=len(tfs),
        targets=len(targets),
        candidates=int(candidates.sum()),
        ranked=int(np.isfinite(importance).sum()),
        values=_with_ratios(observed, prevalence),
        at_random=_with_ratios((0.5, prevalence, prevalence), prevalence),
        by_degrees=_with_ratios(by_degrees, prevalence),
        p_values=_with_ratios(p_values, 1),
        permutations=permutations,
    )


def file_label(reference: str) -> str:
    """Return what names the files of a reference: its name, or of a path its stem and a digest of the whole path.

    Examples
    --------
    >>> file_label("truth"), file_label("edges/my net.tsv.gz")
    ('truth', 'my_net_f1ecb6')
    """
    if re.fullmatch(r"\w+", reference):
        return reference
    stem = re.sub(r"\W", "_", Path(reference).name.split(".")[0])
    return f"{stem}_{hashlib.sha256(reference.encode()).hexdigest()[:6]}"


def _positions(edges: pd.DataFrame, tfs: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Return rows and columns (n, 2) of the edges from ``tfs`` to ``targets``, in the order of the table."""
    import numpy as np
    import pandas as pd

    rows = pd.Index(tfs).get_indexer(pd.Index(edges["TF"]))
    columns = pd.Index(targets).get_indexer(pd.Index(edges["target"]))
    inside = (rows >= 0) & (columns >= 0)
    return np.stack([rows[inside], columns[inside]], axis=1)


def _with_ratios(statistics: Iterable[float], prevalence: float) -> dict[str, float]:
    """Return the three statistics and their two ratios, by metric."""
    auroc, auprc, early = map(float, statistics)
    return dict(zip(METRICS, (auroc, auprc, auprc / prevalence, early, early / prevalence), strict=True))


def _p(value: float, permutations: int) -> str:
    digits = max(2, math.ceil(math.log10(permutations + 1)))
    return f"{'<= ' if value <= 1 / (permutations + 1) else ''}{value:.{digits}f}"


COLLECTRI = "collectri_human.tsv.gz"
_EXPECTED = "expected a text table with the columns TF and target (or Gene1 and Gene2, source and target), or .gmt"


def load_reference(name: str, source: object = None, folder: str | Path = ".") -> pd.DataFrame:
    """Load the edges that the option ``reference=name`` selects.

    Parameters
    ----------
    name
        ``truth`` for the true graph of simulated data; ``collectri`` for ``collectri_human.tsv.gz`` in ``folder``; else
        the path of a table, see :func:`read_reference`.
    source
        Source of the simulated cells, for ``truth``.
    folder
        Folder of downloaded data (``paths.data``).

    Returns
    -------
    DataFrame
        Columns ``TF`` and ``target`` and, if the source has signs, ``sign``: 1, -1, or 0 where it is not known.

    Raises
    ------
    UserError
        If there are no such edges.
    """
    from llm4grn.data.simulated import true_graph

    if name == "truth":
        true = true_graph(source)
        return true[["TF", "target"]].assign(**{SIGN: (true["weight"] > 0) * 1 - (true["weight"] < 0) * 1})
    path = Path(folder) / COLLECTRI if name == "collectri" else Path(name)
    if name == "collectri" and not path.is_file():
        raise UserError(
            f"reference=collectri: there is no {path}; put the CollecTRI edges there as a table of TF and target, for "
            "instance those of decoupler's op.collectri(organism='human') or OmniPath"
        )
    return read_reference(path.expanduser())


def reference_among(
    reference: pd.DataFrame, genes: Sequence[str], organism: str | None, *, aliases: bool, name: str
) -> tuple[pd.DataFrame, str]:
    """Return reference edges under the names that the genes have in the data, and one line on what became of them.

    Parameters
    ----------
    reference
        Columns ``TF`` and ``target``.
    genes
        All genes of the data set.
    organism
        Organism whose former symbols and aliases are known.
    aliases
        True to match names by case and by other symbols; False to do so only if no edge joins two genes otherwise.
    name
        Name of the reference in messages.

    Raises
    ------
    UserError
        If no edge joins two genes of the data set.
    """
    known = set(genes)

    def at_hand(edges: pd.DataFrame) -> int:
        return int((edges["TF"].isin(known) & edges["target"].isin(known) & (edges["TF"] != edges["target"])).sum())

    line = ""
    if aliases or not at_hand(reference):
        reference, line = with_names_of(reference, genes, organism)
    n = at_hand(reference)
    report = f"reference={name}: {n} of {len(reference)} edges are between genes of the data set{line}"
    if not n:
        raise UserError(f"{report}; check that it is of the same organism and has the same kind of gene names")
    return reference, report


def read_reference(path: str | Path) -> pd.DataFrame:
    """Read reference edges from a file, see :func:`~llm4grn.grn.edge_tables.read_edges`; importances do not matter.

    Returns
    -------
    DataFrame
        Columns ``TF`` and ``target``, as text, and ``sign`` (1, -1, or 0 where it is not known) if the file gives
        signs. Other columns are left out.

    Raises
    ------
    UserError
        If the file cannot be read, or has no such columns or edges.
    """
    try:
        table = read_edge_file(path)
    except UserError as error:
        raise UserError(f"reference={path}: {error}; {_EXPECTED}") from error
    if dropped := table.n_rows - len(table.edges):
        logger.warning(
            "reference=%s: %d of %d rows are used; %d have no name, repeat another, or are of a gene that regulates "
            "itself",
            *(path, len(table.edges), table.n_rows, dropped),
        )
    return table.edges[[name for name in ("TF", "target", SIGN) if name in table.edges]]
