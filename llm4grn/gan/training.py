"""Training of a stage under Lightning, with checkpoints to resume from, tables of losses, and one progress bar."""

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
#: Options of a trainer that are not arguments of ``pytorch_lightning.Trainer``.
OPTIONS = "compile", "stream"
logger = logging.getLogger("llm4grn")


class DivergedError(Exception):
    """Raised when a loss or a weight is not finite."""


class StepProgress(pl.Callback):
    """A progress bar of generator steps, with rate, ETA and the latest losses."""

    def __init__(self, module: AdversarialModule, description: str) -> None:
        self.module = module
        self.description = description

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total, done = self.module.hyper.last_step, self.module.steps_done
        self.bar = progress(total=total, initial=done, desc=self.description, unit="step")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.set_postfix({name: f"{loss:.3g}" for name, loss in self.module.losses.items()}, refresh=False)
        self.bar.update(self.module.steps_done - self.bar.n)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


class LossHistory(Record):
    """Records the mean losses of every epoch, and ends the training at the first that is not finite."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not all(math.isfinite(loss) for loss in self.module.losses.values()):
            raise DivergedError(diagnosis(self.module))
        self.add(trainer, self.module.steps_done, self.module.losses)


class Checkpoint(pl.Callback):
    """Saves a checkpoint at regular intervals, atomically.

    Lightning's own ModelCheckpoint counts optimizer steps, of which there are many per generator step here.

    Parameters
    ----------
    module
        The stage in training.
    path
        Output checkpoint path.
    every_seconds
        Minimum number of seconds between two checkpoints.
    records
        Tables that are written along with every checkpoint.
    """

    def __init__(self, module: AdversarialModule, path: Path, every_seconds: float, records: Sequence[Record]) -> None:
        self.module = module
        self.path = path
        self.every_seconds = every_seconds
        self.records = records

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = self.module.steps_done == self.module.hyper.last_step
        if not done and time.monotonic() - self.saved_at < self.every_seconds:
            return
        if not is_finite(self.module):  # losses were computed before the last update of the weights
            raise DivergedError(diagnosis(self.module))
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
    """Train ``module`` to its last step, resuming from the checkpoint in ``folder`` if there is one.

    Parameters
    ----------
    module
        A newly constructed stage.
    folder
        Output folder of ``losses.csv``, ``monitor.csv``, with ``validate_every`` also ``validation.csv``, and, during
        the training, ``last.ckpt``.
    name
        Name of the stage in progress bar, loggers and messages, and of its node below ``model`` in the configuration.
    trainer
        Arguments of ``pytorch_lightning.Trainer``, such as accelerator and devices, and whether to ``compile``. With
        several devices, each processes a share of every batch; the result is the same up to rounding.
    loggers
        Lightning loggers that get losses and scores during the training.
    validation
        Validation cells, shape ``(n_cells, n_genes)``; required if ``validate_every`` is set.
    checkpoint_every
        Seconds between checkpoints.

    Raises
    ------
    UserError
        If there are more devices than cells in a batch, if ``compile`` is set with several devices, if validation cells
        are missing, or if a loss or a weight is not finite. In the last case, the last finite checkpoint is kept in a
        folder beside ``folder``, with the same name and the suffix ``.diverged``.
    """
    checkpoint = folder / CHECKPOINT
    records: list[Record] = [
        LossHistory(module, folder / LOSSES, name),
        CollapseMonitor(module, folder / MONITOR, f"{name}/monitor"),
    ]
    if module.hyper.validate_every:
        if validation is None or not len(validation):
            raise UserError(f"model.{name}.validate_every={module.hyper.validate_every}: there are no validation cells")
        records.append(Validation(module, folder / VALIDATION, name, validation))
    callbacks = [
        *records,
        Checkpoint(module, checkpoint, checkpoint_every, records),
        StepProgress(module, name),
    ]
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
        raise UserError(f"{name} diverged {error} of model.{name}; {_keep_checkpoint(folder)}") from error
    if module.hyper.checkpoint == "best":
        logger.info("%s: best %s at step %d", name, module.hyper.validation_metric, load_best(module, checkpoint))
    if phrases := read_warnings(folder):
        logger.warning("%s may have collapsed: %s", name, "; ".join(phrases))
    checkpoint.unlink()


def _train(
    module: AdversarialModule,
    trainer: Mapping[str, Any],
    folder: Path,
    resume: Path | None,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Train on one rank."""
    # These warnings of Lightning are about data loaders; the loader here yields step numbers only.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would log a line for each rank
    strategy: dict[str, Any] = {"strategy": SharedBatch()} if n_devices(trainer) > 1 else {}
    lightning = pl.Trainer(
        **lightning_arguments(trainer),
        **strategy,
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
    """Return the trainer's options that are arguments of ``pytorch_lightning.Trainer``."""
    return {name: value for name, value in trainer.items() if name not in OPTIONS}


def _keep_checkpoint(folder: Path) -> str:
    """Copy checkpoint and tables out of ``folder``, which is going to be removed; return a phrase that says where."""
    if not (folder / CHECKPOINT).exists():
        return "no checkpoint was written before"
    copy = folder.with_name(f"{folder.name.removesuffix('.partial')}.diverged")
    copy.mkdir(exist_ok=True)
    for name in CHECKPOINT, LOSSES, MONITOR, VALIDATION:
        if (folder / name).exists():
            shutil.copyfile(folder / name, copy / name)
    return f"the last good checkpoint is {copy / CHECKPOINT}"


#: A loss above this in the step before a non-finite one indicates that its network diverged. Losses of sound trainings
#: are of the order of 1 if cells are preconditioned, otherwise of the order of a cell's counts (1e4).
RUNAWAY_LOSS = 1e8


def is_finite(module: AdversarialModule) -> bool:
    """Return True if the last epoch's losses and all weights are finite."""
    if not all(math.isfinite(loss) for loss in module.losses.values()):
        return False
    return bool(torch.stack([weights.detach().isfinite().all() for weights in module.parameters()]).all())


def diagnosis(module: AdversarialModule) -> str:
    """Describe step, loss and likely cause of a training whose losses or weights are not finite."""
    steps = [(step, {name: loss.item() for name, loss in losses.items()}) for step, losses in module.losses_of_steps]
    before: Mapping[str, float] = {}
    for step, losses in steps:
        non_finite = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if non_finite:
            return f"at step {step + 1}: {non_finite[0]} is not finite; {_cause(module, non_finite[0], before)}"
        before = losses
    non_finite = [name for name, weights in module.named_parameters() if not weights.detach().isfinite().all()]
    network = non_finite[0].split(".")[0] if non_finite else "network"
    return f"at step {module.steps_done}: weights of the {network} are not finite; {_cause(module, network, before)}"


def _cause(module: AdversarialModule, source: str, before: Mapping[str, float]) -> str:
    """Name the likely cause, given the loss or network that is not finite and the losses of the step before."""
    if not module.cells.per_gene(lambda cells: cells.isfinite().all(dim=0)).all():
        return "likely cause: the training cells themselves hold NaN or infinite values"
    largest = max(before, key=lambda name: abs(before[name]), default="")
    if largest and abs(before[largest]) > RUNAWAY_LOSS:
        source = largest
        evidence = f"{largest} was {before[largest]:.2g} in the step before"
    else:
        evidence = "the step before looked sound" if before else "it is among the first steps looked at"
    if "labeler" in source:
        fields = "labeler_lr"
    elif source.startswith("generator"):
        fields = "generator_lr"
    else:
        fields = "critic_lr, then generator_lr"
    rounding = ", or set precision=float32" if module.hyper.precision == "bfloat16" else ""
    return f"likely cause: learning rates too high ({evidence}); lower {fields}{rounding}"
