"""A comparison in Weights & Biases: the same tables and figures, as one run of the job type ``comparison``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError
from llm4grn.report.blocks import Cell, Figure, Table

if TYPE_CHECKING:
    from llm4grn.evaluation.report.comparison_report import Comparison
    from llm4grn.tracking.base import Tracker

logger = logging.getLogger("llm4grn")


def check_tracker(tracker: Tracker) -> None:
    """Refuse a tracker that shows no comparisons.

    Raises
    ------
    UserError
    """
    from llm4grn.tracking.base import FilesOnly

    if not isinstance(tracker, FilesOnly) and not _is_wandb(tracker):
        raise UserError("logger: evaluate.py shows comparisons as files or in W&B; use logger=csv or logger=wandb")


def show_in_wandb(tracker: Tracker, comparison: Comparison, name: str, folder: Path) -> None:
    """Open a run, add everything, close it; nothing if ``tracker`` writes files only.

    What goes wrong here is a warning: the files of the comparison are already there.

    Parameters
    ----------
    tracker
        From the configuration.
    comparison
        What to show.
    name
        Of the run.
    folder
        Of the comparison; what is kept offline goes beside it.
    """
    if not _is_wandb(tracker):
        return
    import wandb

    from llm4grn.tracking.wandb import prepare_wandb

    mode = prepare_wandb(tracker.mode, folder.parent / "wandb")
    try:
        with wandb.init(
            project=tracker.project,
            entity=tracker.entity,
            name=name,
            job_type="comparison",
            dir=str(folder.parent),
            mode=mode,
            config={"runs": [run for run, _ in comparison.commands]},
            notes="\n".join(f"{entry.dataset}: {' '.join(entry.answer)}" for entry in comparison.verdict),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, init_timeout=30),
        ) as run:
            to_wandb(run, comparison.blocks)
            logger.info("W&B (%s): %s", mode, run.url if mode == "online" else run.settings.sync_dir)
    except (wandb.Error, OSError) as error:
        logger.warning("W&B: %s: %s; the files are complete", type(error).__name__, " ".join(str(error).split()))


def to_wandb(run: Any, blocks: Iterable[Table | Figure]) -> None:
    """Log every block once, tables under ``tables/NAME`` and figures under ``figures/NAME``.

    Parameters
    ----------
    run
        An open W&B run.
    blocks
        What to show.
    """
    import wandb

    shown: dict[str, Any] = {}
    for block in blocks:
        if isinstance(block, Figure):
            shown[f"figures/{block.path.stem}"] = wandb.Image(
                str(block.path), caption=f"{block.title}. {block.caption}"
            )
        else:
            columns, data = numbers_and_words(block)
            shown[f"tables/{block.name}"] = wandb.Table(columns=columns, data=data)
    run.log(shown)


def numbers_and_words(table: Table) -> tuple[list[str], list[list[str | float | None]]]:
    """Columns of one type each, as W&B wants them: a column with values also keeps its texts, where they say more.

    Returns
    -------
    Names, each once, and rows.
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in table.rows]
    columns: dict[str, list[str | float | None]] = {}
    for number, label in enumerate(table.header):
        name = label if label and label not in columns else f"{label} {number + 1}".strip()
        own = [row[number] for row in cells]
        if any(cell.value is not None for cell in own):
            columns[name] = [cell.value for cell in own]
            if any("±" in cell.text for cell in own):
                columns[f"{name} (mean ± std)"] = [cell.text for cell in own]
        else:
            columns[name] = [cell.text for cell in own]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _is_wandb(tracker: Tracker) -> bool:
    return type(tracker).__name__ == "WeightsAndBiases"
