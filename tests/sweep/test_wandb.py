"""A sweep in W&B's offline folders: one run per setting, whole, in one group, and without a key."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest
from sweeping import ENVIRONMENT, QUICK, end, start, sweep_folder
from tiny import options, write_counts
from wandb_reader import curve, read, summary
from warm import ROOT

pytestmark = pytest.mark.slow

KEYS = {"WANDB_API_KEY": "w4nd6" + "7" * 40, "OPENAI_API_KEY": "sk-0penai-" + "5" * 30}
JOBS = ["inferer=random,correlation", "evaluation.metrics=[cosine_distance,mmd]", "logger=wandb", "logger.mode=offline"]


def sweep(counts: Path, folder: Path) -> Popen:
    return start("train.py", "-m", *options(counts, folder), *QUICK, *JOBS, cwd=folder.parent, **KEYS)


def records(folder: Path) -> dict[str, dict[str, list[dict]]]:
    """Those of each run, by the inferer that its name tells."""
    read_all = [read(path) for path in sorted((folder / "wandb").glob("*run-*-*"))]
    return {record["run"][0]["display_name"].split("_")[2]: record for record in read_all}


@pytest.fixture(scope="module")
def counts(tmp_path_factory) -> Path:
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


@pytest.fixture(scope="module")
def finished(counts, tmp_path_factory) -> Path:
    """A sweep killed in its first training of stage 2 and repeated; the keys in its environment send nothing."""
    folder = tmp_path_factory.mktemp("sweep") / "outputs"
    process = sweep(counts, folder)
    begun = next(line for line in process.stderr if "running causal_gan" in line)
    process.kill()
    process.communicate()
    assert begun
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    end(sweep(counts, folder))
    return folder


def test_each_setting_is_one_run_of_the_sweeps_group(finished):
    runs = records(finished)
    assert len(list((finished / "wandb").glob("*run-*-*"))) == 2
    assert sorted(runs) == ["correlation", "random"]
    for inferer, record in runs.items():
        run = record["run"][0]
        assert run["run_group"] == sweep_folder(finished).name
        assert {f"inferer:{inferer}", "dataset:h5ad", "kb:human", "seed:1000"} <= set(run["tags"])
        config = run["config"]["update"]
        assert config["setting"] == f"h5ad / human / {inferer} / small / top 2"
        assert config["model"]["causal_gan"]["steps"] == 60
        assert [end["exit_code"] for end in record["exit"]] == [0]


def test_each_run_has_all_losses_scores_table_and_pictures(finished):
    runs = records(finished)
    for record in runs.values():
        shown = summary(record)
        for metric in "cosine_distance", "mmd":
            assert all(f"{source}/{metric}" in shown for source in ("control", "stage1", "run"))
        assert [step for step, _ in curve(record, "causal_gan/critic_loss")] == [25, 50, 60]
        assert {"tsne", "losses", "degrees", "scores"} <= set(_media(shown))
    first, second = (curve(record, "controller/critic_loss") for record in runs.values())
    assert [step for step, _ in first] == [25, 30]
    assert first == second  # trained by one of the two, shown by both
    folders = list((finished / "wandb").glob("offline-run-*"))
    assert all(len(list(folder.glob("files/media/images/*.png"))) == 3 for folder in folders)
    assert all(len(list(folder.glob("files/media/table/scores*.json"))) == 1 for folder in folders)


def _media(shown: dict[str, object]) -> Iterator[str]:
    return (name.removesuffix("._type") for name in shown if name.endswith("._type"))


def test_no_byte_of_any_file_is_a_keys(finished):
    files = [path for path in finished.parent.rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        content = path.read_bytes()
        assert not [name for name, key in KEYS.items() if key.encode() in content], path


def test_repeated_it_makes_no_second_run(finished, counts):
    before = sorted(path.name for path in (finished / "wandb").iterdir())
    out, _ = end(sweep(counts, finished))
    assert "Nothing is left to compute." in out
    assert sorted(path.name for path in (finished / "wandb").iterdir()) == before


ASK = """
from pathlib import Path
from llm4grn.tracking.base import RunInfo
from llm4grn.tracking.wandb import WeightsAndBiases
tracker = WeightsAndBiases()
tracker.loggers(RunInfo("abc123", "name", {"seed": 1}, {}, Path("outputs/run")))
tracker.close()
"""


def test_nothing_is_asked_on_a_terminal_even_where_a_key_is_wanted_and_missing(tmp_path):
    ours, terminal = pty.openpty()
    environment = ENVIRONMENT | {
        "WANDB_MODE": "online",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
    }
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    process = subprocess.Popen([sys.executable, "-c", ASK], cwd=tmp_path, env=environment, **pipes)
    os.close(terminal)
    told = _read_all(ours)
    assert process.wait(timeout=60) == 0, told
    assert "choice" not in told
    assert list(tmp_path.glob("outputs/wandb/offline-run-*-abc123"))


def _read_all(terminal: int) -> str:
    """What comes on a terminal until its last process is gone; who asks gets no answer."""
    told = b""
    with suppress(OSError):  # how the end of a terminal shows
        while ready := select.select([terminal], [], [], 60)[0]:
            told += os.read(ready[0], 1000)
            if b"choice" in told:
                break
    os.close(terminal)
    return told.decode()
