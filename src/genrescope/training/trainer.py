"""Gradient descent with Lightning: checkpoints every epoch, resume, early stopping, progress."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterable
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from genrescope.datasets import LabelMatrix, SegmentDataset
from genrescope.errors import GenrescopeError
from genrescope.models import Network
from genrescope.training.config import Config
from genrescope.training.devices import select_device
from genrescope.training.module import (
    EpochReporter,
    GenreModule,
    TrainingBatches,
    ValidationBatches,
    fit_normalizer,
    label_evidence,
    monitored_metric,
)
from genrescope.training.options import DEFAULT_OPTIONS, FitOptions
from genrescope.types import IntArray


def configure_torch(config: Config) -> None:
    """Seed torch and set its number of threads.

    Parameters
    ----------
    config : Config
        ``train.seed``, and ``train.threads``, where 0 leaves the number to torch.
    """
    torch.manual_seed(config.train.seed)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)


def precision(config: Config, device: torch.device | None = None) -> str:
    """Return Lightning's name for the arithmetic: bfloat16 autocast where the processor has it.

    A processor without it would only emulate bfloat16, slower than float32.

    Parameters
    ----------
    config : Config
        ``train.precision``: ``auto``, ``float32`` or ``bfloat16``.
    device : torch.device, optional
        That is trained on; None: as ``auto`` chooses.

    Returns
    -------
    {"32-true", "bf16-mixed"}
    """
    wanted = config.train.precision
    if wanted == "auto":
        device = device or select_device("auto")
        fast = device.type == "cuda" or (device.type == "cpu" and has_bfloat16())
        wanted = "bfloat16" if fast else "float32"
    return {"float32": "32-true", "bfloat16": "bf16-mixed"}[wanted]


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    # torch has no public function for this, and not every version has both private ones.
    return any(
        bool(getattr(torch.cpu, name, lambda: False)())
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def train_network(
    network: Network,
    examples: SegmentDataset,
    targets: IntArray,
    *,
    labels: LabelMatrix | None = None,
    train: IntArray,
    validation: IntArray,
    classes: int,
    config: Config,
    folder: Path,
    options: FitOptions = DEFAULT_OPTIONS,
) -> list[dict[str, float]]:
    """Train ``network`` in place, from the last checkpoint in ``folder`` if there is one.

    Parameters
    ----------
    network : Network
        With the weights to start from.
    examples : SegmentDataset
        Features of all segments.
    targets : ndarray of int, shape (tracks,)
        Index of each track's genre.
    labels : LabelMatrix, optional
        In place of ``targets``: any number of genres of each track, or shares of several.
    train, validation : ndarray of int
        Indices of segments; validation may be empty, then the last epoch is kept.
    classes : int
        Number of genres.
    config : Config
        Settings of the run.
    folder : Path
        Of checkpoints.
    options : FitOptions
        Devices, progress and observers.

    Returns
    -------
    list of dict
        One row per epoch: losses, accuracies, learning rate.

    Raises
    ------
    GenrescopeError
        ``training_failed``: the loss is not finite, or one of several processes failed.
    KeyboardInterrupt
        The user interrupted it, which Lightning would take for a regular end.
    """
    chosen = select_device(options.device, options.devices)
    devices = options.devices
    batches = TrainingBatches(examples, targets, train, classes, config, labels, devices)
    evidence = None if labels is None else labels.values
    if labels is not None and config.data.task == "multi-label":
        evidence = label_evidence(labels, np.arange(len(targets)))
    held_out = (
        ValidationBatches(examples, targets, validation, evidence, devices) if len(validation) else None
    )
    fit_normalizer(network, examples, train, config.train.seed)
    # On a CPU, convolutions are faster with the channels last in memory.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    reporter = EpochReporter(config.train.epochs, options.observers)
    module = GenreModule(network, config, batches, reporter, held_out)
    best, callbacks = _callbacks(config, folder, bool(len(validation)))
    trainer = create_trainer(
        epochs=config.train.epochs,
        precision=precision(config, chosen),
        callbacks=callbacks,
        progress_bar=options.progress_bar,
        accelerator=chosen.type,
        devices=devices,
    )
    last = folder / "last.ckpt"
    fit(trainer, module, last, train=batches, validation=held_out)
    if devices > 1:
        # The weights came back from the process that had them, the curves did not.
        module.curves = list(torch.load(last, weights_only=True, map_location="cpu")["curves"])
    if config.train.checkpoint == "best" and len(validation):
        kept = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
        module.load_state_dict(kept["state_dict"])
    return module.curves


def create_trainer(
    *,
    epochs: int,
    precision: str,
    callbacks: list[Callback],
    progress_bar: bool,
    reload_each_epoch: bool = False,
    accelerator: str = "auto",
    max_gradient_norm: float | None = None,
    devices: int = 1,
) -> lightning.Trainer:
    """Set Lightning up to write nothing of its own: curves, messages and checkpoints are ours.

    Parameters
    ----------
    epochs : int
        Number of epochs, those before a resume included.
    precision : str
        Lightning's name for the arithmetic.
    callbacks : list of Callback
        Called in their order; checkpoints come last.
    progress_bar : bool
        Whether to show the progress of an epoch on standard error.
    reload_each_epoch : bool
        Whether to ask the data module for fresh batches in each epoch.
    accelerator : {"auto", "cpu", "cuda", "mps"}
        Where to train.
    max_gradient_norm : float, optional
        That longer gradients are shortened to; None: any.
    devices : int
        Processes that train together.
    """
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if progress_bar:
        callbacks = [*callbacks, RichProgressBar(console_kwargs={"stderr": True})]
    return lightning.Trainer(
        max_epochs=epochs,
        precision=precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=False,
        accelerator=accelerator,
        gradient_clip_val=max_gradient_norm,
        devices=devices,
        strategy="auto" if devices == 1 else _distributed(accelerator),
        # Batches are divided by `TrainingBatches`, not by a sampler of Lightning's.
        use_distributed_sampler=False,
        # Statistics of batch normalization over the whole batch; torch has this for GPUs only.
        sync_batchnorm=devices > 1 and accelerator == "cuda",
        # Lightning's trial validation would be counted in the curves of the first epoch.
        num_sanity_val_steps=0,
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=int(reload_each_epoch),
    )


def _distributed(accelerator: str) -> DDPStrategy:
    """Return the strategy of several processes that are started here, and average their gradients."""
    # Started by multiprocessing and not, as is Lightning's default, by running the command line again: that
    # would read the data in each, and does not work where a program calls `train`.
    return DDPStrategy(
        start_method="spawn", process_group_backend="nccl" if accelerator == "cuda" else "gloo"
    )


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    checkpoint: Path,
    *,
    train: Iterable[object] | None = None,
    validation: Iterable[object] | None = None,
    data: lightning.LightningDataModule | None = None,
) -> None:
    """Train a module in place, from ``checkpoint`` if that file exists.

    Parameters
    ----------
    trainer : lightning.Trainer
        Of `create_trainer`.
    module : lightning.LightningModule
        What is trained.
    checkpoint : Path
        The file of `last_checkpoint`.
    train, validation : iterable, optional
        Batches, one iteration per epoch.
    data : lightning.LightningDataModule, optional
        Gives the batches instead of ``train`` and ``validation``.

    Raises
    ------
    GenrescopeError
        ``training_failed``: one of several processes failed.
    KeyboardInterrupt
        The user interrupted it, which Lightning would take for a regular end.
    """
    handler = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        # Lightning warns about settings of loaders and loggers that are intended here.
        warnings.simplefilter("ignore")
        try:
            trainer.fit(
                module,
                train,
                validation,
                datamodule=data,
                ckpt_path=checkpoint if checkpoint.exists() else None,
                # A checkpoint is unpickled; limited to tensors and plain values it can run no code.
                weights_only=True,
            )
        except ProcessRaisedException as failure:
            last_line = str(failure).strip().rpartition("\n")[2]
            raise GenrescopeError(
                "training_failed",
                f"one of the processes that train together failed: {last_line}",
                "train with one device to see why; the checkpoint of the epoch before is kept",
            ) from failure
        except SystemExit:
            # Lightning ignores further interrupts from the first one on, and exits without a message.
            if not trainer.interrupted:
                raise
            signal.signal(signal.SIGINT, handler or signal.default_int_handler)
    if trainer.interrupted:
        raise KeyboardInterrupt


def last_checkpoint(folder: Path) -> ModelCheckpoint:
    """Return the callback that writes ``last.ckpt`` into ``folder`` at the end of each epoch.

    It is written after validation, so that a resumed run starts with the next epoch; its name carries no
    version, so that the run finds it.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    """
    return ModelCheckpoint(
        folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )


def _callbacks(config: Config, folder: Path, validated: bool) -> tuple[ModelCheckpoint, list[Callback]]:
    """Return the checkpoint of the best epoch, and all callbacks; without validation the best is the last."""
    best = ModelCheckpoint(
        folder,
        filename="best",
        monitor=monitored_metric(config) if validated else None,
        mode="max",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [best, last_checkpoint(folder)]
    if config.train.early_stopping_patience and validated:
        callbacks.append(
            EarlyStopping(monitored_metric(config), mode="max", patience=config.train.early_stopping_patience)
        )
    return best, callbacks
