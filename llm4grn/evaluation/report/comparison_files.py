"""Write a comparison to files, and to an HTML page that shows them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.evaluation.report.comparison_report import Comparison
from llm4grn.evaluation.report.html_report import write_html
from llm4grn.evaluation.report.run_report import installed_versions
from llm4grn.report.blocks import Block, Cards, Figure, Table
from llm4grn.report.renderers import RENDERERS, to_markdown
from llm4grn.results import to_csv
from llm4grn.store import atomic_write


def write_comparison(comparison: Comparison, folder: Path, command: str, html: bool = True) -> dict[str, Path]:
    """Write ``comparison.md``, ``comparison.csv`` (tidy results), each table in several formats, and ``report.html``.

    Further files of the comparison are written beside the tables.

    Tables and figures of an earlier comparison that are not part of this one are removed.

    Parameters
    ----------
    comparison
        Comparison from ``compare_runs``, with the same ``folder``.
    folder
        Output folder.
    command
        Command that reproduces the comparison.
    html
        Whether to write the page.

    Returns
    -------
    Description of each file to its path.

    Raises
    ------
    UserError
        If the folder is that of a run.
    """
    folder = Path(folder)
    if (folder / "results.json").exists():
        raise UserError(f"{folder}: this is the folder of a run; give the comparison another name")
    texts = {"table": ("comparison.md", _markdown(comparison, folder))}
    if comparison.results:
        texts["tidy"] = "comparison.csv", to_csv(comparison.results)
    tables = [_table(block) for block in comparison.blocks if not isinstance(block, Figure)]
    rendered = [
        (f"tables/{table.name}{ending}", render(table)) for table in tables for ending, render in RENDERERS.items()
    ]
    rendered += [(f"tables/{name}", text) for name, text in comparison.texts.items()]
    for name, text in [*texts.values(), *rendered]:
        with atomic_write(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    kept = {folder / name for name, _ in rendered}
    _remove_others(folder, kept | {block.path for block in comparison.blocks if isinstance(block, Figure)})
    files = {what: folder / name for what, (name, _) in texts.items()}
    files |= {"tables": folder / "tables", "figures": folder / "figures"}
    page = folder / "report.html"
    if not html:
        page.unlink(missing_ok=True)
        return files
    commands = [*comparison.commands, ("this report", command)]
    shown = (comparison.title, comparison.verdict, comparison.sections, commands, installed_versions())
    return {**files, "report": write_html(page, *shown, subtitle=comparison.subtitle)}


def _remove_others(folder: Path, kept: Collection[Path]) -> None:
    endings = {*RENDERERS, ".png", ".tsv"}
    for path in [*(folder / "tables").rglob("*"), *(folder / "figures").rglob("*")]:
        if path.suffix in endings and path.is_file() and path not in kept:
            path.unlink()


def _markdown(comparison: Comparison, folder: Path) -> str:
    parts = [f"# {comparison.title}", comparison.subtitle]
    for entry in comparison.verdict:
        parts += [f"## {entry.dataset}", *entry.answer, _shown(entry.figure, folder) if entry.figure else ""]
        if entry.details:
            parts += ["### What this rests on", "\n".join(f"- {detail}" for detail in entry.details)]
    for section in comparison.sections:
        parts += [f"## {section.title}", section.intro, *(_shown(block, folder) for block in section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(block: Table | Cards) -> Table:
    return block.table if isinstance(block, Cards) else block


def _shown(block: Block, folder: Path) -> str:
    if not isinstance(block, Figure):
        return to_markdown(_table(block)).rstrip()
    link = block.path.relative_to(folder).as_posix()
    return f"**{block.title}**\n\n![{block.title}]({link})\n\n{block.caption}"
