"""The members of an inferer that is made of others, each configured as its own YAML says."""

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
    """What to instantiate for each member: the resolver ``inferers`` of the YAML files.

    The YAML of a member refers to its own fields relatively (``${..n_jobs}``), so that it means the same here and in
    the place of ``inferer``; what it refers to by ``${llm.method}`` and the like is that of the whole configuration.

    Parameters
    ----------
    members
        Names of options of the group ``inferer``.
    options
        Per member, fields that differ from its YAML.

    Raises
    ------
    UserError
        For a member or a field that does not exist, or a field that must be set.
    """
    options = options or {}
    if strangers := sorted(set(options) - set(members)):
        raise UserError(f"inferer.options.{strangers[0]}: no such member; the members are {', '.join(members)}")
    return OmegaConf.create({name: _method(name, options.get(name) or {}, _root_) for name in _checked(members)})


def asks_language_model(inferer: DictConfig) -> bool:
    """Whether an inferer, or one that it is made of, asks the language model of ``llm=``."""
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
    """The YAML of an inferer, before anything in it is resolved."""
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
    """Where Hydra finds YAML files; without a Hydra that runs, those of this project."""
    if GlobalHydra.instance().is_initialized():
        repository: IConfigRepository = GlobalHydra.instance().config_loader().repository  # type: ignore[attr-defined]
        return repository
    path = ConfigSearchPathImpl()
    path.append("llm4grn", f"file://{CONF}")
    return ConfigRepository(path)


OmegaConf.register_new_resolver("inferers", member_configs, replace=True)
