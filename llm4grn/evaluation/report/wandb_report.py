"""Show a comparison in Weights & Biases: the same tables and figures, as one run of the job type ``comparison``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from llm4grn.errors import UserError
from llm4grn.report.blocks import Block, Cards, Cell, Figure, Table

if TYPE_CHECKING:
    from llm4grn.evaluation.report.comparison_report import Comparison
    from llm4grn.tracking.base import Tracker

logger = logging.getLogger("llm4grn")


def check_tracker(tracker: Tracker) -> None:
    """Raise UserError if the tracker cannot show comparisons.

    Raises
    ------
    UserError
        If the tracker is neither ``csv`` nor ``wandb``.
    """
    from llm4grn.tracking.base import FilesOnly
    from llm4grn.tracking.wandb import WeightsAndBiases

    if not isinstance(tracker, (FilesOnly, WeightsAndBiases)):
        raise UserError("logger: evaluate.py shows comparisons as files or in W&B; use logger=csv or logger=wandb")


def show_in_wandb(tracker: Tracker, comparison: Comparison, name: str, folder: Path) -> None:
    """Open a W&B run, log the comparison, close the run; do nothing if ``tracker`` writes files only.

    An error of W&B becomes a warning, because the files of the comparison are complete without it.

    Parameters
    ----------
    tracker
        Tracker of the configuration.
    comparison
        Comparison to show.
    name
        Name of the run.
    folder
        Folder of the comparison; offline runs are kept beside it.
    """
    from llm4grn.tracking.wandb import WeightsAndBiases, prepare_wandb

    if not isinstance(tracker, WeightsAndBiases):
        return
    import wandb

    mode = prepare_wandb(tracker.mode, folder.parent / "wandb")
    try:
        with wandb.init(
            project=tracker.project,
            entity=tracker.entity,
            name=name,
            job_type="comparison",
            dir=str(folder.parent),
            mode=cast(Literal["online", "offline"], mode),  # or whatever WANDB_MODE says, which W&B checks
            config={"runs": [run for run, _ in comparison.commands]},
            notes="\n".join(f"{entry.dataset}: {' '.join(entry.answer)}" for entry in comparison.verdict),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, init_timeout=30),
        ) as run:
            to_wandb(run, comparison.blocks)
            logger.info("W&B (%s): %s", mode, run.url if mode == "online" else run.settings.sync_dir)
    except (wandb.Error, OSError) as error:
        logger.warning("W&B: %s: %s; the files are complete", type(error).__name__, " ".join(str(error).split()))


def to_wandb(run: Any, blocks: Iterable[Block]) -> None:
    """Log every block once, tables under ``tables/NAME`` and figures under ``figures/NAME``.

    Parameters
    ----------
    run
        An open W&B run.
    blocks
        Tables and figures to log.
    """
    import wandb

    shown: dict[str, Any] = {}
    for block in blocks:
        if isinstance(block, Figure):
            shown[f"figures/{block.path.stem}"] = wandb.Image(
                str(block.path), caption=f"{block.title}. {block.caption}"
            )
        else:
            columns, data = numbers_and_words(block.table if isinstance(block, Cards) else block)
            shown[f"tables/{block.name}"] = wandb.Table(columns=[*columns], data=[*data])
    run.log(shown)


def numbers_and_words(table: Table) -> tuple[list[str], list[list[str | float | None]]]:
    """Split a table into columns of one type each, as W&B requires; a column of means also keeps its texts.

    Returns
    -------
    Unique column names, and rows.
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
