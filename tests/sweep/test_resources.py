"""Cores and GPUs are divided, and what a dead process held is free again."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAKE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from llm4grn.sweep.resources import take_gpu
print(take_gpu(["0", "1"], Path(sys.argv[2])), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


def take(folder: Path) -> tuple[subprocess.Popen, str]:
    """A process that keeps a GPU until it is told to end, and what it got."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", TAKE, str(ROOT), str(folder)], **pipes)
    return process, process.stdout.readline().split()


def test_each_process_has_a_gpu_of_its_own_and_a_killed_one_gives_it_back(tmp_path):
    first, got = take(tmp_path)
    second, other = take(tmp_path)
    try:
        assert got == ["0", "0"]
        assert other == ["1", "1"]
        first.kill()
        first.wait()
        third, again = take(tmp_path)
        third.kill()
        assert again == ["0", "0"]
    finally:
        first.kill()
        second.kill()


@pytest.mark.parametrize("n_gpus", [0, 1])
def test_without_a_choice_nothing_is_taken(tmp_path, monkeypatch, n_gpus):
    from llm4grn.sweep.resources import take_gpu

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert take_gpu(["0"][:n_gpus], tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_threads_of_every_library_are_limited_and_the_cores_are_counted_before():
    code = (
        "from llm4grn.sweep.resources import cores, share_threads; import numpy, torch; n = cores(); share_threads(1)\n"
        "assert cores() == n\n"
        "from threadpoolctl import threadpool_info; from joblib import cpu_count\n"
        "print(torch.get_num_threads(), cpu_count(), max(pool['num_threads'] for pool in threadpool_info()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "1"]
