"""Compare finished runs: a verdict in words, tables, figures, and one page that shows them all."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from llm4grn.cli.config import command, instantiate
from llm4grn.cli.main import run
from llm4grn.cli.program import plain
from llm4grn.errors import UserError

if TYPE_CHECKING:
    from llm4grn.evaluation.graphs.perturbation_effects import Screen

FLAGS = ("paper", "rescore", "plausibility", "recovery", "html")


def evaluate(cfg: DictConfig) -> Path:
    """Compare the runs that ``cfg.runs`` matches, and return the folder of the comparison."""
    patterns, references = checked_patterns(cfg), checked_references(cfg)
    folder = Path(cfg.paths.outputs) / cfg.name
    screen = checked_screen(cfg)
    tracker = instantiate(cfg.logger)

    from llm4grn.evaluation.report.wandb_report import check_tracker, show_in_wandb
    from llm4grn.evaluation.scores.comparison import find_runs, is_scored

    check_tracker(tracker)
    folders = find_runs(patterns)
    for reference in references:
        if reference != "truth":
            from llm4grn.evaluation.graphs.reference import load_reference

            load_reference(reference, folder=cfg.paths.data)  # reports a wrong path before any scoring

    from llm4grn.evaluation.report.comparison_files import write_comparison
    from llm4grn.evaluation.report.comparison_report import Options, compare_graphs, compare_runs
    from llm4grn.evaluation.scores.verdicts import text_of
    from llm4grn.gan.knock_outs import knock_outs
    from llm4grn.report.renderers import to_terminal

    options = Options(
        **{name: cfg[name] for name in ("paper", "rescore", "plausibility", "recovery", "seed")},
        references=references,
        celltypist=cfg.celltypist and Path(cfg.celltypist),
        perturbation=screen,
        data=Path(cfg.paths.data),
        store=Path(cfg.paths.store),
        knock_outs=knock_outs,
    )
    comparison = (compare_runs if is_scored(folders[0]) else compare_graphs)(folders, folder, options)
    files = write_comparison(comparison, folder, command(), html=cfg.html)
    if comparison.verdict:
        print(f"\n{text_of(comparison.verdict, details=not cfg.html)}\n")
    if comparison.verdict and cfg.html:
        print(f"What this rests on, the picture and all tables: {files['report']}\n")
    print(to_terminal(comparison.main_table))
    show_in_wandb(tracker, comparison, cfg.name, folder)
    for what, path in files.items():
        print(f"{what:8} {path}")
    return folder


def checked_patterns(cfg: DictConfig) -> list[str]:
    """Check every option but references and screen, and return the patterns of runs.

    Raises
    ------
    UserError
        If an option has an invalid value.
    """
    for flag in FLAGS:
        if not isinstance(cfg[flag], bool):
            raise UserError(f"{flag}={cfg[flag]}: expected true or false")
    if not isinstance(cfg.seed, int) or isinstance(cfg.seed, bool) or cfg.seed < 0:
        raise UserError(f"seed={cfg.seed}: expected a whole number, 0 or more")
    if not isinstance(cfg.name, str) or not re.fullmatch(r"\w[\w.+=-]*", cfg.name):
        raise UserError(f"name={cfg.name}: expected the name of a folder below paths.outputs, for instance name=table1")
    folder = Path(cfg.paths.outputs) / cfg.name
    # comparison.csv holds scores, and graphs alone have none.
    written = any((folder / name).is_file() for name in ("comparison.csv", "comparison.md"))
    earlier = folder.is_dir() and (written or not any(folder.iterdir()))
    if (folder.exists() and not earlier) or folder.absolute() == Path(cfg.paths.store).absolute():
        raise UserError(f"name={cfg.name}: {folder} is no comparison; choose another name")
    if not (cfg.celltypist is None or (isinstance(cfg.celltypist, str) and cfg.celltypist)):
        raise UserError(f"celltypist={cfg.celltypist}: expected the path of a file")
    if cfg.celltypist is not None and not Path(cfg.celltypist).is_file():
        raise UserError(f"celltypist={cfg.celltypist}: there is no such file; give a model that celltypist downloaded")
    patterns: list[object] = plain(cfg.runs) if OmegaConf.is_list(cfg.runs) else [cfg.runs]
    if wrong := [pattern for pattern in patterns if not isinstance(pattern, str | int) or isinstance(pattern, bool)]:
        raise UserError(f"runs={wrong[0]}: expected a folder of a run, a pattern like 'outputs/*', or a list of them")
    return [str(pattern) for pattern in patterns]


def checked_references(cfg: DictConfig) -> tuple[str, ...]:
    """Return the references to score ranked edges against, one or a list, each once.

    Raises
    ------
    UserError
        If one is no text.
    """
    given: list[object] = plain(cfg.reference) if OmegaConf.is_list(cfg.reference) else [cfg.reference]
    names = [name for name in given if name is not None]
    if wrong := [name for name in names if not isinstance(name, str) or not name]:
        raise UserError(f"reference={wrong[0]}: expected the path of a file, or a list of them")
    return tuple(dict.fromkeys(str(name) for name in names))


def checked_screen(cfg: DictConfig) -> Screen | None:
    """Return the perturbation screen, whose columns and labels have been read; None if there is none.

    Raises
    ------
    UserError
        If a field has an invalid value, or the file cannot be used.
    """
    fields = plain(cfg.perturbation)
    if fields["path"] is None:
        return None
    from llm4grn.evaluation.graphs.perturbation_effects import Screen

    # A label that is a number in YAML is a text in the file.
    labels = {
        name: str(fields[name]) if isinstance(fields[name], int) else fields[name] for name in ("column", "control")
    }
    screen = Screen(**{**fields, **labels})
    screen.check()
    return screen


def with_path(word: str) -> str:
    """Return an argument of the command, with ``perturbation=FILE`` written in full.

    ``perturbation`` is a group of fields, and Hydra would replace the group by the text.

    Examples
    --------
    >>> with_path("perturbation=screen.h5ad"), with_path("perturbation.column=gene")
    ('perturbation.path=screen.h5ad', 'perturbation.column=gene')
    """
    return re.sub(r"^perturbation=(?!\{)", "perturbation.path=", word)


def main() -> None:
    """Run ``python evaluate.py``."""
    sys.argv[1:] = map(with_path, sys.argv[1:])
    run(evaluate, "evaluate")
