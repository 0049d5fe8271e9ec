"""Many cells into one file: the same as in memory, whatever the pieces; nothing under its name until it is whole."""

import os
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
import yaml
from warm import WarmProcess

from llm4grn.gan import generation
from llm4grn.gan.api import GENERATOR
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters
from llm4grn.gan.networks import CellGenerator
from llm4grn.grn import CausalGraph

ROOT = Path(__file__).resolve().parents[2]
GENES = tuple(f"g{i}" for i in range(60))
GRAPH = CausalGraph(GENES, {gene: GENES[: 2 + i % 3] for i, gene in enumerate(GENES[5:])})
RATES = {"generator_lr": [1e-3, 1e-3], "critic_lr": [1e-3, 1e-3], "critic_layers": [4]}
CONTROLLER = {**RATES, "steps": 1, "batch_size": 16, "noise_dim": 3, "generator_layers": [8]}
CAUSAL_GAN = {**RATES, "steps": 1, "batch_size": 16, "labeler_layers": [4]}
LIBRARY_SIZE = 20_000.0


@pytest.fixture
def gan():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        roots = CellGenerator(3, [8], len(GENES))
    return CausalGAN(
        torch.empty(0, len(GENES)), GRAPH, roots, CausalGANHyperparameters(**CAUSAL_GAN), LIBRARY_SIZE, seed=0
    )


@pytest.fixture
def run(gan, tmp_path):
    """The folder of a finished run, as far as generation reads it."""
    folder = tmp_path / "run"
    folder.mkdir()
    model = {"controller": CONTROLLER, "causal_gan": CAUSAL_GAN}
    config = {"model": model, "dataset": {"preprocessing": {"library_size": LIBRARY_SIZE}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    GRAPH.to_json(folder / "graph.json")
    torch.save(gan.generator.state_dict(), folder / GENERATOR)
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "generate.py"), *map(str, arguments)]


@pytest.mark.parametrize("cells_per_write", [1, 16, 50, 1000])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_file_holds_the_cells_of_generate(gan, tmp_path, cells_per_write, compression):
    path = tmp_path / "cells.h5ad"
    generation.write_cells(gan, path, 105, seed=3, cells_per_write=cells_per_write, compression=compression)
    read = anndata.read_h5ad(path)
    assert np.array_equal(read.X.toarray(), gan.generate(105, seed=3).numpy())
    assert read.X.has_canonical_format
    assert list(read.var_names) == list(GENES)
    assert list(read.obs_names) == [f"synthetic-{i}" for i in range(105)]
    assert list(tmp_path.iterdir()) == [path]


def test_fewer_cells_are_the_first_of_more(gan, tmp_path):
    for n_cells in 20, 77:
        generation.write_cells(gan, tmp_path / f"{n_cells}.h5ad", n_cells, seed=3)
    few, many = (anndata.read_h5ad(tmp_path / f"{n}.h5ad").X.toarray() for n in (20, 77))
    assert np.array_equal(few, many[:20])


MEMORY = """
import resource, sys
from llm4grn.gan.generation import write_cells
from llm4grn.gan.api import load_trained
model, _ = load_trained(sys.argv[1])
model.hyper = __import__("dataclasses").replace(model.hyper, batch_size=1000)
for n_cells in 100_000, 400_000:
    write_cells(model, sys.argv[2], n_cells, seed=0)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cells(run, tmp_path):
    call = [sys.executable, "-c", MEMORY, str(run), str(tmp_path / "cells.h5ad")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    few, many = (int(line) * 1024 for line in done.stdout.split())  # kB on Linux
    in_full = 300_000 * len(GENES) * 4  # bytes of the other cells, dense
    assert many - few < in_full / 3


@pytest.mark.slow
def test_the_script_writes_what_the_library_does(run, gan, tmp_path):
    out = tmp_path / "elsewhere" / "cells.h5ad"
    done = subprocess.run(
        command(f"run={run}", f"out={out}", "n_cells=70", "seed=5"), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "70 cells" in done.stdout
    read = anndata.read_h5ad(out)
    # close, not equal: the script may have another number of threads than this process
    np.testing.assert_allclose(read.X.toarray(), gan.generate(70, seed=5).numpy(), rtol=1e-5, atol=1e-3)
    assert dict(read.uns["provenance"]) == {"run": "run", "device": "cpu", "seed": "5"}


@pytest.mark.slow
def test_a_kill_half_way_leaves_nothing_under_the_name(run, tmp_path):
    out = tmp_path / "out" / "cells.h5ad"
    arguments = f"run={run}", f"out={out}", "n_cells=50000000"
    process = WarmProcess("generate.py", *arguments, cwd=tmp_path, environment=os.environ)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 1e6 for path in out.parent.glob(".tmp-*")):  # it is writing cells
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["out=cells.h5ad"], "run is not set"),
        (["run=nowhere", "out=cells.h5ad"], "no config.yaml there"),
        (["run=nowhere", "out=cells.csv"], "ends in .h5ad"),
        (["run=nowhere", "out=cells.h5ad", "n_cells=0"], "n_cells=0"),
        (["run=nowhere", "out=cells.h5ad", "device=abacus"], "device=abacus"),
    ],
)
def test_mistakes_are_one_line(arguments, says, tmp_path):
    process = WarmProcess("generate.py", *arguments, cwd=tmp_path, environment=os.environ)
    _, err = process.communicate()
    assert process.returncode == 2
    assert says in err
    assert err.count("\n") == 1
