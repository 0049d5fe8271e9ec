"""Build objects from composed configs, and check the values that no constructor checks."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import llm4grn.cli.questioning  # noqa: F401 (registers resolvers)
from llm4grn.cli import program
from llm4grn.cli.members import asks_language_model
from llm4grn.cli.program import plain
from llm4grn.errors import UserError
from llm4grn.runtime.secrets import without_secrets
from llm4grn.setting import Dataset, Model, Setting

_ENDING = re.compile(r"(\.(csv|tsv|mtx|txt|h5ad|h5mu|h5|loom|zarr))?(\.(gz|zip))?$")


def build_setting(cfg: DictConfig) -> Setting:
    """Return the setting that a composed config describes.

    Raises
    ------
    UserError, InstantiationException
        If a value is invalid; the constructors check their own arguments.
    """
    dataset, kb, inferer = cfg.dataset, cfg.kb, cfg.inferer
    check_llm(cfg)
    check_is_set(cfg, "dataset", "kb", "inferer", "llm")
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
        llm=cfg.llm.label if "llm" in kb.method or asks_language_model(inferer) else "",
        k=cfg.graph.k,
        strategy=cfg.graph.strategy,
        tf_k=cfg.graph.tf_k,
        model=model and Model(model.name, instantiate(model.controller), instantiate(model.causal_gan)),
        seed=cfg.seed,
        inference_seed=cfg.inference_seed,
        predictive=list(cfg.predictive) if OmegaConf.is_list(cfg.predictive) else cfg.predictive,
        **({} if model is None else _evaluation(cfg.evaluation)),
    )


def _evaluation(cfg: DictConfig) -> dict[str, Any]:
    return {"n_samples": cfg.n_samples, "metrics": list(cfg.metrics), "exact": cfg.exact}


def check_llm(cfg: DictConfig) -> None:
    """Check that the config names the language model that its knowledge base and inferer ask.

    Raises
    ------
    UserError
        If one of them asks a language model and ``llm`` is none, or not the model that ``kb`` is named for.
    """
    # Not resolved: an unset environment variable in the address is reported where the address is used.
    name = cast(dict[str, Any], OmegaConf.to_container(cfg.llm))["name"]
    asking = {
        f"kb={cfg.kb.get('asks', 'llm')}": "llm" in cfg.kb.method,
        f"inferer={cfg.inferer.name}": asks_language_model(cfg.inferer),
    }
    for who, asks in asking.items():
        if asks and name is None:
            raise UserError(
                f"{who} asks a language model; add llm=shipped (recorded answers about pbmc3k, no key), llm=gpt4, "
                "llm=openai, llm=claude, llm=llama, llm=local, llm=openai_compatible or another of conf/llm"
            )
    asked = cfg.kb.get("asks")
    if asked is not None and name not in (asked, "recorded"):
        # Compared by label: llm=shipped carries the name of the recorded model, which is no option of llm.
        raise UserError(f"kb={asked} and llm={name}: the knowledge base would not be {asked}'s; use kb=llm instead")


def check_is_set(cfg: DictConfig, *groups: str) -> None:
    """Check that every mandatory field (``???``) of these config groups is set.

    Raises
    ------
    UserError
        If a field is missing.
    """
    for group in groups:
        missing = sorted(field for field in cfg[group] if OmegaConf.is_missing(cfg[group], field))
        if missing:
            raise UserError(f"{group}.{missing[0]} is not set; add {group}.{missing[0]}=VALUE to the command")


def name_of_file(path: object) -> str:
    """Return the name of a data set in a file or folder; the YAML files call this as ``name_of_file``.

    Examples
    --------
    >>> name_of_file("~/data/GSE1234_counts.csv.gz"), name_of_file("op.v2.h5ad"), name_of_file("run 1.2/")
    ('GSE1234_counts', 'op.v2', 'run 1.2')
    """
    return _ENDING.sub("", Path(str(path)).name) or "file"


def instantiate(node: DictConfig) -> Any:
    """Return the object that a config node with ``_target_`` describes."""
    # Plain lists and dictionaries: stage keys are hashed from them, and the library does not know OmegaConf.
    return hydra.utils.instantiate(node, _convert_="all")


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return the config as plain values: interpolations resolved, without secrets and without ``plan_only``."""
    values: dict[str, Any] = plain(cfg)
    values.pop("plan_only", None)
    return without_secrets(values)


def trainer_arguments(cfg: DictConfig) -> dict[str, Any]:
    """Return the arguments for Lightning's trainer, checked now because Lightning checks them only after the inference.

    Raises
    ------
    UserError
        If the accelerator is unknown or not available, another value is invalid, or there is no such field.
    """
    arguments: dict[str, Any] = plain(cfg.trainer)
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
    if accelerator in ("gpu", "cuda") and not _gpu_available(accelerator):
        raise UserError(f"trainer.accelerator={accelerator}: PyTorch sees no GPU here; use trainer=auto or trainer=cpu")
    if arguments.get("compile"):
        from llm4grn.gan.compilation import missing_compiler

        if reason := missing_compiler(accelerator in ("gpu", "cuda", "auto") and _gpu_available("cuda")):
            raise UserError(f"trainer.compile=true: {reason}, which torch.compile needs; install it or drop the option")
    return arguments


def command() -> str:
    """Return the command line of this job as a shell takes it, without secrets."""
    job = HydraConfig.get()
    overrides = without_secrets(list(job.overrides.task))  # not from sys.argv, which in a worker is joblib's
    # A job of a sweep already carries the overrides of its grid.
    words = [word for word in overrides if not word.startswith("+multirun_sweeps=")]
    return shlex.join([*program.command_words(job.job.name), *words])


def check_paths(cfg: DictConfig) -> None:
    """Check, before any work, that results can be written to the output folder.

    Raises
    ------
    UserError
        If a path is not a string, or ``paths.outputs`` is not writable.
    """
    for name, path in cfg.paths.items():
        if not isinstance(path, str) or not path:
            raise UserError(f"paths.{name}={path}: expected a folder")
    folder = Path(cfg.paths.outputs).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(
            f"paths.outputs={cfg.paths.outputs}: cannot write there; set paths.outputs to a writable folder"
        )


def _gpu_available(accelerator: str) -> bool:
    import torch

    return torch.cuda.is_available() or (accelerator == "gpu" and torch.backends.mps.is_available())


OmegaConf.register_new_resolver("name_of_file", name_of_file, replace=True)
