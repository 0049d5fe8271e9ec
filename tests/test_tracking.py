"""Trackers: offline without a key and without a question, closed after every run, started only when needed."""

import logging

import pytest
import wandb
from pytorch_lightning.loggers import Logger

from llm4grn.errors import UserError
from llm4grn.tracking import FilesOnly, RunInfo, TensorBoard, WeightsAndBiases


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunInfo:
    for name in "WANDB_API_KEY", "WANDB_MODE":
        monkeypatch.delenv(name, raising=False)
    labels = {"dataset": "tiny", "llm": "", "seed": 1}
    return RunInfo("abc123", "tiny_run", labels, {"graph": {"k": 2}}, tmp_path / "outputs" / "tiny_run")


def follow(tracker, run: RunInfo) -> list[Logger]:
    """What a training and the scoring after it do."""
    loggers = list(tracker.loggers(run))
    for logger in loggers:
        logger.log_metrics({"controller/critic_loss": 1.5}, step=25)
    tracker.finish(run, {"run/mmd": 0.01}, {})
    assert list(tracker.loggers(run)) == loggers
    tracker.close()
    return loggers


def test_wandb_without_a_key_is_offline_and_leaves_files(run, caplog):
    caplog.set_level(logging.INFO, "llm4grn")
    logging.getLogger("llm4grn").propagate = True
    tracker = WeightsAndBiases()
    (logger,) = tracker.loggers(run)
    logger.log_metrics({"controller/critic_loss": 1.5}, step=25)
    tracker.finish(run, {"run/mmd": 0.01}, {})
    assert logger.experiment.summary["run/mmd"] == 0.01
    tracker.close()
    (offline,) = (run.folder.parent / "wandb").glob("offline-run-*-abc123")
    assert list(offline.glob("*.wandb"))
    assert "offline" in caplog.text
    assert wandb.run is None  # finished: the next job of a sweep starts its own


def test_wandb_online_needs_a_key_before_any_work(run):
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        WeightsAndBiases(mode="online")
    with pytest.raises(UserError, match=r"logger\.mode=sometimes"):
        WeightsAndBiases(mode="sometimes")


def test_nothing_is_started_when_nothing_is_trained(run):
    tracker = WeightsAndBiases()
    tracker.close()
    assert not (run.folder.parent / "wandb").exists()


def test_tensorboard_writes_its_files(run):
    pytest.importorskip("tensorboard")
    follow(TensorBoard(), run)
    assert list((run.folder.parent / "tensorboard").rglob("events.out.tfevents.*"))


def test_files_only_follows_nothing(run):
    assert follow(FilesOnly(), run) == []
    assert not run.folder.exists()
