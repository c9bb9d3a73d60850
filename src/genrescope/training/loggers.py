"""Where the curves and results of a run are logged: CSV, TensorBoard, MLflow, Weights & Biases.

All work without a network. Each finds its run again, so that a resumed training, or another process of it,
continues the same curves.
"""

from __future__ import annotations

import csv
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genrescope.errors import ConfigError, missing_extra
from genrescope.training.options import Row
from genrescope.utils import did_you_mean, write_atomic

Settings = Mapping[str, Any]
CURVES_FILE = "metrics.csv"


class RunLogger(ABC):
    """One place where a run is logged. Nothing is opened, and no library imported, before it is needed.

    Parameters
    ----------
    folder : Path
        Of the run.
    run_id : str
        Of 16 hexadecimal digits: the same for the same data, settings and folder.
    settings : mapping
        From names such as ``train.epochs`` to values.
    """

    def __init__(self, folder: Path, run_id: str, settings: Settings) -> None:
        self.folder = folder
        self.run_id = run_id
        self.settings = settings

    def start(self, rows: Sequence[Row]) -> None:  # noqa: B027  # most find out by themselves
        """Begin, or continue after ``rows``; see `EpochObserver.start`."""

    @abstractmethod
    def log_epoch(self, row: Row) -> None:
        """Log the numbers of an epoch.

        Parameters
        ----------
        row : mapping
            ``epoch``, from 1 on, losses, accuracies and the learning rate.
        """

    @abstractmethod
    def log_results(self, results: Row) -> None:
        """Log what the finished model was measured to be.

        Parameters
        ----------
        results : mapping
            From names such as ``test/track_accuracy`` to numbers.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what is not written yet; it may be started again."""


class CsvLogger(RunLogger):
    """``metrics.csv`` in the run's folder: a line per epoch, there as soon as the epoch is over."""

    _columns: tuple[str, ...] = ()

    def start(self, rows: Sequence[Row]) -> None:
        """Write the lines of a resumed training's epochs; lines of an epoch to be repeated are dropped."""
        self._columns = ()
        (self.folder / CURVES_FILE).unlink(missing_ok=True)
        if rows:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            self._columns = tuple(rows[0])
            writer.writerows([self._columns, *([row.get(name) for name in self._columns] for row in rows)])
            write_atomic(self.folder / CURVES_FILE, text.getvalue())

    def log_epoch(self, row: Row) -> None:
        """Append a line, ``row``, and the names of the columns before the first."""
        lines = [[row.get(name) for name in self._columns]]
        if not self._columns:
            self._columns = tuple(row)
            lines = [[*self._columns], [*row.values()]]  # type: ignore[list-item]
        # Opened for each line, so that whoever reads the file finds it.
        with (self.folder / CURVES_FILE).open("a", encoding="utf8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(lines)

    def log_results(self, results: Row) -> None:
        """Do nothing: they are in ``evaluation.json``."""

    def close(self) -> None:
        """Do nothing: all is written."""


class TensorBoardLogger(RunLogger):
    """Event files in the folder ``tensorboard`` of the run; needs tensorboard."""

    _writer: Any = None

    def start(self, rows: Sequence[Row]) -> None:
        """Open an event file; TensorBoard hides epochs of older ones that come again."""
        self._open(purge_step=len(rows) + 1 if rows else None)

    def log_epoch(self, row: Row) -> None:
        """Write a point of each curve in ``row``."""
        writer = self._open()
        for name, value in row.items():
            if name != "epoch":
                writer.add_scalar(_grouped(name), value, int(row["epoch"]))
        writer.flush()

    def log_results(self, results: Row) -> None:
        """Write the results, with the settings as hyperparameters, for the tab HPARAMS."""
        from torch.utils.tensorboard.summary import hparams

        writer = self._open()
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self.settings.items()
        }
        # Not SummaryWriter.add_hparams, which writes into another folder, named after the time.
        for summary in hparams(plain, dict(results)):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        for name, value in results.items():
            writer.add_scalar(name, value)

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _open(self, **options: Any) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder / "tensorboard"), **options)
        return self._writer


