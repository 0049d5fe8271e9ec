"""The command ``llm4grn``: one subcommand for each script."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from llm4grn import __version__
from llm4grn.cli.program import mark_as_installed

#: Subcommand -> (module of :mod:`llm4grn.cli`, line in the help).
COMMANDS = {
    "train": ("train", "from raw counts to a scored causal simulation"),
    "infer-grn": ("infer_grn", "the network and the graph to impose; no training"),
    "evaluate": ("evaluate", "compare finished runs: verdict, tables, one page"),
    "perturb": ("perturb", "knock out or set genes in the cells of a finished run"),
    "generate": ("generate", "any number of cells from a finished run"),
    "grn": ("grn", "compare network files, convert pickled ones, ask why an edge is there"),
    "adjacencies": ("adjacencies", "SCENIC's first step: what pyscenic grn does, for pyscenic ctx"),
    "answers": ("answers", "the kept answers of language models: costs, export, import"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the subcommand that the first argument names; the scripts take Hydra's ``field=value`` as further arguments.

    Parameters
    ----------
    arguments
        Command-line arguments without the program name; None reads them from ``sys.argv``.
    """
    mark_as_installed()
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = _parser().parse_args(words[:1]).command
    if command is None:
        _parser().print_help()
        sys.exit(2)
    module = import_module(f"llm4grn.cli.{COMMANDS[command][0]}")
    sys.argv = [f"llm4grn {command}", *words[1:]]
    module.main()


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:11} {line}" for name, (_, line) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "llm4grn",
        usage="llm4grn COMMAND [field=value ...]",
        description="Can a large language model draw a gene regulatory network?",
        epilog=f"commands:\n{lines}\n\nllm4grn COMMAND --help says more; results go below the current folder.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"llm4grn {__version__}")
    return parser
