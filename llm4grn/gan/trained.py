"""A finished run's generator, read back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llm4grn.errors import UserError
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters
from llm4grn.gan.stages import GENERATOR, load_causal_gan
from llm4grn.grn import CausalGraph


def load_trained(run: Path) -> tuple[CausalGAN, CausalGraph]:
    """The causal GAN of a finished run, ready for ``generate`` and ``do``, and the graph that is imposed on it.

    Parameters
    ----------
    run
        The run's folder: its ``config.yaml``, ``graph.json`` and ``generator.pt`` are read. The configuration is read
        for numbers only; nothing that it names is executed.

    Raises
    ------
    UserError
        If the folder is no finished run, or its files do not belong together.
    """
    run = Path(run)
    for name in "config.yaml", "graph.json", GENERATOR:
        if not (run / name).is_file():
            raise UserError(f"run={run}: no {name} there; give the folder that python train.py printed")
    try:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        model, library_size = config["model"], float(config["dataset"]["preprocessing"]["library_size"])
        controller = ControllerHyperparameters(**_fields(model["controller"]))
        causal_gan = CausalGANHyperparameters(**_fields(model["causal_gan"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run / 'config.yaml'}: not the configuration of a run ({error})") from error
    graph = CausalGraph.from_json(run / "graph.json")
    try:
        return load_causal_gan(run, graph, controller, causal_gan, library_size), graph
    except (RuntimeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{run / GENERATOR}: not the generator of this configuration and graph ({reason})") from error


def _fields(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != "_target_"}
