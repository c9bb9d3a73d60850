"""Many files, one row each: what fails becomes an error row, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from genrescope import inventory
from genrescope.errors import DataError, GenrescopeError
from genrescope.predict import Classifier
from genrescope.records import AUDIO_SUFFIXES

Row = dict[str, Any]


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """Return the audio files at ``paths``: files as named, folders searched through.

    Raises
    ------
    DataError
        ``dataset_empty``: nothing there has the suffix of an audio file.
    """
    paths = list(paths)
    found = [list(inventory.audio_files([path])) for path in paths]
    if not any(found):
        names = ", ".join(map(str, paths))
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise DataError(
            "dataset_empty", f"{names}: no audio files there", f"files are known by their suffix: {suffixes}"
        )
    # An empty folder beside others stands for itself: it becomes an error row.
    return [file for path, files in zip(paths, found, strict=True) for file in files or [path]]


def predict_many(classifier: Classifier, files: Iterable[Path], **options: bool) -> Iterator[Row]:
    """Yield one row per file, in order: ``Prediction.row()``, or ``{"path", "error": {...}}``.

    ``options`` are those of `Classifier.classify`.
    """
    for path in files:
        try:
            yield classifier.predict(path, **options).to_dict()
        except GenrescopeError as failure:
            yield {"path": str(path), "error": failure.to_dict()}
