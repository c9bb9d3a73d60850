"""Features on disk, keyed by what they were computed from: content, FeatureSpec, version.

A file that moves keeps its features; a file or a spec that changes gets new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genrescope.errors import EnvironmentFailure
from genrescope.features.extraction import FeatureSpec
from genrescope.types import FloatArray
from genrescope.utils import write_atomic

# Raised when features.compute changes its numbers, so that old entries are not found again.
FEATURES_VERSION = 1


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_key(path: Path, spec: FeatureSpec) -> str:
    """Return the name under which the features of ``path`` are kept."""
    identity = json.dumps([content_hash(path), spec.to_json(), FEATURES_VERSION], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


def get_or_compute(
    folder: Path | None, path: Path, spec: FeatureSpec, compute: Callable[[], FloatArray]
) -> FloatArray:
    """Return the kept features of ``path``, or compute and keep them. ``folder`` None keeps nothing."""
    if folder is None:
        return compute()
    name = cache_key(path, spec)
    entry = folder / name[:2] / f"{name}.npy"
    kept = _read(entry)
    if kept is not None:
        return kept
    features = compute()
    with contextlib.suppress(EnvironmentFailure):  # a cache that cannot be written makes the next run slower
        _write(entry, features)
    return features


def _read(entry: Path) -> FloatArray | None:
    try:
        kept: FloatArray = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # absent, or damaged: computed anew either way
    return kept


def _write(entry: Path, features: FloatArray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    write_atomic(entry, buffer.getvalue())
