"""Features of many files as one table: as arrays, or as a data frame of pandas or a table of Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genrescope import audio
from genrescope.errors import AudioError, DataError, missing_extra
from genrescope.features.extraction import extract
from genrescope.features.spec import PAPER_MEANS, FeatureSpec, feature_names
from genrescope.types import Audio, Float64Array, FloatArray

if TYPE_CHECKING:
    import pandas
    import pyarrow


@dataclass(frozen=True)
class FeatureTable:
    """Features of audio, one row for each segment or frame.

    Attributes
    ----------
    paths : tuple of str
        The file of each row.
    starts : ndarray, shape (rows,), seconds
        Where the segment begins in its file, or where the middle of the frame is.
    names : tuple of str
        The name of each column, as of `feature_names`.
    values : ndarray, shape (rows, features), float32
    """

    paths: tuple[str, ...]
    starts: Float64Array
    names: tuple[str, ...]
    values: FloatArray

    def __len__(self) -> int:
        return len(self.paths)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with the columns ``path``, ``start`` (seconds) and one of each feature.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        MissingDependencyError
            ``missing_dependency``: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise missing_extra("pandas", "pandas") from None
        frame = pandas.DataFrame(self.values, columns=list(self.names))
        frame.insert(0, "start", self.starts)
        frame.insert(0, "path", list(self.paths))
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """Return a table of Arrow with the columns of `to_pandas`.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        MissingDependencyError
            ``missing_dependency``: pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise missing_extra("parquet", "pyarrow") from None
        columns = {"path": pyarrow.array(self.paths, pyarrow.string()), "start": pyarrow.array(self.starts)}
        columns |= {
            name: pyarrow.array(np.ascontiguousarray(column))
            for name, column in zip(self.names, self.values.T, strict=True)
        }
        return pyarrow.table(columns)


def feature_table(
    sources: Iterable[audio.Source | Audio],
    spec: FeatureSpec = PAPER_MEANS,
    *,
    seconds: float | None = None,
    hop_seconds: float | None = None,
    on_failure: Callable[[str, AudioError], None] | None = None,
) -> FeatureTable:
    """Compute the features of many files, as `extract_features` does of one.

    Parameters
    ----------
    sources : iterable of str, PathLike, bytes, binary file or Audio
        The files.
    spec : FeatureSpec
        A vector gives a row for each segment, a sequence or log-mel spectrogram one for each frame.
    seconds : float, optional
        Length of a segment. None: the whole of a file is one.
    hop_seconds : float, optional
        From the start of one segment to that of the next; at most ``seconds``. None: no overlap.
    on_failure : callable, optional
        Called with the name of each file that cannot be used and the error; it is then left out. None: the
        first one raises.

    Returns
    -------
    FeatureTable

    Raises
    ------
    AudioError, ConfigError
        As of `extract_features`.
    DataError
        ``dataset_empty``: no file, or none that can be used.
    """
    paths: list[str] = []
    starts: list[Float64Array] = []
    values: list[FloatArray] = []
    for source in sources:
        name = audio.source_name(source)
        try:
            place, rows = _rows(source, spec, seconds, hop_seconds)
        except AudioError as failure:
            if on_failure is None:
                raise
            on_failure(name, failure)
            continue
        paths += [name] * len(rows)
        starts.append(place)
        values.append(rows)
    if not values:
        raise DataError("dataset_empty", "no audio to compute features of", "give at least one readable file")
    return FeatureTable(tuple(paths), np.concatenate(starts), feature_names(spec), np.concatenate(values))


def _rows(
    source: audio.Source | Audio, spec: FeatureSpec, seconds: float | None, hop_seconds: float | None
) -> tuple[Float64Array, FloatArray]:
    """Return the rows of one file, shape (rows, features), and the place of each, in seconds."""
    if isinstance(source, Audio):
        clip = audio.resample(source, spec.sample_rate)
    else:
        clip = audio.load_audio(source, sample_rate=spec.sample_rate)
    if seconds is None:
        begins, samples = np.zeros(1), clip.samples[None]
    else:
        segments = audio.split(clip, seconds=seconds, hop_seconds=hop_seconds)
        begins, samples = segments.starts, segments.samples
    computed = extract(samples, clip.sample_rate, spec)
    if spec.kind == "vector":
        return begins, computed
    if spec.kind == "log_mel":
        computed = computed.transpose(0, 2, 1)
    times = np.arange(computed.shape[1]) * (spec.hop_length / spec.sample_rate)
    return (begins[:, None] + times).ravel(), computed.reshape(-1, computed.shape[-1])
