"""How a run is carried out: devices, progress, and observers of its epochs. No setting of a model is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Row = Mapping[str, float]


class EpochObserver(Protocol):
    """Is told of each epoch of a training; with several devices, within the first of their processes."""

    def start(self, rows: Sequence[Row]) -> None:
        """Begin.

        Parameters
        ----------
        rows : sequence of mapping
            The curves before this point: of a resumed training, those of the epochs before its checkpoint.
        """

    def log_epoch(self, row: Row) -> None:
        """Take the numbers of one more epoch.

        Parameters
        ----------
        row : mapping
            ``epoch``, from 1 on, losses, accuracies and the learning rate.
        """

    def close(self) -> None:
        """Write what is not written yet; it may be started again."""


@dataclass(frozen=True)
class FitOptions:
    """How a training is carried out.

    Attributes
    ----------
    progress_bar : bool
        Whether to show the progress of an epoch on standard error.
    device : {"auto", "cpu", "cuda", "mps"}
        Where networks are trained.
    devices : int
        Processes that train a network together, each on a device, or a share of the processor, of its own.
    observers : tuple of EpochObserver
        Told of each epoch.
    """

    progress_bar: bool = False
    device: str = "auto"
    devices: int = 1
    observers: tuple[EpochObserver, ...] = ()


DEFAULT_OPTIONS = FitOptions()
