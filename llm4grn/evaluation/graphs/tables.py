"""Tables of the imposed graphs and their overlap: the paper's Tables 3, 5, 6 and Figure 2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean

from llm4grn.evaluation.graphs.calibration_figure import calibration_blocks
from llm4grn.evaluation.graphs.overlap import Overlap, overlaps
from llm4grn.evaluation.graphs.plots import out_degrees, plot_all_degrees, plot_overlaps
from llm4grn.evaluation.graphs.predictive_table import predictive_tables
from llm4grn.evaluation.graphs.reference import file_label
from llm4grn.evaluation.graphs.reference_table import reference_table
from llm4grn.evaluation.graphs.regression_table import regression_table
from llm4grn.evaluation.graphs.runs import GraphRun, by_setting, file_name, over_seeds, read_graph_runs
from llm4grn.evaluation.graphs.sign_table import sign_table
from llm4grn.report.blocks import Cell, Figure, Table

HUBS = 5
_SETTING = ("Data set", "KB", "Inferer")


def graph_blocks(
    folders: Sequence[Path],
    figures: Path,
    references: Sequence[str] = (),
    *,
    data: str | Path = "data",
    store: Path | None = None,
    seed: int = 0,
) -> list[Table | Figure]:
    """Build all tables and figures about the graphs of finished runs.

    Parameters
    ----------
    folders
        Folders of ``train.py`` or ``infer_grn.py``.
    figures
        Folder for the PNGs.
    references
        References for the ranked edges, each ``truth``, ``collectri`` or the path of a table.
    data
        Folder of downloaded data (``paths.data``), for ``collectri``.
    store
        Folder of finished stages (``paths.store``) with the training cells; None to leave out what needs them.
    seed
        Seed for the permutations, and for the groups of cells of the regression score.

    Raises
    ------
    UserError
        If a folder holds no graph, or a reference cannot be read or used for any of them.
    """
    runs = read_graph_runs(folders)
    compared = overlaps(runs)
    blocks: list[Table | Figure] = [density_table(runs)]
    if shared := tf_overlap_table(runs):
        blocks.append(shared)
    if compared:
        blocks += [overlap_table(compared), *_overlap_figures(compared, figures)]
    blocks += [*_degree_figures(runs, figures), hub_table(runs)]
    blocks += predictive_tables(runs, store)
    if (regression := regression_table(runs, seed)) is not None:
        blocks.append(regression)
    for reference in references:
        label = f"_{file_label(reference)}" if len(references) > 1 else ""
        blocks.append(reference_table(runs, reference, data=data, seed=seed, name=f"graph_reference{label}"))
        blocks += calibration_blocks(runs, reference, figures, data=data, name=f"graph_calibration{label}")
    if signs := sign_table(runs, references, data=data, store=store):
        blocks.append(signs)
    return blocks


def density_table(runs: Sequence[GraphRun]) -> Table:
    """Tabulate TFs, targets and edges per data set and KB (Tables 3 and 6 of the paper).

    Inferers with equal numbers share a row.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`.
    """
    inferers: dict[tuple, list[str]] = {}
    for (dataset, kb, inferer), members in by_setting(runs).items():
        sizes = [_sizes(run) for run in members]
        numbers = [over_seeds([of[name] for of in sizes], 4 if name == "Density" else 0) for name in sizes[0]]
        inferers.setdefault((dataset, kb, Cell(str(len(sizes)), len(sizes)), *numbers), []).append(inferer)
    rows = [[dataset, kb, " · ".join(names), *numbers] for (dataset, kb, *numbers), names in inferers.items()]
    notes = [
        "Density = imposed edges / possible edges = TFs x targets, without those of a TF onto itself where TFs are "
        "targets too.",
        "Mean ± standard deviation where the graphs of a row (one per seed) differ.",
    ]
    header = [*_SETTING, "Graphs", *_sizes(runs[0])]
    return Table("graph_density", "Density of the imposed graphs", header, rows, len(_SETTING), notes)


def _sizes(run: GraphRun) -> dict[str, float]:
    graph, tfs = run.causal_graph, set(run.tf_names)
    possible = len(tfs) * len(graph.targets) - len(tfs.intersection(graph.targets))
    return {
        "TFs": len(tfs),
        "Targets": len(graph.targets),
        "Genes": len(graph.genes),
        "Possible edges": possible,
        "Imposed edges": graph.n_edges,
        "Density": graph.n_edges / possible if possible else 0.0,
    }


def tf_overlap_table(runs: Sequence[GraphRun]) -> Table | None:
    """Tabulate the TFs that two KBs share among the same genes (Table 5 of the paper); None without two KBs."""
    rows: list[list[Cell | str]] = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        named = _tfs_by_kb([run for run in runs if run.dataset == dataset])
        for a, b in combinations(named, 2):
            if not (seeds := sorted(named[a].keys() & named[b].keys())):
                continue
            pairs = [(named[a][seed], named[b][seed]) for seed in seeds]
            counts = [over_seeds([len(part) for part in parts], 0) for parts in zip(*pairs, strict=True)]
            shared = [len(one & other) for one, other in pairs]
            shares = [over_seeds([len(pair[0] & pair[1]) / len(pair[i]) for pair in pairs], 1, 100) for i in (0, 1)]
            rows.append([dataset, a, b, str(len(seeds)), *counts, over_seeds(shared, 0), *shares])
    if not rows:
        return None
    header = ["Data set", "KB A", "KB B", "Seeds", "TFs of A", "TFs of B", "Shared", "% of A", "% of B"]
    notes = [
        "Both KBs looked at the same genes: those of one seed's split. The paper's % overlap is that of A, its human "
        "list."
    ]
    return Table("tf_overlap", "TFs that two knowledge bases share", header, rows, 3, notes)


def _tfs_by_kb(runs: Sequence[GraphRun]) -> dict[str, dict[int, set[str]]]:
    """Return KB to seed to TFs; if the TFs depend on the inferer (``kb=none``), the key names it too."""
    sets = {(run.kb, run.seed, run.tf_names) for run in runs}
    several = {kb for (kb, _), count in Counter((kb, seed) for kb, seed, _ in sets).items() if count > 1}
    named: dict[str, dict[int, set[str]]] = {}
    for run in runs:
        name = f"{run.kb}, {run.setting[2]}" if run.kb in several else run.kb
        named.setdefault(name, {}).setdefault(run.seed, set(run.tf_names))
    return named


def overlap_table(compared: Sequence[Overlap]) -> Table:
    """Tabulate the overlap of the graphs of each two settings, and of each setting's own graphs."""
    rows: list[list[Cell | str]] = []
    for each in compared:
        (dataset, *a), (_, *b) = each.a, each.b
        pair = ["itself, other seed" if each.a == each.b else " · ".join(b), str(len(each.values))]
        cells = "same" if each.same_cells else "other split"
        numbers = [
            over_seeds(each.values, 3),
            Cell(f"{each.chance:.3f}", each.chance),
            Cell(f"{each.targets:.0f}", each.targets),
        ]
        rows.append([dataset, " · ".join(a), pair[0], cells, pair[1], *numbers])
    header = ["Data set", "Graph", "With", "Cells", "Pairs", "Overlap", "By chance", "Targets"]
    return Table("graph_overlap", "Overlap of the imposed graphs", header, rows, 4, overlap_notes(compared))


def overlap_notes(compared: Sequence[Overlap]) -> list[str]:
    """Return the notes that explain the overlaps."""
    notes = [
        "Overlap = mean over targets of the Jaccard index of their two sets of regulators; mean ± standard deviation "
        "over pairs of graphs. By chance: expected of random graphs with as many regulators per target.",
    ]
    if any(each.a == each.b for each in compared):
        notes.append("A setting with itself: how much of its graph another seed finds again.")
    if not all(each.same_cells for each in compared):
        notes.append(
            "Other split: the seeds also change the training cells, and can change the highly variable genes; such "
            "graphs are compared on the genes both have. Their overlap is no measure of the inference alone."
        )
    return notes


def hub_table(runs: Sequence[GraphRun]) -> Table:
    """Tabulate the TFs with the most targets, per setting."""
    rows: list[list[Cell | str]] = []
    for setting, members in by_setting(runs).items():
        degrees = [out_degrees(run.causal_graph) for run in members]
        shares = [
            {tf: n / run.causal_graph.n_edges for tf, n in of.items()} for run, of in zip(members, degrees, strict=True)
        ]
        mean = {tf: fmean(of.get(tf, 0.0) for of in shares) for tf in {tf for of in shares for tf in of}}
        for tf in sorted(mean, key=lambda tf: (-mean[tf], tf))[:HUBS]:
            n_targets = [of[tf] for of in degrees if tf in of]
            graphs = Cell(f"{len(n_targets)} of {len(members)}", len(n_targets) / len(members))
            rows.append([*setting, tf, graphs, over_seeds(n_targets, 0), Cell(f"{100 * mean[tf]:.1f}", 100 * mean[tf])])
    notes = [
        f"The {HUBS} TFs with the largest share of a setting's edges, mean over its graphs; a graph without the TF "
        "(another seed can have other highly variable genes) counts as a share of 0. Targets: mean over the graphs "
        "that have it."
    ]
    header = [*_SETTING, "TF", "In graphs", "Targets", "% of edges"]
    return Table("graph_hubs", "Hubs of the imposed graphs", header, rows, 4, notes)


def _overlap_figures(compared: Sequence[Overlap], figures: Path) -> list[Figure]:
    blocks = []
    for dataset in dict.fromkeys(each.a[0] for each in compared):
        own = [each for each in compared if each.a[0] == dataset]
        path = plot_overlaps(own, figures / f"graph_overlap_{file_name(dataset)}.png")
        caption = (
            "As in the table: mean over targets of the Jaccard index of their regulators in two graphs, 0 = no "
            "regulator shared, 1 = the same graph. On the diagonal, a setting with itself, other seeds; * other split."
        )
        blocks.append(Figure(f"Overlap of the graphs of {dataset}", path, caption))
    return blocks


def _degree_figures(runs: Sequence[GraphRun], figures: Path) -> list[Figure]:
    blocks = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        graphs = {
            " · ".join(setting[1:]): [run.causal_graph for run in members]
            for setting, members in by_setting(runs).items()
            if setting[0] == dataset
        }
        path = plot_all_degrees(graphs, figures / f"graph_degrees_{file_name(dataset)}.png")
        caption = (
            "Left: one dot per TF and graph, by the share of targets it regulates; the bar is the median, and the TF "
            "with the most targets is named. Right: share of the targets that have so many regulators; the larger the "
            "dot, the larger the share. Graphs of several seeds are drawn together."
        )
        blocks.append(Figure(f"Degrees of the graphs of {dataset}", path, caption))
    return blocks
