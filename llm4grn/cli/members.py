"""Configuration of the members of a combining inferer, each read from its own YAML.

A consensus has several members (``members``), a control one (``of``).
"""

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

_CONTROLS = ("shuffled", "popular")
_COMBINING = ("consensus", *_CONTROLS)


def member_configs(
    members: Sequence[str], options: Mapping[str, Any] | None = None, *, _root_: DictConfig
) -> DictConfig:
    """Return the config to instantiate for each member; the YAML files call this by the resolver ``inferers``.

    The YAML of a member refers to its own fields by relative interpolations (``${..n_jobs}``), which resolve here as
    they do under ``inferer``. Absolute ones such as ``${llm.method}`` resolve in the whole configuration.

    Parameters
    ----------
    members
        Names of options of the config group ``inferer``, none of which has members itself.
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
    return _methods(_several(members, options), _root_)


def wrapped_config(of: str, options: Mapping[str, Any] | None = None, *, _root_: DictConfig) -> DictConfig:
    """Return the config to instantiate for the one member of a control, by the resolver ``inferer_of``.

    Parameters
    ----------
    of
        Name of an option of the config group ``inferer``, which is not a control itself.
    options
        That name to the fields that differ from its YAML.

    Raises
    ------
    UserError
        As :func:`member_configs`.
    """
    options = options or {}
    if strangers := sorted(set(options) - {of}):
        raise UserError(f"inferer.options.{strangers[0]}: inferer.of={of} is another inferer")
    return _methods(_single(of, options), _root_)


def asks_language_model(inferer: DictConfig) -> bool:
    """Return True if an inferer or one of its members asks the language model of ``llm=``."""
    options = inferer.get("options") or {}
    configs: dict[str, DictConfig] = {}
    if "members" in inferer:
        configs = _several(inferer.members, options)
    elif "of" in inferer:
        configs = _single(inferer.of, options)
    return "llm" in inferer.method or any(map(asks_language_model, configs.values()))


def _several(members: object, options: Mapping[str, Any]) -> dict[str, DictConfig]:
    """Return the config of each member of a consensus, with its options."""
    if not isinstance(members, ListConfig | list) or len(set(members)) < len(members):
        raise UserError(f"inferer.members={members}: expected a list of different inferers, such as [grnboost2,llm]")
    known = _known(_COMBINING)
    if strangers := [name for name in members if name not in known]:
        raise UserError(
            f"inferer.members: {strangers[0]} is no inferer that can be a member; choose from {', '.join(known)}"
        )
    return {name: _config(name, options.get(name) or {}) for name in members}


def _single(of: object, options: Mapping[str, Any]) -> dict[str, DictConfig]:
    """Return the config of the member of a control, with its options."""
    known = _known(_CONTROLS)
    if of not in known:
        raise UserError(f"inferer.of={of}: expected another inferer, one of {', '.join(known)}")
    return {str(of): _config(str(of), options.get(str(of)) or {})}


def _known(refused: Sequence[str]) -> list[str]:
    return [option for option in repository().get_group_options("inferer") if option not in refused]


def _methods(configs: Mapping[str, DictConfig], root: DictConfig) -> DictConfig:
    return OmegaConf.create({name: _method(name, config, root) for name, config in configs.items()})


def _fields(config: DictConfig) -> list[str]:
    return [str(field) for field in config if field not in ("name", "method")]


def _config(name: str, options: Mapping[str, Any]) -> DictConfig:
    config = _load(name)
    fields = _fields(config)
    for field, value in options.items():
        if field not in fields:
            known = f"its fields are {', '.join(fields)}" if fields else "it has none"
            raise UserError(f"inferer.options.{name}.{field}: there is no such option; {known}")
        config[field] = value
    return config


def _method(name: str, config: DictConfig, root: DictConfig) -> dict[str, Any]:
    if missing := [field for field in _fields(config) if OmegaConf.is_missing(config, field)]:
        raise UserError(f"inferer.options.{name}.{missing[0]} is not set; add inferer.options='{{{name}: {{...}}}}'")
    config._set_parent(root)
    try:
        return plain(config.method)
    except MissingMandatoryValue as error:
        raise UserError(f"inferer.members: {name} lacks a value ({error})") from error


def _load(name: str) -> DictConfig:
    """Load the YAML of an inferer, with its interpolations unresolved."""
    result = repository().load_config(f"inferer/{name}")
    assert result is not None  # get_group_options named it
    config = DictConfig(OmegaConf.to_container(result.config))
    OmegaConf.set_struct(config, True)
    return config


def repository() -> IConfigRepository:
    """Return Hydra's repository of YAML files, or one of this project's ``conf`` where Hydra is not initialised."""
    if GlobalHydra.instance().is_initialized():
        repository: IConfigRepository = GlobalHydra.instance().config_loader().repository  # type: ignore[attr-defined]
        return repository
    path = ConfigSearchPathImpl()
    path.append("llm4grn", f"file://{CONF}")
    return ConfigRepository(path)


OmegaConf.register_new_resolver("inferers", member_configs, replace=True)
OmegaConf.register_new_resolver("inferer_of", wrapped_config, replace=True)
