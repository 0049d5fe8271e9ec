"""Between Hydra and the library: configs become objects, mistakes become one line."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llm4grn.cli_members import asks_language_model
from llm4grn.errors import UserError
from llm4grn.secrets import without_secrets
from llm4grn.setting import Dataset, Model, Setting

logger = logging.getLogger("llm4grn")


def main(task: Callable[[DictConfig], Path | None], config_name: str) -> None:
    """Run ``task`` with the config that Hydra composes from ``conf`` beside the script and the command line.

    Whatever the user can repair ends as one line on stderr and exit status 2; anything else keeps its traceback. A job
    of a sweep ends neither way, but in its record, so that the others go on.

    Parameters
    ----------
    task
        Gives the folder it wrote, where a sweep has use for it.
    config_name
        Of the file in ``conf``.
    """
    from llm4grn import cli_sweep

    _set_up_logging()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on, instead of printing several lines and exiting

    @wraps(task)
    def guarded(cfg: DictConfig) -> None:
        if cli_sweep.is_job():
            _set_up_logging()  # in a worker nobody did
            cli_sweep.run_job(lambda: task(cfg))
            return
        with one_line_errors():  # inside Hydra, which would print a line of its own about the job
            check_paths(cfg)
            task(cfg)

    with one_line_errors():
        _refuse_dashes()
        cli_sweep.find_sweeps(sys.argv[0])
        try:
            hydra.main(version_base="1.3", config_path="conf", config_name=config_name)(guarded)()
        except Exception as error:
            if cli_sweep.led() is None:
                raise
            cli_sweep.led().finish(broken=error)  # a launcher lost a worker: what a job raises is in its record


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line for what the user can repair, and with a traceback for anything else."""
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def first_line(error: Exception) -> str:
    """Any error as one line, a bug with the name of its class."""
    try:
        if isinstance(error, UserError | HydraException | OmegaConfBaseException):
            return one_line(error)
    except InstantiationException:
        error = error.__cause__ or error
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def unset_variable(error: Exception) -> str | None:
    """The environment variable that a config reads and nobody set, if that is the error."""
    found = re.search(r"Environment variable '(\w+)' not found", str(error))
    return found and found[1]


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
    if of_resolver := re.match(r"UserError raised while resolving interpolation: (.*)", text):
        return of_resolver[1]
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
    _check_llm(cfg)
    for group in "dataset", "kb", "inferer", "llm":
        missing = sorted(field for field in cfg[group] if OmegaConf.is_missing(cfg[group], field))
        if missing:
            raise UserError(f"{group}.{missing[0]} is not set; add {group}.{missing[0]}=VALUE to the command")
    model = cfg.get("model")
    if model is not None and not OmegaConf.is_list(metrics := cfg.evaluation.metrics):
        raise UserError(f"evaluation.metrics={metrics}: expected a list, for instance evaluation.metrics=[rf_auroc]")
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
        llm=cfg.llm.name if "llm" in kb.method or asks_language_model(inferer) else "",
        k=cfg.graph.k,
        strategy=cfg.graph.strategy,
        tf_k=cfg.graph.tf_k,
        model=model and Model(model.name, instantiate(model.controller), instantiate(model.causal_gan)),
        seed=cfg.seed,
        inference_seed=cfg.inference_seed,
        **({} if model is None else {"n_samples": cfg.evaluation.n_samples, "metrics": list(cfg.evaluation.metrics)}),
    )


def _check_llm(cfg: DictConfig) -> None:
    """Refuse a question without anyone to ask, and an answer under the name of another model.

    Raises
    ------
    UserError
    """
    name = OmegaConf.to_container(cfg.llm)["name"]
    asking = {
        f"kb={cfg.kb.get('asks', 'llm')}": "llm" in cfg.kb.method,
        f"inferer={cfg.inferer.name}": asks_language_model(cfg.inferer),
    }
    for who, asks in asking.items():
        if asks and name is None:
            raise UserError(
                f"{who} asks a language model; add llm=shipped (recorded answers about pbmc3k, no key), llm=gpt4, "
                "llm=llama, llm=openai_compatible, llm=local or llm=recorded"
            )
    asked = cfg.kb.get("asks")
    if asked is not None and name not in (asked, "recorded"):
        # the name is a label: of llm=shipped it is the recorded model's, and no option of llm
        raise UserError(f"kb={asked} and llm={name}: the knowledge base would not be {asked}'s; use kb=llm instead")


