"""Build objects from the YAML files, with the names and defaults of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from llm4grn.cli.config import check_is_set, check_llm, instantiate
from llm4grn.cli.errors import one_line
from llm4grn.cli.program import CONF, plain
from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer
from llm4grn.knowledge.base import KnowledgeBase
from llm4grn.setting import Model


def inferer_named(name: str, options: Mapping[str, Any], *, llm: str | None, values: Mapping[str, Any]) -> Inferer:
    """Return the inferer of ``conf/inferer/NAME.yaml``.

    Parameters
    ----------
    name
        Name of the YAML file, without its suffix.
    options
        Fields of ``inferer`` that differ from the YAML, and fields of ``llm`` with the prefix ``llm_``.
    llm
        Name of a YAML file in ``conf/llm``; None if no language model takes part.
    values
        Values that replace those of the data set's YAML: ``organism``, ``context``, ``aliases``, ``k``, and
        ``answers``, the file that stores the answers of a language model, or None.

    Raises
    ------
    UserError
        If a name or an option does not exist, or a value is invalid.
    """
    with _as_user_errors():
        config = _composed([f"inferer={name}", f"llm={llm or 'none'}"], values)
        _set(config, "inferer", options)
        check_llm(config)
        check_is_set(config, "inferer", "llm")
        return instantiate(config.inferer.method)


def knowledge_base_named(name: str, options: Mapping[str, Any], *, llm: str | None, values: Mapping[str, Any]) -> Any:
    """Return the knowledge base of ``conf/kb/NAME.yaml``; parameters and errors are those of :func:`inferer_named`."""
    with _as_user_errors():
        config = _composed([f"kb={name}", *([] if llm is None else [f"llm={llm}"])], values)
        _set(config, "kb", options)
        check_llm(config)
        check_is_set(config, "kb", "llm")
        kb: KnowledgeBase = instantiate(config.kb.method)
        return kb


def model_named(
    name: str, controller: Mapping[str, Any], causal_gan: Mapping[str, Any]
) -> tuple[Model, dict[str, Any]]:
    """Return the hyperparameters of ``conf/model/NAME.yaml``, as objects and as plain values.

    Parameters
    ----------
    name
        Name of the YAML file, without its suffix.
    controller, causal_gan
        Fields of stage 1 and stage 2 that differ from the YAML.

    Raises
    ------
    UserError
        If a name or a field does not exist, or a value is invalid.
    """
    with _as_user_errors():
        config = _composed([f"model={name}"], {}, script="train")
        for stage, changes in ("controller", controller), ("causal_gan", causal_gan):
            for field, value in changes.items():
                if field not in config.model[stage] or field == "_target_":
                    fields = ", ".join(key for key in config.model[stage] if key != "_target_")
                    raise UserError(f"{stage}: there is no field {field}; its fields are {fields}")
                config.model[stage][field] = value
        model = Model(name, instantiate(config.model.controller), instantiate(config.model.causal_gan))
        return model, plain(config.model)


def dataset_context(name: str) -> Mapping[str, Any]:
    """Return ``name``, ``organism``, ``context`` and ``min_cells`` of ``conf/dataset/NAME.yaml``."""
    config = _composed([f"dataset={name}"], {}).dataset
    preprocessing = {field: config.preprocessing[field] for field in ("min_cells",)}
    return {"name": name, "organism": config.organism, "context": config.context, **preprocessing}


def _composed(overrides: list[str], values: Mapping[str, Any], script: str = "infer_grn") -> DictConfig:
    """Compose the config of a script, and set in it the values of :func:`inferer_named`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(script, overrides)
    for field, value in values.items():
        if field in ("organism", "context"):
            config.dataset[field] = value
        elif field == "aliases" and "aliases" in config.kb:
            config.kb.aliases = value
        elif field == "k":
            config.graph.k = value
        elif field == "answers":
            config.paths.answers = None if value is None else str(Path(value))
    return config


def _set(config: DictConfig, group: str, options: Mapping[str, Any]) -> None:
    """Set options in a config group, or in ``llm`` where their names start with ``llm_``."""
    for option, value in options.items():
        where, field = ("llm", option[4:]) if option.startswith("llm_") else (group, option)
        fields = [field for field in config[where] if field not in ("name", "label", "method", "chat", "asks")]
        if field not in fields:
            known = f"it has {', '.join(fields)}" if fields else "it has none"
            raise UserError(f"{option}: {where}={config[where].name} has no such option; {known}")
        config[where][field] = str(value) if isinstance(value, Path) else value


@contextmanager
def _as_user_errors() -> Iterator[None]:
    """Translate errors of Hydra and OmegaConf into a UserError of one line; bugs pass through."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error
