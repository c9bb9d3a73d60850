"""Samples to what a model is fed: log-mel, sequence or vector, as a `FeatureSpec` says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genrescope import audio
from genrescope.errors import AudioError, ConfigError
from genrescope.features.custom import custom_feature
from genrescope.features.spec import PAPER_LOG_MEL, STATISTICS, FeatureSpec
from genrescope.features.spectral import (
    Spectrum,
    chroma,
    decibels,
    mel_spectrogram,
    mfcc,
    rms,
    spectral_bandwidth,
    spectral_centroid,
    spectral_contrast,
    spectral_rolloff,
    zero_crossing_rate,
)
from genrescope.types import Audio, FloatArray


def extract_features(
    source: audio.Source | Audio | FloatArray,
    spec: FeatureSpec = PAPER_LOG_MEL,
    *,
    sample_rate: int | None = None,
    seconds: float | None = None,
    hop_seconds: float | None = None,
) -> FloatArray:
    """Compute the features of a file or of samples.

    Parameters
    ----------
    source : str, PathLike, bytes, binary file, Audio or ndarray
        A path; a whole file in memory; a file object; decoded audio; or mono samples, shape (n,), floats or
        integers of 8, 16 or 32 bits, with ``sample_rate``.
    spec : FeatureSpec
        Which features; the audio is resampled to its rate.
    sample_rate : int, optional
        In Hz, of samples in an array; for these alone.
    seconds : float, optional
        Cut the audio into segments of this length first. None: the whole of it is one segment.
    hop_seconds : float, optional
        From the start of one segment to that of the next; at most ``seconds``. None: no overlap.

    Returns
    -------
    ndarray, float32
        Log-mel (segments, mels, frames), sequence (segments, frames, features) or vector (segments,
        features).

    Raises
    ------
    AudioError
        A file that cannot be used, as of `load_audio`; ``audio_no_samples`` for an empty array;
        ``audio_not_finite``
        and ``audio_out_of_range`` for samples that are not finite, or of a magnitude beyond 2**32.
    ConfigError
        ``invalid_argument``: an array without a sample rate, not one-dimensional or of another type, a sample
        rate beside a file, or segments that make no sense.

    Examples
    --------
    >>> from genrescope import extract_features
    >>> from genrescope.features import PAPER_SEQUENCE
    >>> extract_features("song.mp3", PAPER_SEQUENCE, seconds=3.0).shape
    (10, 130, 40)
    """
    clip = _decoded(source, spec.sample_rate, sample_rate)
    if seconds is None:
        return extract(clip.samples[None], clip.sample_rate, spec)
    segments = audio.split(clip, seconds=seconds, hop_seconds=hop_seconds)
    return extract(segments.samples, segments.sample_rate, spec)


def _decoded(source: audio.Source | Audio | FloatArray, rate: int, source_rate: int | None) -> Audio:
    """Return the audio of a source at ``rate`` Hz."""
    if isinstance(source, np.ndarray):
        if source_rate is None or source.ndim != 1:
            raise ConfigError(
                "invalid_argument",
                f"samples of shape {source.shape} at {source_rate} Hz",
                "give mono samples of shape (n,), and their sample_rate in Hz",
            )
        if not np.issubdtype(source.dtype, np.floating):
            source = audio.scale_samples(source)
        _check_levels(source)  # before float32, which is infinite where float64 is large
        source = Audio(source.astype(np.float32, copy=False), source_rate)
    elif source_rate is not None:
        raise ConfigError(
            "invalid_argument",
            f"sample_rate = {source_rate} beside audio that has its own",
            "leave it out: it is for samples in an array",
        )
    if isinstance(source, Audio):
        _check_levels(source.samples)
        return audio.resample(source, rate)
    return audio.load_audio(source, sample_rate=rate)


def _check_levels(samples: FloatArray) -> None:
    """Refuse samples whose features would not be finite; a decoder has checked those of a file."""
    peak = np.abs(samples).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError(
            "audio_not_finite", "the samples are not all finite", "give samples without NaN or infinity"
        )
    if peak > audio.MAX_MAGNITUDE:
        message = f"samples of {peak:.0e}, where 1 is full scale"
        raise AudioError("audio_out_of_range", message, "give samples between -1 and 1")


def extract(samples: FloatArray, sample_rate: int, spec: FeatureSpec) -> FloatArray:
    """Compute the features of segments, each for itself: a batch gives what its segments give one by one.

    Parameters
    ----------
    samples : ndarray, shape (segments, n), float32
        Mono.
    sample_rate : int
        In Hz; must be the spec's.
    spec : FeatureSpec

    Returns
    -------
    ndarray, float32
        Log-mel (segments, mels, frames), sequence (segments, frames, features), vector (segments,
        features) or custom (segments, rows, frames), with ``frames = 1 + n // hop_length``; or the samples as
        they are.

    Raises
    ------
    ConfigError
        ``invalid_argument``, for another sample rate, samples that are not two-dimensional, or the columns of
        a table.
    AudioError
        ``audio_no_samples``, for no segments, or segments too short for the spec.
    ModelError, MissingDependencyError
        ``model_incompatible``, ``missing_dependency``: a feature function that is not allowed, or not here.
    """
    _check(samples, sample_rate, spec)
    if spec.kind == "table":
        raise ConfigError(
            "invalid_argument",
            "the features of this model are columns of a table, which are not computed from audio",
            "evaluate it on a table with these columns (genrescope evaluate), or use another model",
        )
    # Segment by segment and not as one batch: the result of a segment must not depend, by rounding, on which
    # others are computed with it, and the spectrum of one segment stays in the processor's cache.
    if spec.kind == "samples":
        return np.ascontiguousarray(samples, np.float32)
    compute = {"log_mel": _log_mel, "sequence": _sequence, "vector": _vector, "custom": custom_feature}[
        spec.kind
    ]
    return np.stack([compute(_pre_emphasized(segment, spec), spec) for segment in samples])


def _pre_emphasized(segment: FloatArray, spec: FeatureSpec) -> FloatArray:
    if spec.pre_emphasis is None:
        return segment
    # A first-order high-pass that lifts the treble, as speech front ends and EfficientAT have it.
    return segment[1:] - np.float32(spec.pre_emphasis) * segment[:-1]


def _log_mel(samples: FloatArray, spec: FeatureSpec) -> FloatArray:
    mel = _mel(_spectrum(samples, spec, keep=False), spec)
    if spec.log == "db":
        return np.ascontiguousarray(decibels(mel))
    if spec.log == "compressed":
        return np.ascontiguousarray(np.log10(mel * np.float32(10_000) + np.float32(1)))
    # EfficientAT's offset and scale: a fixed normalization in place of one fitted to data.
    return np.ascontiguousarray((np.log(mel + np.float32(1e-5)) + np.float32(4.5)) / np.float32(5))


def _sequence(samples: FloatArray, spec: FeatureSpec) -> FloatArray:
    return np.ascontiguousarray(np.concatenate(_tracks(samples, spec)).T)


def _vector(samples: FloatArray, spec: FeatureSpec) -> FloatArray:
    """Pool every feature over its frames: row after row, of each all statistics."""
    # Sums run in float64: in float32, rounding would depend on the order in which NumPy adds, which differs
    # between processors.
    axis = None if spec.pool_bins else 1
    columns = [
        np.stack([STATISTICS[name](track, axis=axis, dtype=np.float64) for name in spec.statistics], axis=-1)
        for track in _tracks(samples, spec)
    ]
    return np.concatenate([column.ravel() for column in columns]).astype(np.float32)


def _tracks(samples: FloatArray, spec: FeatureSpec) -> list[FloatArray]:
    """Compute the spec's features over time, each (rows, frames), from one spectrum."""
    spectrum = _spectrum(samples, spec, keep=True)
    # Callables, so that only the features that the spec names are computed.
    features: dict[str, Callable[[], FloatArray]] = {
        "mfcc": lambda: mfcc(_mel(spectrum, spec), spec.n_mfcc),
        "chroma": lambda: chroma(spectrum),
        "spectral_contrast": lambda: spectral_contrast(spectrum),
        "spectral_centroid": lambda: spectral_centroid(spectrum),
        "spectral_bandwidth": lambda: spectral_bandwidth(spectrum),
        "spectral_rolloff": lambda: spectral_rolloff(spectrum),
        "zero_crossing_rate": lambda: zero_crossing_rate(samples, spec.n_fft, spec.hop_length),
        "rms": lambda: rms(spectrum),
        "custom": lambda: custom_feature(samples, spec),
    }
    return [np.atleast_2d(features[feature]()) for feature in spec.features]


