"""The features of a whole data set in one file, with an index beside it, found again by the next run."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrescope.errors import AudioError
from genrescope.features import FEATURES_VERSION, FeatureSpec, MappedFeatures
from genrescope.types import Float64Array, IntArray, Track
from genrescope.utils import load_array, parse_json, sha256_text, write_atomic

# Ten million segments take 160 MB.
MAX_SEGMENTS_BYTES = 1 << 32
Grid = tuple[IntArray, Float64Array]  # segment starts and weights of a track


@dataclass(frozen=True)
class StoredFeatures:
    """What a `FeatureFile` holds.

    Attributes
    ----------
    tracks : list of Track
        Those that could be read.
    spectrograms : MappedFeatures
        The features of each.
    grids : list of (ndarray, ndarray)
        Starts and weights of the segments of each.
    failures : list of (Track, AudioError)
        Those that could not be read, and why.
    """

    tracks: list[Track]
    spectrograms: MappedFeatures
    grids: list[Grid]
    failures: list[tuple[Track, AudioError]]


@dataclass(frozen=True)
class FeatureFile:
    """The place of the features of one data set, as one spec and one way of cutting segments give them.

    Attributes
    ----------
    path : Path
        The ``.npy`` file. Beside it are the segments, another array, and, written last, the index.
    """

    path: Path

    @classmethod
    def of(
        cls, folder: Path, tracks: Sequence[Track], spec: FeatureSpec, options: list[float]
    ) -> FeatureFile:
        """Return the place for a data set, which depends on its files, the spec and the options.

        Parameters
        ----------
        folder : Path
            Where such files are kept.
        tracks : sequence of Track
            Of the data set, in their order.
        spec : FeatureSpec
        options : list of numbers
            Whatever else the features and their segments depend on.
        """
        # Sizes and times and not content: reading ten thousand songs to hash them takes as long as a training
        # run's first epoch, and the cache of single files goes by content.
        files = [[track.id, str(track.path.absolute()), track.kind, *_state(track.path)] for track in tracks]
        key = sha256_text(json.dumps([files, spec.to_json(), options, FEATURES_VERSION], sort_keys=True))
        return cls(folder / f"{key[:32]}.npy")

    @property
    def segments(self) -> Path:
        """The file with first column and weight of each segment, shape (segments, 2)."""
        return self.path.with_suffix(".segments.npy")

    @property
    def index(self) -> Path:
        """The file with the tracks, and the number of columns and segments of each."""
        return self.path.with_suffix(".json")

    def load(self, tracks: Sequence[Track]) -> StoredFeatures | None:
        """Return what is stored; None where nothing is, or it is damaged.

        Parameters
        ----------
        tracks : sequence of Track
            Of the data set, of which the file has some or all.
        """
        try:
            stored = parse_json(self.index.read_text(encoding="utf8"))
            return self._parse(stored, {track.id: track for track in tracks})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _parse(self, stored: dict[str, Any], known: dict[str, Track]) -> StoredFeatures:
        values = load_array(self.segments, max_bytes=MAX_SEGMENTS_BYTES)
        counts = np.array(stored["segments"], np.int64)
        if values.shape != (counts.sum(), 2):
            raise ValueError(f"{self.segments}: not the segments of the index")
        grids = np.split(values, np.cumsum(counts)[:-1])
        return StoredFeatures(
            [known[name] for name in stored["tracks"]],
            MappedFeatures(self.path, np.array(stored["columns"], np.int64)),
            [(grid[:, 0].astype(np.int64), grid[:, 1].copy()) for grid in grids],
            [
                (known[name], AudioError(error["code"], error["message"], error["hint"]))
                for name, error in stored["failures"]
            ],
        )

    def save_index(
        self,
        tracks: Sequence[Track],
        spectrograms: MappedFeatures,
        grids: Sequence[Grid],
        failures: Sequence[tuple[Track, AudioError]],
    ) -> None:
        """Write the index, after which `load` finds the features.

        Parameters
        ----------
        tracks : sequence of Track
            Those that could be read.
        spectrograms : MappedFeatures
            Their features, in ``path``.
        grids : sequence of (ndarray, ndarray)
            Starts and weights of the segments of each.
        failures : sequence of (Track, AudioError)
            Those that could not be read, and why.

        Raises
        ------
        WriteError
            ``write_failed``.
        """
        index = {
            "tracks": [track.id for track in tracks],
            "columns": spectrograms.columns.tolist(),
            "segments": [len(starts) for starts, _ in grids],
            "failures": [[track.id, failure.to_dict()] for track, failure in failures],
        }
        buffer = io.BytesIO()
        # Numbers of columns are exact in float64.
        np.save(buffer, np.concatenate([np.stack(grid, axis=1) for grid in grids]), allow_pickle=False)
        write_atomic(self.segments, buffer.getvalue())
        write_atomic(self.index, json.dumps(index))


def _state(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