class MlflowLogger(RunLogger):
    """A run of the experiment ``genrescope`` of MLflow; needs mlflow, or mlflow-skinny.

    It is kept where ``MLFLOW_TRACKING_URI`` says, otherwise in the folder ``mlruns`` beside the run's folder.
    """

    _client: Any = None
    _id: str = ""

    def log_epoch(self, row: Row) -> None:
        """Log a point of each curve in ``row``."""
        self._log({name: value for name, value in row.items() if name != "epoch"}, int(row["epoch"]))

    def log_results(self, results: Row) -> None:
        """Log the results, and mark the run as finished."""
        self._log(results, 0)
        self._client.set_terminated(self._id)

    def close(self) -> None:
        """Let go of the client; all is written."""
        self._client = None

    def _log(self, values: Row, step: int) -> None:
        client = self._open()
        for name, value in values.items():
            client.log_metric(self._id, _grouped(name), float(value), step=step)

    def _open(self) -> Any:
        if self._client is not None:
            return self._client
        from mlflow import MlflowClient

        place = os.environ.get("MLFLOW_TRACKING_URI")
        if not place:
            # MLflow 3 asks for a database in place of a folder; a folder needs nothing besides MLflow.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            place = (self.folder.absolute().parent / "mlruns").as_uri()
        self._client = client = MlflowClient(place)
        experiment = client.get_experiment_by_name("genrescope")
        number = experiment.experiment_id if experiment else client.create_experiment("genrescope")
        found = client.search_runs([number], f"tags.`genrescope.run` = '{self.run_id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            return client
        run = client.create_run(
            number, tags={"genrescope.run": self.run_id}, run_name=self.folder.absolute().name
        )
        self._id = run.info.run_id
        for name, value in self.settings.items():
            client.log_param(self._id, name, value)
        return client


class WandbLogger(RunLogger):
    """A run of the project ``genrescope`` of Weights & Biases; needs wandb.

    Offline, in the folder ``wandb`` of the run, unless ``WANDB_MODE`` says otherwise; ``wandb sync`` uploads
    it.
    """

    _run: Any = None

    def log_epoch(self, row: Row) -> None:
        """Log a point of each curve in ``row``."""
        values = {_grouped(name): value for name, value in row.items() if name != "epoch"}
        self._open().log(values, step=int(row["epoch"]))

    def log_results(self, results: Row) -> None:
        """Write the results into the run's summary."""
        self._open().summary.update(dict(results))

    def close(self) -> None:
        """End the run; it may be resumed."""
        if self._run is not None:
            self._run.finish()
        self._run = None

    def _open(self) -> Any:
        if self._run is None:
            import wandb

            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "genrescope"),
                name=self.folder.absolute().name,
                id=self.run_id,
                resume="allow",
                dir=str(self.folder),
                config=dict(self.settings),
                mode=os.environ.get("WANDB_MODE", "offline"),
                settings=wandb.Settings(silent=True),
            )
        return self._run


LOGGERS: dict[str, type[RunLogger]] = {
    "csv": CsvLogger,
    "tensorboard": TensorBoardLogger,
    "mlflow": MlflowLogger,
    "wandb": WandbLogger,
}


def check_loggers(names: Iterable[str]) -> None:
    """Refuse loggers that do not exist, or whose library is not installed.

    Parameters
    ----------
    names : iterable of str
        Keys of ``LOGGERS``.

    Raises
    ------
    ConfigError
        ``invalid_argument``: there is no such logger.
    MissingDependencyError
        ``missing_dependency``.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError("invalid_argument", f"no logger is named {name!r}", did_you_mean(name, LOGGERS))
        if name != "csv" and find_spec(name) is None:
            raise missing_extra(name, name)


def create_loggers(
    names: Iterable[str], folder: Path, run_id: str, settings: Settings
) -> tuple[RunLogger, ...]:
    """Return the loggers of a run, none of them opened; the CSV file always is among them.

    Parameters
    ----------
    names : iterable of str
        Keys of ``LOGGERS``.
    folder : Path
        Of the run.
    run_id : str
        The same for the same data, settings and folder.
    settings : mapping
        From names such as ``train.epochs`` to values.
    """
    return tuple(LOGGERS[name](folder, run_id, settings) for name in dict.fromkeys(["csv", *names]))


def _grouped(name: str) -> str:
    """Return ``train/loss`` for ``train_loss``, by which these tools group their charts."""
    part, separator, rest = name.partition("_")
    return f"{part}/{rest}" if separator and part in ("train", "validation") else name
