"""Gradient descent, driven by Lightning: checkpoints every epoch, resume, early stopping, progress."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar

from genrescope.datasets import SegmentDataset
from genrescope.errors import GenrescopeError
from genrescope.models import Network
from genrescope.training.config import Config
from genrescope.training.module import GenreModule, TrainingBatches, ValidationBatches, fit_normalizer
from genrescope.types import IntArray

MONITORED_METRIC = "validation_accuracy"


def configure_torch(settings: Config) -> None:
    """Seed torch and set its threads (0: as it finds)."""
    torch.manual_seed(settings.train.seed)
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)


def precision(settings: Config) -> str:
    """Return Lightning's name for the arithmetic: bfloat16 autocast where the processor has it.

    A processor without it would only emulate bfloat16, slower than float32.
    """
    wanted = settings.train.precision
    if wanted == "auto":
        wanted = "bfloat16" if torch.cuda.is_available() or has_bfloat16() else "float32"
    return {"float32": "32-true", "bfloat16": "bf16-mixed"}[wanted]


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return any(
        bool(getattr(torch.cpu, name, lambda: False)())
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def train_network(
    network: Network,
    examples: SegmentDataset,
    targets: IntArray,
    *,
    train: IntArray,
    validation: IntArray,
    classes: int,
    settings: Config,
    folder: Path,
    say: Callable[[str], None],
    progress_bar: bool = False,
) -> list[dict[str, float]]:
    """Train ``network`` in place, from the last checkpoint in ``folder`` if there is one.

    Parameters
    ----------
    targets : ndarray, shape (tracks,)
        Index of each track's genre.
    train, validation : ndarray of int
        Segments; validation may be empty, then the last epoch is kept.

    Returns
    -------
    list of dict
        One row per epoch: losses, accuracies, learning rate.
    """
    batches = TrainingBatches(examples, targets, train, classes, settings)
    fit_normalizer(network, examples, train, settings.train.seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = GenreModule(network, settings, batches, lambda row: _report(row, settings.train.epochs, say))
    best, callbacks = _callbacks(settings, folder, bool(len(validation)))
    trainer = _trainer(settings, callbacks, progress_bar)
    last = folder / "last.ckpt"
    with warnings.catch_warnings():
        # Lightning advises on loaders and loggers; these are chosen on purpose.
        warnings.simplefilter("ignore")
        trainer.fit(
            learner,
            batches,
            ValidationBatches(examples, targets, validation) if len(validation) else None,
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    if settings.train.checkpoint == "best" and len(validation):
        kept = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
        learner.load_state_dict(kept["state_dict"])
    return learner.curves


def _trainer(settings: Config, callbacks: list[Callback], progress_bar: bool) -> lightning.Trainer:
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if progress_bar:
        callbacks = [*callbacks, RichProgressBar(console_kwargs={"stderr": True})]
    return lightning.Trainer(
        max_epochs=settings.train.epochs,
        precision=precision(settings),  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=False,
        accelerator="auto",
        devices=1,
        num_sanity_val_steps=0,
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
    )


def _callbacks(settings: Config, folder: Path, validated: bool) -> tuple[ModelCheckpoint, list[Callback]]:
    best = ModelCheckpoint(
        folder,
        filename="best",
        monitor=MONITORED_METRIC if validated else None,
        mode="max",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks: list[Callback] = [best, last]
    if settings.train.early_stopping_patience and validated:
        callbacks.append(
            EarlyStopping(MONITORED_METRIC, mode="max", patience=settings.train.early_stopping_patience)
        )
    return best, callbacks


def _report(row: dict[str, float], epochs: int, say: Callable[[str], None]) -> None:
    if not math.isfinite(row["train_loss"]):
        raise GenrescopeError(
            "training_failed",
            f"the loss is {row['train_loss']} in epoch {row['epoch']:.0f}",
            "lower optimizer.learning_rate; the checkpoint of the epoch before is kept",
        )
    parts = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name != "epoch"]
    say(f"epoch {row['epoch']:.0f}/{epochs}: " + ", ".join(parts))
