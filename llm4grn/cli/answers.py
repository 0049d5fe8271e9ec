"""Summarise, export and import the stored answers of language models: ``python -m llm4grn.llm --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.answers_cache.jsonl import read_jsonl, write_jsonl
from llm4grn.llm.messages import NOT_RECORDED


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; a UserError ends it with one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser("llm4grn answers", description="The kept answers of language models.")
    commands = parser.add_subparsers(dest="command", required=True)
    cache: dict[str, Any] = {
        "default": "outputs/answers.sqlite",
        "help": "file of the kept answers (default: %(default)s)",
    }
    commands.add_parser("summary", help="answers and costs, per model").add_argument("--cache", **cache)
    for command, what in ("export", "write all answers to a JSONL file"), ("import", "add the answers of a JSONL file"):
        parts = commands.add_parser(command, help=f"{what}: the form that llm=recorded reads")
        parts.add_argument("file", type=Path)
        parts.add_argument("--cache", **cache)
    args = parser.parse_args(arguments)
    try:
        _run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _run(args: argparse.Namespace) -> None:
    if args.command != "import" and not Path(args.cache).exists():
        raise UserError(f"--cache={args.cache}: there is no such file; nothing was asked yet, or it is elsewhere")
    if args.command == "export" and args.file.resolve() == Path(args.cache).resolve():
        raise UserError(f"{args.file}: that is the file of the kept answers; choose another one to write to")
    with AnswerCache(args.cache) as cache:
        if args.command == "export":
            print(f"{write_jsonl(args.file, cache.records())} answers written to {args.file}")
        elif args.command == "import":
            print(f"{cache.put_all(read_jsonl(args.file))} new answers from {args.file}")
        else:
            for model, figures in cache.summary()["models"].items():
                cost = f"cost {NOT_RECORDED}" if figures["cost"] is None else f"${figures['cost']:.4f}"
                lost = (
                    f", at most ${figures['lost']:.4f} more for attempts without an answer" if figures["lost"] else ""
                )
                print(f"{model}: {figures['answers']} answers, {cost}{lost}")
