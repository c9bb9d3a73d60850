"""Many files, one row each: what fails becomes an error row, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from genrescope.errors import GenrescopeError
from genrescope.inference.classifier import Classifier

Row = dict[str, Any]


def predict_many(classifier: Classifier, files: Iterable[Path], **options: bool) -> Iterator[Row]:
    """Yield one row per file, in order: ``Prediction.row()``, or ``{"path", "error": {...}}``.

    ``options`` are those of `Classifier.classify`.
    """
    for path in files:
        try:
            yield classifier.predict(path, **options).to_dict()
        except GenrescopeError as failure:
            yield {"path": str(path), "error": failure.to_dict()}
