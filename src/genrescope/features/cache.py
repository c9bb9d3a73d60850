"""Features on disk, keyed by what they were computed from: content, FeatureSpec, version.

A file that moves keeps its features; a file or a spec that changes gets new ones.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrescope.errors import WriteError
from genrescope.features.spec import FeatureSpec
from genrescope.types import FloatArray
from genrescope.utils import load_array, sha256_file, sha256_text, write_atomic

# Raised when extract changes its numbers, so that old entries are not found again.
FEATURES_VERSION = 1
# Features of ten hours of audio take about 2 GB.
MAX_ENTRY_BYTES = 1 << 32


@dataclass(frozen=True)
class FeatureCache:
    """Features of audio files in a folder.

    Attributes
    ----------
    folder : Path or None
        Where they are kept; it need not exist. None: nothing is kept, and everything computed.
    """

    folder: Path | None

    def get_or_compute(self, path: Path, spec: FeatureSpec, compute: Callable[[], FloatArray]) -> FloatArray:
        """Return the kept features of a file, or compute and keep them.

        Parameters
        ----------
        path : Path
            The audio file.
        spec : FeatureSpec
        compute : callable
            Returns the features; called where there is no entry, or a damaged one.

        Returns
        -------
        ndarray, float32
            Of the shape that ``compute`` returns.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        # Code of others may change without notice, which no key would show.
        if self.folder is None or spec.function:
            return compute()
        key = self.key(path, spec)
        # A second level of folders: many file systems are slow where one holds tens of thousands of files.
        entry = self.folder / key[:2] / f"{key}.npy"
        kept = _read(entry)
        if kept is not None:
            return kept
        features = compute()
        with contextlib.suppress(WriteError):  # without an entry the next run is slower, no more
            _write(entry, features)
        return features

    @staticmethod
    def key(path: Path, spec: FeatureSpec) -> str:
        """Return the name under which the features of a file are kept.

        Parameters
        ----------
        path : Path
            The audio file; its content is hashed, so that its name does not matter.
        spec : FeatureSpec

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        # Sorted keys: the same spec gives the same text, in whatever order its fields are declared.
        return sha256_text(json.dumps([sha256_file(path), spec.to_json(), FEATURES_VERSION], sort_keys=True))


def _read(entry: Path) -> FloatArray | None:
    """Return an entry; None where it is absent or damaged, which is the same to the caller."""
    try:
        kept = load_array(entry, max_bytes=MAX_ENTRY_BYTES)
    except (OSError, ValueError):
        return None
    return kept if kept.dtype == np.float32 and kept.ndim in (1, 2, 3) and kept.size else None


def _write(entry: Path, features: FloatArray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    write_atomic(entry, buffer.getvalue())
