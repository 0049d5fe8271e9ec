"""A process that compiles the kernels has the very numbers of one that finds them compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEP = """
import hashlib, torch
from llm4grn.gan.target_generators import TargetGenerators
from llm4grn.grn import CausalGraph

genes = tuple(f"g{i}" for i in range(40))
graph = CausalGraph(genes, {gene: genes[i % 6 : i % 6 + 3] for i, gene in enumerate(genes[10:])})
torch.manual_seed(0)
targets = TargetGenerators(graph, 1, 2, 1)
(group,) = targets.groups
tfs = torch.rand(10, 128, requires_grad=True)
values = group(tfs, torch.randn(30, 1, 128), 128)
values.square().sum().backward()
tensors = values, tfs.grad, *(parameter.grad for parameter in group.parameters())
print([hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest() for tensor in tensors])
"""


@pytest.mark.slow
def test_compiled_here_or_loaded_the_kernels_compute_the_same(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", STEP]
    compiled, loaded = (
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == loaded
