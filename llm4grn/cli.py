"""Between Hydra and the library: configs become objects, mistakes become one line."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llm4grn.errors import UserError
from llm4grn.pipeline import Dataset, Model, Setting

logger = logging.getLogger("llm4grn")


def main(task: Callable[[DictConfig], None], config_name: str) -> None:
    """Run ``task`` with the config that Hydra composes from ``conf`` beside the script and the command line.

    Whatever the user can repair ends as one line on stderr and exit status 2; anything else keeps its traceback.
    """
    _set_up_logging()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on, instead of printing several lines and exiting

    @wraps(task)
    def guarded(cfg: DictConfig) -> None:
        with _one_line_errors():  # inside Hydra, which would print a line of its own about the job
            task(cfg)

    with _one_line_errors():
        hydra.main(version_base="1.3", config_path="conf", config_name=config_name)(guarded)()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def one_line(error: Exception) -> str:
    """What is wrong and what to do about it, without the layers that the error went through.

    Raises
    ------
    Exception
        The error's own cause, if it is a bug in a class that the config names and no mistake of the user.
    """
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        if isinstance(cause, TypeError) and "unexpected keyword" in str(cause):
            target = str(error).splitlines()[0].removeprefix("Error in call to target ").split(":")[0].strip("'")
            return f"{cause}; remove that field from the config or the command ({target})"
        if not isinstance(cause, UserError | OmegaConfBaseException):
            raise error
        return one_line(cause)
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        return f"cannot read the option {error.override}; write field=value, and quote what the shell would change"
    text = str(error)
    option = re.search(r"Could not find '(.+)/(.+)'\s+Available options in '.+':((?s:.*?))(?:Config search|$)", text)
    if option:
        group, choice, choices = option.groups()
        return f"{group}={choice}: no such option; choose one of {', '.join(choices.split())}"
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        return f"{unknown[1]}: there is no such option; --help lists the common ones, --cfg job all of them"
    return " ".join(text.split())


def build_setting(cfg: DictConfig) -> Setting:
    """The setting that a composed config describes; constructors check their arguments.

    Raises
    ------
    UserError, InstantiationException
        If a value is impossible.
    """
    dataset, kb, inferer = cfg.dataset, cfg.kb, cfg.inferer
    for group in "dataset", "kb", "inferer":
        missing = sorted(field for field in cfg[group] if OmegaConf.is_missing(cfg[group], field))
        if missing:
            raise UserError(f"{group}.{missing[0]} is not set; add {group}.{missing[0]}=VALUE to the command")
    model = cfg.get("model")
    return Setting(
        dataset=Dataset(
            name=dataset.name,
            source=instantiate(dataset.source),
            preprocessing=instantiate(dataset.preprocessing),
            context=dataset.context,
        ),
        kb_name=kb.name,
        kb=instantiate(kb.method),
        inferer_name=inferer.name,
        inferer=instantiate(inferer.method),
        llm=cfg.llm.name or "",
        k=cfg.graph.k,
        strategy=cfg.graph.strategy,
        model=model and Model(model.name, instantiate(model.controller), instantiate(model.causal_gan)),
        seed=cfg.seed,
        inference_seed=cfg.inference_seed,
        **({} if model is None else {"n_samples": cfg.evaluation.n_samples, "metrics": list(cfg.evaluation.metrics)}),
    )


def instantiate(node: DictConfig) -> Any:
    """The object that a config node with ``_target_`` describes."""
    # Plain lists and dictionaries: keys of stages are made from them, and no class of ours knows OmegaConf.
    return hydra.utils.instantiate(node, _convert_="all")


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, every interpolation resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def trainer_arguments(cfg: DictConfig) -> dict[str, Any]:
    """Arguments for Lightning's trainer."""
    return OmegaConf.to_container(cfg.trainer, resolve=True)


def command() -> str:
    """The command that was typed, as one line."""
    job = HydraConfig.get()
    return " ".join(["python", os.path.basename(sys.argv[0]), *job.overrides.task])


def _set_up_logging() -> None:
    """Our own messages with the time since the start; others' only if they are warnings."""
    start = time.monotonic()

    class Elapsed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            return f"[{time.monotonic() - start:6.1f} s] {level}{record.getMessage()}"

    handler = logging.StreamHandler()
    handler.setFormatter(Elapsed())
    ours = logging.getLogger("llm4grn")
    ours.handlers = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    for chatty in "pytorch_lightning", "lightning.pytorch", "lightning_fabric", "pytorch_lightning.utilities.rank_zero":
        logging.getLogger(chatty).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
