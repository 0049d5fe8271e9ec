"""Runs a module under Lightning: checkpoints to resume from, losses and scores on disk, one progress bar."""

from __future__ import annotations

import logging
import math
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from llm4grn.errors import UserError
from llm4grn.gan.adversarial import STEPS_PER_EPOCH, AdversarialModule
from llm4grn.gan.callbacks import Record
from llm4grn.gan.collapse import MONITOR, read_warnings
from llm4grn.gan.distributed import SharedBatch, n_devices, other_ranks
from llm4grn.gan.monitor import CollapseMonitor
from llm4grn.gan.validation import VALIDATION, Validation, load_best
from llm4grn.runtime.progress import progress
from llm4grn.store import atomic_write

CHECKPOINT = "last.ckpt"
LOSSES = "losses.csv"
#: Options of a trainer that are ours, beside those of ``pytorch_lightning.Trainer``.
OPTIONS = "compile", "stream"
logger = logging.getLogger("llm4grn")


class DivergedError(Exception):
    """A loss or a weight is no longer finite."""


class StepProgress(pl.Callback):
    """One bar in generator steps, with rate, ETA and the latest losses."""

    def __init__(self, description: str) -> None:
        self.description = description

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        total, done = module.hyper.last_step, module.steps_done
        self.bar = progress(total=total, initial=done, desc=self.description, unit="step")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.bar.set_postfix({name: f"{loss:.3g}" for name, loss in module.losses.items()}, refresh=False)
        self.bar.update(module.steps_done - self.bar.n)

    def teardown(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


class LossHistory(Record):
    """Mean losses of every epoch; the first that is not finite ends the training."""

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if not all(math.isfinite(loss) for loss in module.losses.values()):
            raise DivergedError(diagnosis(module))
        self.add(trainer, module.steps_done, module.losses)


class Checkpoint(pl.Callback):
    """Saves everything that the rest of the training depends on, every so often, whole or not at all.

    Lightning's own ModelCheckpoint counts optimizer steps, which here are many per generator step.
    """

    def __init__(self, path: Path, every_seconds: float, records: Sequence[Record]) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self.records = records

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        done = module.steps_done == module.hyper.last_step
        if not done and time.monotonic() - self.saved_at < self.every_seconds:
            return
        if not is_finite(module):  # losses are those of before the last update
            raise DivergedError(diagnosis(module))
        for record in self.records:
            record.write()
        with atomic_write(self.path) as path:
            trainer.save_checkpoint(path, weights_only=False)
        self.saved_at = time.monotonic()


def fit(
    module: AdversarialModule,
    folder: Path,
    name: str,
    trainer: Mapping[str, Any],
    loggers: Sequence[Logger] = (),
    validation: Tensor | None = None,
    checkpoint_every: float = 20.0,
) -> None:
    """Train ``module`` to its last step, resuming from ``folder`` if it was begun there.

    Parameters
    ----------
    module
        A stage, fresh from its constructor.
    folder
        Gets ``losses.csv``, ``monitor.csv``, with ``validate_every`` also ``validation.csv``, and, while training
        runs, ``last.ckpt``.
    name
        Of the stage, for the bar, the loggers and the messages: also its node below ``model`` in the config.
    trainer
        Arguments of ``pytorch_lightning.Trainer``, accelerator and devices, and whether to ``compile``. With several
        devices, each works on a share of every batch; what is trained is the same up to rounding.
    loggers
        Lightning loggers that get losses and scores while they come.
    validation
        Validation cells, shape ``(n_cells, n_genes)``: needed if ``validate_every`` is set.
    checkpoint_every
        Seconds between checkpoints.

    Raises
    ------
    UserError
        If there are more devices than cells in a batch, or if a loss or a weight is no longer finite. The last
        checkpoint before that is then kept in a folder beside ``folder``, with the same name and the
        suffix ``.diverged``.
    """
    checkpoint = folder / CHECKPOINT
    records: list[Record] = [LossHistory(folder / LOSSES, name), CollapseMonitor(folder / MONITOR, f"{name}/monitor")]
    if module.hyper.validate_every:
        if validation is None or not len(validation):
            raise UserError(f"model.{name}.validate_every={module.hyper.validate_every}: there are no validation cells")
        records.append(Validation(validation, folder / VALIDATION, name))
    callbacks = [*records, Checkpoint(checkpoint, checkpoint_every, records), StepProgress(name)]
    resume = checkpoint if checkpoint.exists() else None
    n = n_devices(trainer)
    if n > module.hyper.batch_size:
        raise UserError(
            f"trainer.devices={n}: more than the {module.hyper.batch_size} cells of model.{name}.batch_size"
        )
    if n > 1 and trainer.get("compile"):
        raise UserError(f"trainer.compile=true with trainer.devices={n}: compiled steps are for one device; drop one")
    module.compiled = bool(trainer.get("compile"))
    try:
        with other_ranks(n, _train, module, trainer, folder, resume) if n > 1 else nullcontext():
            _train(module, trainer, folder, resume, loggers, callbacks)
    except DivergedError as error:
        raise UserError(f"{name} diverged {error} of model.{name}; {_keep(folder)}") from error
    if module.hyper.checkpoint == "best":
        logger.info("%s: best %s at step %d", name, module.hyper.validation_metric, load_best(module, checkpoint))
    if found := read_warnings(folder):
        logger.warning("%s may have collapsed: %s", name, "; ".join(found))
    checkpoint.unlink()


def _train(
    module: AdversarialModule,
    trainer: Mapping[str, Any],
    folder: Path,
    resume: Path | None,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """What every rank does."""
    # Lightning's advice is about data loaders; here one hands out step numbers.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would announce each rank
    n = n_devices(trainer)
    lightning = pl.Trainer(
        **lightning_arguments(trainer),
        **({"strategy": SharedBatch()} if n > 1 else {}),
        max_epochs=math.ceil(module.hyper.last_step / STEPS_PER_EPOCH),
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    lightning.fit(module, ckpt_path=resume, weights_only=True)


def lightning_arguments(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the trainer's options that are ``pytorch_lightning.Trainer``'s."""
    return {name: value for name, value in trainer.items() if name not in OPTIONS}


def _keep(folder: Path) -> str:
    """Save the last good checkpoint from the folder's removal; returns where it is, in words."""
    if not (folder / CHECKPOINT).exists():
        return "no checkpoint was written before"
    kept = folder.with_name(f"{folder.name.removesuffix('.partial')}.diverged")
    kept.mkdir(exist_ok=True)
    for name in CHECKPOINT, LOSSES, MONITOR, VALIDATION:
        if (folder / name).exists():
            shutil.copyfile(folder / name, kept / name)
    return f"the last good checkpoint is {kept / CHECKPOINT}"


#: A loss this large in the step before says that its network ran away; healthy ones are of the order of 1 if cells are
#: preconditioned, and of the order of a cell's counts (1e4) if not.
RAN_AWAY = 1e8


def is_finite(module: AdversarialModule) -> bool:
    """Whether all losses of the last epoch and all weights are."""
    if not all(math.isfinite(loss) for loss in module.losses.values()):
        return False
    return bool(torch.stack([weights.detach().isfinite().all() for weights in module.parameters()]).all())


def diagnosis(module: AdversarialModule) -> str:
    """Step, loss and likely cause of a training whose losses or weights are no longer finite."""
    steps = [(step, {name: loss.item() for name, loss in losses.items()}) for step, losses in module.losses_of_steps]
    before: Mapping[str, float] = {}
    for step, losses in steps:
        wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if wrong:
            return f"at step {step + 1}: {wrong[0]} is not finite; {_cause(module, wrong[0], before)}"
        before = losses
    wrong = [name for name, weights in module.named_parameters() if not weights.detach().isfinite().all()]
    where = wrong[0].split(".")[0] if wrong else "network"
    return f"at step {module.steps_done}: weights of the {where} are not finite; {_cause(module, where, before)}"


def _cause(module: AdversarialModule, wrong: str, before: Mapping[str, float]) -> str:
    if not module.cells.per_gene(lambda cells: cells.isfinite().all(dim=0)).all():
        return "likely cause: the training cells themselves hold NaN or infinite values"
    largest = max(before, key=lambda name: abs(before[name]), default="")
    if largest and abs(before[largest]) > RAN_AWAY:
        wrong = largest
        seen = f"{largest} was {before[largest]:.2g} in the step before"
    else:
        seen = "the step before looked sound" if before else "it is among the first steps looked at"
    if "labeler" in wrong:
        fields = "labeler_lr"
    elif wrong.startswith("generator"):
        fields = "generator_lr"
    else:
        fields = "critic_lr, then generator_lr"
    rounding = ", or set precision=float32" if module.hyper.precision == "bfloat16" else ""
    return f"likely cause: learning rates too high ({seen}); lower {fields}{rounding}"
