"""Recovery of the imposed graph: infer a GRN from the generated cells and compare it with the one imposed on them."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from llm4grn.data.readers import digest
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.recovery_score import Recovery, score_recovery
from llm4grn.evaluation.graphs.runs import GraphRun, file_name, over_seeds, read_graph_runs
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.inference.correlation import Correlation
from llm4grn.inference.genie3 import GENIE3
from llm4grn.inference.grnboost2 import GRNBoost2
from llm4grn.inference.pidc import PIDC
from llm4grn.report.blocks import Cell, Figure, Table
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import Stage, Store, atomic_write

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger("llm4grn")

CELLS = ("synthetic", "real")
INFERERS = ("grnboost2", "correlation", "genie3", "pidc")
_GENIE3_TREES = 20

_Inferer: TypeAlias = GRNBoost2 | Correlation | GENIE3 | PIDC


@dataclass(frozen=True)
class _Group:
    """The runs of one setting and model: inferer and kind of cells to the recovery of each run."""

    label: tuple[str, str, str, str]
    recoveries: dict[tuple[str, str], list[Recovery]]


def recovery_blocks(
    folders: Sequence[Path],
    figures: Path,
    store: Path | None = None,
    inferers: Sequence[str] = ("grnboost2", "correlation"),
    *,
    samples: int = 1,
    seed: int = 0,
    n_jobs: int = -1,
) -> list[Table | Figure]:
    """Infer a network from each run's synthetic cells and TFs, and compare it with the graph that was imposed.

    Parameters
    ----------
    folders
        Folders of finished runs; those without synthetic cells are left out.
    figures
        Folder for the PNGs.
    store
        Folder of finished stages, from which earlier recoveries are read; None computes all of them.
    inferers
        Some of ``INFERERS``.
    samples
        Number of a run's synthetic sets that are pooled.
    seed, n_jobs
        Seed and number of workers for the inferers; the number of workers changes only the time.

    Raises
    ------
    UserError
        If an inferer is unknown, or cells are missing or have other genes than the graph.
    """
    unknown = sorted(set(inferers) - set(INFERERS))
    if unknown or not inferers:
        raise UserError(f"recovery: {', '.join(unknown) or 'no inferer'}; choose some of {', '.join(INFERERS)}")
    with_cells = [Path(folder) for folder in folders if (Path(folder) / "synthetic_0.h5ad").is_file()]
    if not with_cells:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        kept = Store(Path(scratch) if store is None else Path(store))
        groups = _recover_all(read_graph_runs(with_cells, distinct=False), kept, inferers, samples, seed, n_jobs)
    return [recovery_table(groups, samples), *_curve_figures(groups, inferers, figures)]


def _recover_all(
    runs: Sequence[GraphRun], store: Store, inferers: Sequence[str], samples: int, seed: int, n_jobs: int
) -> list[_Group]:
    from llm4grn.runtime.progress import progress

    groups: dict[tuple, _Group] = {}
    for run in progress(runs, desc="recovering the imposed graphs", unit="run"):
        label = (*run.setting, str((run.config.get("model") or {}).get("name", "")))
        group = groups.setdefault(label, _Group(label, {}))
        files = {"synthetic": [run.folder / f"synthetic_{i}.h5ad" for i in range(samples)]}
        files["real"] = [run.folder / "test.h5ad"]
        for name in inferers:
            for kind in CELLS:
                with _quiet():
                    inferer_seed = derive_seed(seed, "recovery", name)
                    recovery = _recover(run, files[kind], _inferer(name, n_jobs), store, inferer_seed)
                group.recoveries.setdefault((name, kind), []).append(recovery)
    return list(groups.values())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the store and the inferers: the table has a column for the genes about which they warn."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _inferer(name: str, n_jobs: int) -> _Inferer:
    constructors: dict[str, Callable[[], _Inferer]] = {
        "grnboost2": lambda: GRNBoost2(n_jobs=n_jobs),
        "correlation": Correlation,
        "genie3": lambda: GENIE3(n_trees=_GENIE3_TREES, n_jobs=n_jobs),
        "pidc": PIDC,
    }
    return constructors[name]()


def _recover(run: GraphRun, files: Sequence[Path], inferer: _Inferer, store: Store, seed: int) -> Recovery:
    """Compute the recovery from the pooled cells in ``files``, or read it from the store."""
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise UserError(f"{missing[0]}: no such file; the run has fewer sets of cells, or was not finished")

    def build(folder: Path) -> None:
        graph = run.causal_graph
        grn = inferer.infer(_read_cells(files, graph), run.tf_names, seed)
        with atomic_write(folder / "recovery.json") as path:
            path.write_text(json.dumps(asdict(score_recovery(grn, graph, run.tf_names))) + "\n")

    settings = {field.name: getattr(inferer, field.name) for field in fields(inferer) if field.compare}
    args = {"inferer": {"class": type(inferer).__name__, **settings}, "seed": seed}
    inputs = {f"cells_{i}": digest(path) for i, path in enumerate(files)}
    graph = {name: digest(run.folder / f"{name}.json") for name in ("graph", "tfs")}
    stage = Stage("recovery", 1, args, {**graph, **inputs})
    content = json.loads((store.get_or_run(stage, build) / "recovery.json").read_text())
    curve = {name: tuple(content[name]) for name in ("recall", "precision")}
    return Recovery(**content | curve)


def _read_cells(files: Sequence[Path], graph: CausalGraph) -> AnnData:
    import anndata

    sets = [anndata.read_h5ad(path) for path in files]
    for path, cells in zip(files, sets, strict=True):
        if tuple(cells.var_names) != graph.genes:
            raise UserError(f"{path}: its genes are not those of graph.json beside it; train the run again")
    return sets[0] if len(sets) == 1 else anndata.concat(sets, index_unique="-")


def recovery_table(groups: Sequence[_Group], samples: int) -> Table:
    """Tabulate the recovery from synthetic and from real cells, one row per setting and inferer."""
    rows: list[list[Cell | str]] = []
    for group in groups:
        for name in dict.fromkeys(name for name, _ in group.recoveries):
            synthetic, real = (group.recoveries[name, kind] for kind in CELLS)
            chance = fmean(each.random_precision for each in synthetic)
            numbers = [over_seeds([each.precision_at_k for each in own], 3) for own in (synthetic, real)]
            numbers.append(Cell(f"{chance:.3f}", chance))
            numbers += [over_seeds([each.auprc for each in own], 3) for own in (synthetic, real)]
            numbers += [over_seeds([each.auprc / each.random_auprc for each in own], 2) for own in (synthetic, real)]
            numbers.append(over_seeds([each.silent for each in synthetic], 1, 100))
            rows.append([*group.label, name, Cell(str(len(synthetic)), len(synthetic)), *numbers])
    header = [
        *("Data set", "KB", "Inferer of the graph", "Model", "Recovered by", "Runs"),
        *(f"Precision at k, {cells}" for cells in (*CELLS, "random")),
        *(f"{metric}, {cells}" for metric in ("AUPRC", "AUPRC ratio") for cells in CELLS),
        "% of targets silent, synthetic",
    ]
    return Table("graph_recovery", "Recovery of the imposed graph", header, rows, 5, _notes(samples))


def _notes(samples: int) -> list[str]:
    sets = "One set of synthetic cells"
    if samples > 1:
        sets = f"{samples} sets of synthetic cells together (several times the cells of the real set)"
    return [
        f"{sets}, or the real test cells, go to an inferer with the TFs of the imposed graph. Precision at k: "
        "share of a target's imposed regulators among its k best ranked, k their number. AUPRC ratio: over its value "
        "at random, 1 = chance. Mean ± standard deviation over runs.",
        "Real: how much of the imposed graph shows in real cells anyway. For a graph that was inferred from real "
        "cells, this is no chance level; for a random graph it is. Synthetic above real: the generator obeys.",
        "Silent: targets for which the inferer finds nothing, mostly genes that no synthetic cell expresses; their "
        "TFs are tied, last.",
    ]


def _curve_figures(groups: Sequence[_Group], inferers: Sequence[str], figures: Path) -> list[Figure]:
    from llm4grn.evaluation.graphs.plots import plot_curves

    blocks = []
    for dataset in dict.fromkeys(group.label[0] for group in groups):
        own = {" · ".join(filter(None, group.label[1:])): group for group in groups if group.label[0] == dataset}
        for name in inferers:
            panels = {label: {kind: group.recoveries[name, kind] for kind in CELLS} for label, group in own.items()}
            path = plot_curves(panels, figures / f"graph_recovery_{file_name(dataset)}_{name}.png")
            caption = (
                f"Precision against recall of the imposed edges, as {name} ranks them: from synthetic cells, and from "
                "the real test cells. One line per run. Dashed: a random order. The higher, the more is found."
            )
            blocks.append(Figure(f"Recovery of the graphs of {dataset} by {name}", path, caption))
    return blocks
