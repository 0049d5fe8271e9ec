"""Directives that show help texts and configuration files as they are, and formulas without a script from elsewhere."""

from __future__ import annotations

import contextlib
import io
import re
from importlib import import_module
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"


class CommandHelp(SphinxDirective):
    """``{command-help} infer-grn``: what ``llm4grn infer-grn --help`` prints, from the same source."""

    required_arguments = 1
    optional_arguments = 9
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        command, *words = self.arguments[0].split()
        self.env.note_dependency(__file__)
        file = CONF / "hydra" / "help" / f"{command.replace('-', '_')}.yaml"
        if file.exists():
            self.env.note_dependency(str(file))
            text = hydra_help(file)
        else:
            text = printed_help(command, words)
        return [nodes.literal_block(text, text, language="text", classes=["command-help"])]


def hydra_help(file: Path) -> str:
    """The help of a script: its template filled in as Hydra does it."""
    help_text = yaml.safe_load(file.read_text())
    text = help_text["template"].replace("${hydra.help.header}", help_text["header"])
    text = re.sub(r"\$\{command:(\w+)\}", lambda match: f"llm4grn {match[1].replace('_', '-')}", text)
    groups = "\n".join(f"{group.name}: {', '.join(options(group.name))}" for group in config_groups())
    return text.replace("$APP_CONFIG_GROUPS", f"{groups}\n").strip("\n")


def printed_help(command: str, words: list[str]) -> str:
    """The help of a command with an argument parser."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        import_module(f"llm4grn.cli.{command}").main([*words, "--help"])
    return output.getvalue().strip("\n")


def config_groups() -> list[Path]:
    return sorted(folder for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


class ConfigGroup(SphinxDirective):
    """``{config-group} inferer``: every option of a group with its file, whose comments are its documentation."""

    required_arguments = 1
    option_spec = {"level": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        group = self.arguments[0]
        hashes = "#" * self.options.get("level", 3)
        parts = []
        for option in options(group):
            file = CONF / group / f"{option}.yaml"
            self.env.note_dependency(str(file))
            parts.append(f"{hashes} {group}={option}\n\n````yaml\n{file.read_text().strip()}\n````\n")
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


class ConfigFile(SphinxDirective):
    """``{config-file} setting.yaml``: one file below ``conf``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        file = CONF / self.arguments[0]
        self.env.note_dependency(str(file))
        text = file.read_text().strip()
        return [nodes.literal_block(text, text, language="yaml")]


def inline_formula(self, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def formula(self, node: nodes.math_block) -> None:
    self.body.append(f"<div>{tex2mathml(node.astext(), as_block=True)}</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("command-help", CommandHelp)
    app.add_directive("config-group", ConfigGroup)
    app.add_directive("config-file", ConfigFile)
    app.add_html_math_renderer("mathml", (inline_formula, None), (formula, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
