"""Translate exceptions into one-line messages that say what is wrong and how to repair it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from llm4grn.errors import UserError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line on stderr and status 2 for errors that the user can repair.

    Ctrl-C ends it with status 130; any other exception keeps its traceback.
    """
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


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
        return f"cannot read the option {error.override}; write field=value, and quote what the shell would change"
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
        return f"{group}={choice}: no such option; choose one of {', '.join(choices.split())}"
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        return f"{unknown[1]}: there is no such option; --help lists the common ones, --cfg job all of them"
    return " ".join(text.split())
