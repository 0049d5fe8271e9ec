"""Trackers: everything is shown, once, also after kills; nothing is asked, and nothing that goes wrong costs a run."""

import json
import logging
from pathlib import Path

import psutil
import pytest
import wandb
from matplotlib import image
from wandb_reader import curve, read, summary

from llm4grn.errors import UserError
from llm4grn.results import COLUMNS, Result
from llm4grn.tracking.base import FilesOnly, Outcome, RunInfo, TensorBoard, Tracker
from llm4grn.tracking.wandb import WeightsAndBiases

PARTS = {"dataset": "tiny", "kb": "human", "inferer": "random", "model": "small", "graph": "top 2"}
LABELS = {**PARTS, "llm": "", "seed": 1}
LOSSES = {25: 1.5, 50: 0.25, 75: 0.125}
NAME = "controller/critic_loss"


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunInfo:
    for name in "WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_GROUP", "WANDB_DATA_DIR":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logging.getLogger("llm4grn"), "propagate", True)
    return RunInfo("abc123", "tiny_run", LABELS, {"graph": {"k": 2}}, tmp_path / "outputs" / "tiny_run")


@pytest.fixture
def outcome(tmp_path) -> Outcome:
    trained = {name: tmp_path / "store" / name for name in ("controller", "causal_gan")}
    for folder in trained.values():
        folder.mkdir(parents=True)
        rows = [f"{step},{loss}" for step, loss in LOSSES.items()]
        (folder / "losses.csv").write_text("\n".join(["step,critic_loss", *rows, ""]))
    (trained["causal_gan"] / "monitor.csv").write_text("step,diversity\n75,0.5\n")
    image.imsave(tmp_path / "tsne.png", [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    results = [
        Result(**LABELS, sample=sample, source=source, metric="mmd", value=value + sample)
        for source, value in {"control": 0.1, "stage1": 0.2, "run": 0.3}.items()
        for sample in (0, 1)
    ]
    return Outcome(results, "| run | mmd |\n| --- | --- |\n", trained, {"tsne": tmp_path / "tsne.png"})


def train(tracker: Tracker, run: RunInfo, steps: list[int]) -> None:
    """What a training does, on each of its loggers."""
    for step in steps:
        for logger in tracker.loggers(run):
            logger.log_metrics({NAME: LOSSES[step]}, step=step)


def offline(run: RunInfo) -> Path:
    """The only record of the run."""
    (folder,) = (run.folder.parent / "wandb").glob("*run-*-*")
    return folder


def test_the_summary_has_one_name_per_source_and_metric(outcome):
    assert outcome.summary == pytest.approx({"control/mmd": 0.6, "stage1/mmd": 0.7, "run/mmd": 0.8})


# -- Weights & Biases --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_wandb_without_a_key_is_offline_and_shows_everything(run, outcome, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "llm4grn")
    monkeypatch.setenv("WANDB_RUN_GROUP", "my_sweep")
    tracker = WeightsAndBiases()
    train(tracker, run, [25, 50, 75])
    assert tracker.loggers(run) == tracker.loggers(run)
    tracker.finish(run, outcome)
    tracker.close()
    assert wandb.run is None  # finished: the next job of a sweep starts its own
    assert "W&B (offline)" in caplog.text

    records = read(offline(run))
    (first, *_) = records["run"]
    assert (first["run_id"], first["display_name"], first["run_group"]) == ("abc123", "tiny_run", "my_sweep")
    assert first["job_type"] == "train"
    assert set(first["tags"]) == {"seed:1", *(f"{name}:{value}" for name, value in PARTS.items())}
    config = first["config"]["update"]
    assert config["setting"] == "tiny / human / random / small / top 2"  # the same for all seeds
    assert config["graph"] == {"k": 2}
    assert config["labels"]["seed"] == 1
    shown = summary(records)
    assert {name: shown[name] for name in outcome.summary} == pytest.approx(outcome.summary)
    assert curve(records, NAME) == list(LOSSES.items())
    # Not followed, as another job trained it: from the store.
    assert curve(records, "causal_gan/critic_loss") == list(LOSSES.items())
    assert curve(records, "causal_gan/monitor/diversity") == [(75, 0.5)]
    assert [record["exit_code"] for record in records["exit"]] == [0]
    (picture,) = offline(run).glob("files/media/images/tsne*.png")
    assert picture.read_bytes() == outcome.pictures["tsne"].read_bytes()
    (table,) = offline(run).glob("files/media/table/scores*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == list(COLUMNS)
    assert [row[-1] for row in content["data"]] == [result.value for result in outcome.results]


@pytest.mark.slow
def test_wandb_shows_a_run_that_was_killed_and_resumed_once_and_from_its_beginning(run, outcome):
    killed = WeightsAndBiases()
    train(killed, run, [25, 50])
    killed._record.finish()  # the records of a killed process end like this, without what comes after
    killed._lock.release()
    tracker = WeightsAndBiases()
    train(tracker, run, [75])  # its checkpoint was at step 50
    tracker.finish(run, outcome)
    tracker.close()
    records = read(offline(run))
    assert curve(records, NAME) == list(LOSSES.items())
    assert summary(records)["run/mmd"] == pytest.approx(0.8)


@pytest.mark.slow
def test_wandb_is_closed_after_an_error_and_says_so(run):
    tracker = WeightsAndBiases()
    train(tracker, run, [25])
    tracker.close()
    assert wandb.run is None
    assert [record["exit_code"] for record in read(offline(run))["exit"]] == [1]


@pytest.mark.slow
def test_wandb_losing_its_own_process_costs_nothing(run, outcome, caplog):
    tracker = WeightsAndBiases()
    train(tracker, run, [25])
    for child in psutil.Process().children(recursive=True):
        if "wandb-core" in " ".join(child.cmdline()):
            child.kill()
            child.wait()
    train(tracker, run, [50, 75])
    assert "the run goes on" in caplog.text
    tracker.finish(run, outcome)
    tracker.close()
    assert curve(read(offline(run)), NAME) == list(LOSSES.items())


@pytest.mark.slow
def test_two_processes_with_the_same_run_show_it_once(run, outcome):
    tracker, other = WeightsAndBiases(), WeightsAndBiases()
    train(tracker, run, [25, 50, 75])
    assert other.loggers(run) == ()
    other.finish(run, outcome)
    other.close()
    tracker.close()
    assert "run/mmd" not in summary(read(offline(run)))
    other.finish(run, outcome)  # had the first one been killed, the second would show it all
    other.close()
    assert curve(read(offline(run)), NAME) == list(LOSSES.items())


def test_wandb_online_needs_a_key_before_any_work(run):
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        WeightsAndBiases(mode="online")
    with pytest.raises(UserError, match=r"logger\.mode=sometimes"):
        WeightsAndBiases(mode="sometimes")


@pytest.mark.slow
def test_wandb_goes_offline_if_nobody_takes_the_key(run, outcome, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    tracker = WeightsAndBiases()
    train(tracker, run, [25])
    tracker.finish(run, outcome)
    tracker.close()
    assert "offline instead" in caplog.text
    assert summary(read(offline(run)))["run/mmd"] == pytest.approx(0.8)


def test_nothing_is_started_when_nothing_is_trained(run):
    tracker = WeightsAndBiases()
    tracker.close()
    assert not (run.folder.parent / "wandb").exists()


# -- TensorBoard and files ---------------------------------------------------------------------------------------------


def test_tensorboard_shows_losses_scores_table_and_pictures(run, outcome):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    killed = TensorBoard()
    train(killed, run, [25, 50])
    killed._record.close()
    killed._lock.release()
    tracker = TensorBoard()
    train(tracker, run, [75])
    tracker.finish(run, outcome)
    tracker.close()
    (folder,) = (run.folder.parent / "tensorboard").glob("[!.]*")
    events = EventAccumulator(str(folder)).Reload()
    for name in NAME, "causal_gan/critic_loss":
        assert {event.step: event.value for event in events.Scalars(name)} == LOSSES
    assert events.Scalars("run/mmd")[0].value == pytest.approx(0.8)
    assert events.Images("tsne")[0].width == 2
    assert b"| run | mmd |" in events.Tensors("scores/text_summary")[0].tensor_proto.string_val[0]
    assert b"human" in events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content


def test_files_only_leaves_the_losses_in_the_runs_folder(run, outcome):
    tracker = FilesOnly()
    assert tracker.loggers(run) == ()
    assert not run.folder.exists()
    tracker.finish(run, outcome)
    tracker.close()
    names = sorted(path.name for path in run.folder.iterdir())
    assert names == ["causal_gan_losses.csv", "causal_gan_monitor.csv", "controller_losses.csv"]
    assert (run.folder / names[0]).read_bytes() == (outcome.trained["causal_gan"] / "losses.csv").read_bytes()
