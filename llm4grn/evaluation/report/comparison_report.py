"""The full comparison of finished runs: verdicts with their evidence, tables and figures."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.evaluation.report.html_report import Section, blocks_of
from llm4grn.evaluation.scores.comparison import Loaded, load_runs, score_tables
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.verdicts import Verdict, verdicts
from llm4grn.report.blocks import Block, Table
from llm4grn.results import Result

if TYPE_CHECKING:
    from llm4grn.evaluation.cells.plausibility import Looked
    from llm4grn.evaluation.graphs.perturbation_effects import Screen
    from llm4grn.evaluation.graphs.why import KnockOuts

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class Options:
    """Options of a comparison.

    Parameters
    ----------
    paper
        Whether to show the paper's numbers beside ours.
    references
        References for the ranked edges, each ``collectri``, ``truth`` or the path of a table; cards of edges show the
        first.
    rescore
        Whether to score the saved cells again instead of reading their scores.
    plausibility
        Whether to compare cell types, markers and t-SNE of the synthetic cells.
    celltypist
        CellTypist model file that predicts the types.
    recovery
        Whether to infer networks from the synthetic cells and score them against the imposed graphs.
    perturbation
        Perturbation screen to score the graphs against; None to leave that out.
    seed
        Seed for resampling, permutations, classifiers and embeddings.
    data, store
        Folders of downloaded data and of finished stages.
    knock_outs
        Function that tells the effects of knock-outs in the generators of runs, see
        :data:`~llm4grn.evaluation.graphs.why.KnockOuts`; None to leave them out.
    """

    paper: bool = False
    references: Sequence[str] = ()
    rescore: bool = False
    plausibility: bool = True
    celltypist: Path | None = None
    recovery: bool = False
    perturbation: Screen | None = None
    seed: int = 0
    data: Path = Path("data")
    store: Path = Path("outputs/store")
    knock_outs: KnockOuts | None = None


@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison.

    Parameters
    ----------
    title, subtitle
        Title and subtitle of the report.
    results
        Tidy results of all runs.
    verdict
        One verdict per data set.
    sections
        Sections of tables and figures; the pictures are on disk.
    commands
        Name of each run and the command that made it.
    texts
        Name and content of further files, which are written beside the tables.
    """

    title: str
    subtitle: str
    results: Sequence[Result]
    verdict: Sequence[Verdict]
    sections: Sequence[Section]
    commands: Sequence[tuple[str, str]]
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def blocks(self) -> list[Block]:
        """Return all tables, figures and cards, in the order shown."""
        return [*(entry.figure for entry in self.verdict if entry.figure), *blocks_of(self.sections)]

    @property
    def main_table(self) -> Table:
        """Return the table of scores or, without scores, of graph overlap."""
        tables = [block for block in self.blocks if isinstance(block, Table)]
        return next((table for table in tables if table.name in ("scores", "graph_overlap")), tables[0])


def compare_runs(folders: Sequence[Path], folder: Path, options: Options) -> Comparison:
    """Compare finished runs.

    The pictures are written below ``folder``; ``write_comparison`` writes everything else.

    Parameters
    ----------
    folders
        Folders of finished runs.
    folder
        Output folder of the comparison.
    options
        Options of the comparison.

    Raises
    ------
    UserError
        If a run lacks a file, or the runs, a reference or the CellTypist model cannot be used.
    """
    from llm4grn.evaluation.report.run_check import check_runs
    from llm4grn.evaluation.scores.score_plot import with_figures

    check_runs(folders)
    if options.celltypist is not None:
        from llm4grn.evaluation.cells.celltypist_model import CellTypistModel

        CellTypistModel.read(options.celltypist)  # an invalid file is refused before any work
    figures = Path(folder) / "figures"
    loaded = load_runs(folders, rescore=options.rescore)
    rows = summarise(loaded.results)
    texts: dict[str, str] = {}
    sections = _sections(_parts(folders, figures, options, loaded, texts), f"{len(folders)} runs")
    runs = [row for row in rows if row.source == "run"]
    seeds = sorted({seed for row in runs for seed in row.seeds})
    return Comparison(
        title=f"{', '.join(dict.fromkeys(row.dataset for row in runs))}: {_counted(len(runs), 'setting')} compared",
        subtitle=f"{_counted(len(folders), 'run')}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
        results=loaded.results,
        verdict=with_figures(verdicts(rows), rows, figures),
        sections=sections,
        commands=[(run.name, command) for run in folders if (command := command_of(run))],
        texts=texts,
    )