def _spectrum(samples: FloatArray, spec: FeatureSpec, *, keep: bool) -> Spectrum:
    return Spectrum(
        samples,
        spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        periodic=spec.window_periodic,
        pad_mode=spec.pad_mode,
        keep=keep,
    )


def _mel(spectrum: Spectrum, spec: FeatureSpec) -> FloatArray:
    return mel_spectrogram(spectrum, spec.n_mels, spec.fmin, spec.fmax, spec.mel_scale)


def _check(samples: FloatArray, sample_rate: int, spec: FeatureSpec) -> None:
    if sample_rate != spec.sample_rate:
        raise ConfigError(
            "invalid_argument",
            f"the samples have {sample_rate} Hz, the features are defined at {spec.sample_rate} Hz",
            f"decode the audio at {spec.sample_rate} Hz",
        )
    if samples.ndim != 2:
        raise ConfigError(
            "invalid_argument",
            f"samples have the shape {samples.shape} instead of (segments, n)",
            "cut the clip into segments first",
        )
    if len(samples) == 0 or samples.shape[1] <= (spec.pre_emphasis is not None):
        raise AudioError(
            "audio_no_samples",
            f"{samples.shape[0]} segments of {samples.shape[1]} samples hold nothing to compute features of",
            "give at least one segment of one frame",
        )
