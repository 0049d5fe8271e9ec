"""RegDiffusion by its package, or one line that says how to get it."""

import importlib.util
import random

import numpy as np
import pytest
import torch
from cells import GENES, TFS, driven_cells, regulators

from llm4grn.errors import UserError
from llm4grn.inference.regdiffusion import RegDiffusion

IS_INSTALLED = importlib.util.find_spec("regdiffusion") is not None


@pytest.mark.skipif(IS_INSTALLED, reason="regdiffusion is installed")
def test_without_the_package_it_says_how_to_get_it():
    with pytest.raises(UserError, match=r"pip install -e '\.\[regdiffusion\]'"):
        RegDiffusion().infer(driven_cells(), TFS, 0)


def test_it_finds_drivers_by_seed_and_leaves_the_global_state_alone(caplog, capfd):
    pytest.importorskip("regdiffusion")
    method, adata = RegDiffusion(n_steps=300, device="cpu"), driven_cells(300)
    states = [np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()]  # noqa: NPY002
    with caplog.at_level("WARNING", logger="llm4grn"):
        grn = method.infer(adata, TFS, 7)
    assert states == [np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()]  # noqa: NPY002
    assert "1 of 8 genes" in caplog.text
    assert capfd.readouterr().err.count("\r") == 0
    assert set(grn.edges["target"]) <= set(GENES) - {*TFS, "z"}
    assert regulators(grn, "t1", 1) == {"A"}
    assert grn.edges.equals(method.infer(adata, TFS, 7).edges)
    assert not grn.edges.equals(method.infer(adata, TFS, 8).edges)
    every = method.infer(adata, None, 7).edges
    assert (every["TF"] != every["target"]).all()
    assert {"t1", "t2"} & set(every["TF"])


@pytest.mark.parametrize("arguments", [{"n_steps": 0}, {"batch_size": 1.5}, {"device": "tpu"}])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=f"inferer.{next(iter(arguments))}="):
        RegDiffusion(**arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    pytest.importorskip("regdiffusion")
    with pytest.raises(UserError, match=r"inferer\.device=cuda"):
        RegDiffusion(device="cuda").infer(driven_cells(), TFS, 0)