def compare_graphs(folders: Sequence[Path], folder: Path, options: Options) -> Comparison:
    """Compare folders of ``infer_grn.py``, which have a graph and no scores; arguments as in :func:`compare_runs`."""
    from llm4grn.evaluation.graphs.runs import read_graph_runs

    datasets = dict.fromkeys(run.dataset for run in read_graph_runs(folders))
    texts: dict[str, str] = {}
    sections = _sections(_graph_parts(folders, Path(folder) / "figures", options, texts), f"{len(folders)} graphs")
    title = f"{', '.join(datasets)}: {_counted(len(folders), 'graph')} compared"
    return Comparison(title, "", [], [], sections, [], texts)


_Part = tuple[str, str, Callable[[], Sequence[Block]]]


def _sections(parts: Sequence[_Part], of: str) -> list[Section]:
    """Build the sections, without those that have nothing to show."""
    sections = []
    for title, intro, build in parts:
        logger.info("%s of %s", title[0].lower() + title[1:], of)
        if blocks := build():
            sections.append(Section(title, blocks, intro))
    return sections


def _graph_parts(folders: Sequence[Path], figures: Path, options: Options, texts: dict[str, str]) -> list[_Part]:
    """Return title, question and builder of each section on graphs; a builder adds further files to ``texts``."""

    def graphs() -> Sequence[Block]:
        from llm4grn.evaluation.graphs.tables import graph_blocks

        return graph_blocks(
            folders, figures, options.references, data=options.data, store=options.store, seed=options.seed
        )

    def edges() -> Sequence[Block]:
        from llm4grn.evaluation.graphs.edge_cards import edge_cards

        return edge_cards(
            folders,
            next(iter(options.references), None),
            data=options.data,
            store=options.store,
            knock_outs=options.knock_outs,
        )

    def perturbations() -> Sequence[Block]:
        from llm4grn.evaluation.graphs.perturbation_table import perturbation_tables
        from llm4grn.evaluation.graphs.runs import read_graph_runs

        if options.perturbation is None:
            return []
        tables = perturbation_tables(read_graph_runs(folders), options.perturbation, options.seed)
        texts.update(tables.texts())
        return [tables.table]

    return [
        ("Graphs", "What is imposed on the generator, and how much do the graphs have in common?", graphs),
        ("Edges one by one", "Why these edges? What the language model said, and what the cells say.", edges),
        (
            "Perturbations",
            "Do the targets of a transcription factor change when it is knocked out or repressed?",
            perturbations,
        ),
    ]


def _parts(
    folders: Sequence[Path], figures: Path, options: Options, loaded: Loaded, texts: dict[str, str]
) -> list[_Part]:
    """Return title, question and builder of each section; builders import lazily, so an unused one costs nothing."""

    @cache
    def looked() -> Looked:
        from llm4grn.evaluation.cells.plausibility import look_at

        return look_at(folders, options.store, options.seed, options.celltypist)

    def scores() -> Sequence[Block]:
        shares = looked().of_no_real_type(loaded.models) if options.plausibility else None
        first, *others = score_tables(folders, options.rescore, options.paper, options.seed, loaded, shares)
        if not options.plausibility:
            return [first, *others]
        from llm4grn.evaluation.cells.plausibility import type_tables

        return [first, *type_tables(looked()), *others]

    def imposed() -> Sequence[Block]:
        from llm4grn.evaluation.graphs.dependence import fidelity_table

        blocks: list[Block] = [fidelity_table(folders)]
        if options.recovery:
            from llm4grn.evaluation.graphs.recovery import recovery_blocks

            blocks += recovery_blocks(folders, figures, options.store, seed=options.seed)
        return blocks

    def plausible() -> Sequence[Block]:
        from llm4grn.evaluation.cells.plausibility import plausibility_blocks

        return plausibility_blocks(looked(), figures, options.seed, options.celltypist) if options.plausibility else []

    return [
        ("Scores", "How close do the generated cells come to held-out real cells?", scores),
        *_graph_parts(folders, figures, options, texts),
        ("Imposed edges in the cells", "Do the generated cells show the graph that was imposed on them?", imposed),
        (
            "Biological plausibility",
            "Are the generated cells of real types, in their proportions and with their markers?",
            plausible,
        ),
    ]


def command_of(run: Path) -> str | None:
    """Return the command that made a run, from its report; None if there is no report or no command in it."""
    report = Path(run) / "report.md"
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    match = re.search(r"^## Again\n+```\n(.*?)\n```", text, re.M | re.S)
    return match and match[1]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
