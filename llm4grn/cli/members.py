"""Configuration of the members of a combining inferer, each read from its own YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from llm4grn.cli.program import CONF, plain
from llm4grn.errors import UserError


def member_configs(
    members: Sequence[str], options: Mapping[str, Any] | None = None, *, _root_: DictConfig
) -> DictConfig:
    """Return the config to instantiate for each member; the YAML files call this by the resolver ``inferers``.

    The YAML of a member refers to its own fields by relative interpolations (``${..n_jobs}``), which resolve here as
    they do under ``inferer``. Absolute ones such as ``${llm.method}`` resolve in the whole configuration.

    Parameters
    ----------
    members
        Names of options of the config group ``inferer``.
    options
        Member name to the fields that differ from its YAML.

    Raises
    ------
    UserError
        If a member or a field does not exist, or a mandatory field is not set.
    """
    options = options or {}
    if strangers := sorted(set(options) - set(members)):
        raise UserError(f"inferer.options.{strangers[0]}: no such member; the members are {', '.join(members)}")
    return OmegaConf.create({name: _method(name, options.get(name) or {}, _root_) for name in _checked(members)})


def asks_language_model(inferer: DictConfig) -> bool:
    """Return True if an inferer or one of its members asks the language model of ``llm=``."""
    members = _checked(inferer.members) if "members" in inferer else []
    return "llm" in inferer.method or any(asks_language_model(_load(name)) for name in members)


def _checked(members: object) -> Sequence[str]:
    if not isinstance(members, ListConfig | list) or len(set(members)) < len(members):
        raise UserError(f"inferer.members={members}: expected a list of different inferers, such as [grnboost2,llm]")
    return members


def _method(name: str, options: Mapping[str, Any], root: DictConfig) -> dict[str, Any]:
    config = _load(name)
    fields = [str(field) for field in config if field not in ("name", "method")]
    for field, value in options.items():
        if field not in fields:
            known = f"its fields are {', '.join(fields)}" if fields else "it has none"
            raise UserError(f"inferer.options.{name}.{field}: there is no such option; {known}")
        config[field] = value
    if missing := [field for field in fields if OmegaConf.is_missing(config, field)]:
        raise UserError(f"inferer.options.{name}.{missing[0]} is not set; add inferer.options='{{{name}: {{...}}}}'")
    config._set_parent(root)
    try:
        return plain(config.method)
    except MissingMandatoryValue as error:
        raise UserError(f"inferer.members: {name} lacks a value ({error})") from error


def _load(name: object) -> DictConfig:
    """Load the YAML of an inferer, with its interpolations unresolved."""
    repository = _repository()
    known = repository.get_group_options("inferer")
    if name not in known or name == "consensus":
        others = ", ".join(option for option in known if option != "consensus")
        raise UserError(f"inferer.members: {name} is no inferer that can be a member; choose from {others}")
    result = repository.load_config(f"inferer/{name}")
    assert result is not None  # get_group_options named it
    config = DictConfig(OmegaConf.to_container(result.config))
    OmegaConf.set_struct(config, True)
    return config


def _repository() -> IConfigRepository:
    """Return Hydra's repository of YAML files, or one of this project's ``conf`` where Hydra is not initialised."""
    if GlobalHydra.instance().is_initialized():
        repository: IConfigRepository = GlobalHydra.instance().config_loader().repository  # type: ignore[attr-defined]
        return repository
    path = ConfigSearchPathImpl()
    path.append("llm4grn", f"file://{CONF}")
    return ConfigRepository(path)


OmegaConf.register_new_resolver("inferers", member_configs, replace=True)