def instantiate(node: DictConfig) -> Any:
    """The object that a config node with ``_target_`` describes."""
    # Plain lists and dictionaries: keys of stages are made from them, and no class of ours knows OmegaConf.
    return hydra.utils.instantiate(node, _convert_="all")


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, every interpolation resolved, without secrets and what decides no result."""
    values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    values.pop("plan_only", None)
    return without_secrets(values)


def trainer_arguments(cfg: DictConfig) -> dict[str, Any]:
    """Arguments for Lightning's trainer, which would look at them only after the inference.

    Raises
    ------
    UserError
        If there is no such accelerator, here or at all, the number of devices is none, or another field is set.
    """
    arguments = OmegaConf.to_container(cfg.trainer, resolve=True)
    unknown = sorted(arguments.keys() - {"accelerator", "devices", "compile", "stream"})
    if unknown:
        raise UserError(
            f"trainer.{unknown[0]}: there is no such option; the trainer takes accelerator, devices, compile and stream"
        )
    for name, expected in ("compile", (True, False)), ("stream", (True, False, None)):
        if not any(arguments.get(name, False) is value for value in expected):
            raise UserError(
                f"trainer.{name}={arguments[name]}: expected true or false" + " or null" * (None in expected)
            )
    accelerator, devices = arguments.get("accelerator", "auto"), arguments.get("devices", "auto")
    if accelerator not in (known := ("auto", "cpu", "gpu", "cuda", "mps", "tpu")):
        raise UserError(f"trainer.accelerator={accelerator}: choose one of {', '.join(known)}")
    is_number = isinstance(devices, int) and not isinstance(devices, bool) and (devices >= 1 or devices == -1)
    if not (is_number or devices == "auto" or (isinstance(devices, list) and devices)):
        raise UserError(f"trainer.devices={devices}: expected how many, 1 or more, or a list of device numbers")
    if accelerator in ("gpu", "cuda") and not _sees_gpu(accelerator):
        raise UserError(f"trainer.accelerator={accelerator}: PyTorch sees no GPU here; use trainer=auto or trainer=cpu")
    return arguments


def command() -> str:
    """The command that was typed, as one line that a shell takes, without secrets."""
    job = HydraConfig.get()
    typed = without_secrets(list(job.overrides.task))  # in a worker, argv is another program's
    words = [word for word in typed if not word.startswith("+multirun_sweeps=")]  # a job has its grid's words already
    return shlex.join(["python", f"{job.job.name}.py", *words])


def _refuse_dashes() -> None:
    """Refuse ``--field=value``, to which Hydra's parser would answer with its whole usage."""
    _, unknown = get_args_parser().parse_known_args()
    if unknown:
        first = next((word for word in unknown if word.startswith("-")), unknown[0])
        raise UserError(f"{first}: there is no such option; fields are set without dashes, as in seed=2000; see --help")


def check_paths(cfg: DictConfig) -> None:
    """Refuse a folder for the results that cannot be written, before the work whose results would go there."""
    for name, path in cfg.paths.items():
        if not isinstance(path, str) or not path:
            raise UserError(f"paths.{name}={path}: expected a folder")
    folder = Path(cfg.paths.outputs).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(
            f"paths.outputs={cfg.paths.outputs}: cannot write there; set paths.outputs to a writable folder"
        )


def _sees_gpu(accelerator: str) -> bool:
    import torch

    return torch.cuda.is_available() or (accelerator == "gpu" and torch.backends.mps.is_available())


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
