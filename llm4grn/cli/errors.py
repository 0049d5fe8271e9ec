"""Translate exceptions into one-line messages that say what is wrong and how to repair it."""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from llm4grn.cli.program import CONF
from llm4grn.errors import UserError, WriteError
from llm4grn.runtime.write_failures import write_failure


@contextmanager
def one_line_errors(
    interrupted: str = "interrupted; the same command goes on from here",
    reworded: Callable[[str], str] = lambda line: line,
) -> Iterator[None]:
    """End the program with one line on stderr and status 2 for errors that the user can repair.

    A file that cannot be written ends it with one line and status 1, Ctrl-C with status 130; any other exception keeps
    its traceback.

    Parameters
    ----------
    interrupted
        What is said after Ctrl-C.
    reworded
        Function of each message that returns it in the words of the command.
    """
    try:
        yield
    except WriteError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {reworded(one_line(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        failure = write_failure(error)
        if failure is None:
            raise
        print(f"error: {one_line(failure)}", file=sys.stderr)
        sys.exit(1)


def first_line(error: Exception) -> str:
    """Return any exception as one line; a bug starts with the name of its class."""
    bug: BaseException = error
    try:
        if isinstance(error, UserError | HydraException | OmegaConfBaseException):
            return one_line(error)
    except InstantiationException:
        bug = error.__cause__ or error
    text = str(bug).strip()
    return f"{type(bug).__name__}: {text.splitlines()[0]}" if text else type(bug).__name__


def unset_variable(error: Exception) -> str | None:
    """Return the name of the unset environment variable that caused an error; None for any other error."""
    match = re.search(r"Environment variable '(\w+)' not found", str(error))
    return match and match[1]


def one_line(error: Exception) -> str:
    """Return the message of an error as one line, without the layers that Hydra and OmegaConf add.

    Raises
    ------
    InstantiationException
        The error itself, if a constructor failed by a bug and not by a mistake of the user.
    """
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        located = re.search(r"Error locating target '([^']+)'(?:.*\nfull_key: (\S+))?", str(error))
        if located:
            return f"{located[2] or 'the config'}._target_: there is no {located[1]} that Python can import; correct it"
        if isinstance(cause, TypeError) and "unexpected keyword" in str(cause):
            target = str(error).splitlines()[0].removeprefix("Error in call to target ").split(":")[0].strip("'")
            return f"{cause}; remove that field from the config or the command ({target})"
        if isinstance(cause, TypeError) and re.search(r"missing \d+ required", str(cause)):
            return f"{cause}; add that field to the config"
        if not isinstance(cause, UserError | OmegaConfBaseException):
            raise error
        return one_line(cause)
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        hint = _quoted(error.override)
        remedy = f"; to give the text as it is, type {hint}" if hint else ", and quote what the shell would change"
        return f"cannot read the option {error.override}; write field=value{remedy}"
    text = str(error)
    if variable := unset_variable(error):
        return f"the environment variable {variable} is not set; export it, or set the field that reads it"
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several:
        field, _, value = several[1].partition("=")
        return f"{several[1]}: one value is expected; a text is {field}=\"'{value}'\", several runs need --multirun"
    if from_resolver := re.match(r"UserError raised while resolving interpolation: (.*)", text):
        return from_resolver[1]
    option = re.search(r"Could not find '(.+)/(.+)'\s+Available options in '.+':((?s:.*?))(?:Config search|$)", text)
    if option:
        group, choice, choices = option.groups()
        if meant := _as_path(f"{group}/{choice}"):
            return meant
        return f"{group}={choice}: no such option; choose one of {', '.join(choices.split())}"
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing and (meant := _as_path(missing[1])):
        return meant
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        meant = _nearest(unknown[1])
        hint = f"did you mean {meant}? " if meant else ""
        return f"{unknown[1]}: there is no such option; {hint}--help lists the common ones, --cfg job all of them"
    return " ".join(text.split())


def _nearest(field: str) -> str | None:
    """Return the option that is most like an unknown one, of those whose last name is; None if there is none."""
    options = {option: option.rpartition(".")[2] for option in sorted(_options())}
    near = difflib.get_close_matches(field.rpartition(".")[2], list(options.values()), n=1, cutoff=0.75)
    found = [option for option, name in options.items() if name in near]
    return max(found, key=lambda option: difflib.SequenceMatcher(None, field, option).ratio(), default=None)


def _options() -> set[str]:
    """Return all fields that the YAML files set, by their place in the configuration."""

    def below(node: object, place: str) -> set[str]:
        if not isinstance(node, dict):
            return {place}
        inner = (below(value, f"{place}.{key}".lstrip(".")) for key, value in node.items() if str(key)[0] != "_")
        return set().union(*inner)

    found: set[str] = set()
    for path in CONF.rglob("*.yaml"):
        group, node = ".".join(path.relative_to(CONF).parts[:-1]), yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(node, dict) and group.partition(".")[0] != "hydra":
            found |= below({key: value for key, value in node.items() if key not in ("defaults", "hydra")}, group)
    return found


# Groups of which users give a file as the option, and the options that read one.
_FILE_OPTIONS = {
    "dataset": "dataset=file dataset.path={}",
    "kb": "kb.path={}",
    "inferer": "inferer=file inferer.path={}",
    "llm": "llm=recorded llm.path={}",
}


def _as_path(full: str) -> str | None:
    """Return the command that was meant where an option of a group is a path, as in ``dataset=my.h5ad``."""
    group, _, choice = full.partition("/")
    if group not in _FILE_OPTIONS or not re.search(r"[./]", choice):
        return None
    meant = " ".join(
        word if word.endswith("=file") or word.endswith("=recorded") else quoted(word)
        for word in _FILE_OPTIONS[group].format(choice.replace(" ", "\0")).split(" ")
    ).replace("\0", " ")
    return f"{group}={choice}: an option of {group} is a name and not a file; write {meant}"


def _quoted(override: str) -> str | None:
    """Return an override that Hydra could not read as a shell takes it; None if it is no ``field=value``."""
    field, equals, value = override.partition("=")
    if not equals or not value or re.fullmatch(r"[\[{].*", value) or not re.fullmatch(r"[+~]{0,2}[\w./@]+", field):
        return None
    return quoted(override)


def quoted(override: str) -> str:
    """Return ``field=value`` with quotes for Hydra and the shell, wherever one of them needs them.

    Examples
    --------
    >>> print(quoted("dataset.path=a (1).h5ad"), quoted("dataset.path=a.h5ad"))
    'dataset.path="a (1).h5ad"' dataset.path=a.h5ad
    """
    if not reads_as_text(override):
        field, _, value = override.partition("=")
        mark = "'" if '"' in value else '"'
        # In Hydra a backslash counts only before a quotation mark, and there it must be doubled.
        escaped = re.sub(rf"(\\*)({mark}|$)", lambda m: m[1] * 2 + (f"\\{mark}" if m[2] else ""), value)
        override = f"{field}={mark}{escaped}{mark}"
    return shlex.quote(override)


def reads_as_text(override: str) -> bool:
    """Return True if Hydra reads the value of ``field=value`` as the text that it is."""
    try:
        return bool(OverridesParser.create().parse_override(override).value() == override.partition("=")[2])
    except HydraException:
        return False
