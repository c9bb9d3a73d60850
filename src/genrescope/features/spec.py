"""What a model is fed: the settings of features, their presets, and names and sizes that follow from them.

The spec travels in the model file, so that a model is always fed what it was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from genrescope.errors import ConfigError, ModelError
from genrescope.features.filterbanks import PITCH_CLASSES, MelScale
from genrescope.features.spectral import CONTRAST_FMIN, CONTRAST_OCTAVES, PadMode

Kind = Literal["log_mel", "sequence", "vector", "table", "samples", "custom"]
LogScale = Literal["db", "natural", "compressed"]

# Names that a spec may list, and a model file may hold; their definitions are in `spectral`.
FEATURES = (
    "mfcc",
    "chroma",
    "spectral_contrast",
    "spectral_centroid",
    "spectral_bandwidth",
    "spectral_rolloff",
    "zero_crossing_rate",
    "rms",
)
# The feature that `FeatureSpec.function` computes.
CUSTOM = "custom"
MAX_CUSTOM_ROWS = 4096
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "std": np.std, "var": np.var}

# Far beyond what is of use: tables and spectra of these sizes still fit into memory.
_LARGEST = {"sample_rate": 384_000, "n_fft": 1 << 15, "hop_length": 1 << 20, "n_mels": 512, "n_mfcc": 512}

_CHOICES = {
    "kind": ("log_mel", "sequence", "vector", "table", "samples", "custom"),
    "pad_mode": ("constant", "reflect"),
    "mel_scale": ("slaney", "kaldi"),
    "log": ("db", "natural", "compressed"),
}


_OF_FUNCTION = frozenset(["function", "function_rows"])


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that decides which numbers a model is fed; the defaults are librosa 0.11's.

    Attributes
    ----------
    kind : {"log_mel", "sequence", "vector", "table", "samples", "custom"}
        Mel bands over time, named features over time, statistics of named features, columns of a table of
        features, which are not computed here, the samples themselves, of which the hop is one, or what
        ``function`` returns, (rows, frames).
    sample_rate : int
        In Hz.
    n_fft, hop_length, win_length : int
        Frame, step and Hann window in samples; without ``win_length`` the window fills the frame.
    window_periodic : bool
        Whether the window is periodic or symmetric.
    pad_mode : {"constant", "reflect"}
        What half a frame beyond both ends of the signal holds: zeros, or its mirror image.
    pre_emphasis : float, optional
        The signal becomes ``x[t + 1] - pre_emphasis * x[t]``, one sample shorter.
    n_mels, fmin, fmax, mel_scale : int, float, float, {"slaney", "kaldi"}
        Mel bands: how many, from and to which frequency in Hz (half the rate if none), and of which shape.
    log : {"db", "natural", "compressed"}
        10 log10 of the power, floored at -100; or ``(log(power + 1e-5) + 4.5) / 5``, as EfficientAT does; or
        ``log10(10000 power + 1)``, as musicnn does.
    n_mfcc : int
        How many cepstral coefficients; for them the mel bands of this spec are used.
    features : tuple of str
        Names out of ``FEATURES``, and ``custom``, for sequences and vectors; of a table the names of its
        columns, none for all that it has.
    statistics : tuple of str
        Names out of ``STATISTICS``, for vectors.
    pool_bins : bool
        Whether a statistic runs over a feature's rows as well as its frames, giving one number.
    function : str
        ``package.module:name`` of the function that computes the feature ``custom``; empty for others. See
        `genrescope.features.register_feature`.
    function_rows : int
        Values per frame that it returns.

    Raises
    ------
    ConfigError
        ``invalid_config``: the settings contradict each other.
    """

    kind: Kind
    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    win_length: int | None = None
    window_periodic: bool = True
    pad_mode: PadMode = "constant"
    pre_emphasis: float | None = None
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    mel_scale: MelScale = "slaney"
    log: LogScale = "db"
    n_mfcc: int = 20
    features: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    pool_bins: bool = False
    function: str = ""
    function_rows: int = 0

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise ConfigError("invalid_config", f"feature settings: {fault}", "correct this setting")

    @property
    def frames_per_second(self) -> float:
        """How many frames begin in a second."""
        return self.sample_rate / self.hop_length

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-ready values."""
        values = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        # Not where there is none, so that files of such models are what earlier versions read and wrote.
        return values if self.function else {key: v for key, v in values.items() if key not in _OF_FUNCTION}

    @classmethod
    def from_json(cls, settings: object) -> FeatureSpec:
        """Read a spec back from what `to_json` gave.

        Parameters
        ----------
        settings : object
            What JSON holds, of unknown type.

        Raises
        ------
        ModelError
            ``model_incompatible``, for keys that are missing, unknown or of the wrong type, and for settings
            that contradict each other.
        """
        types = {field.name: str(field.type) for field in fields(cls)}
        # All keys, also those at their defaults: a later version with another default must not change what
        # an existing model is fed.
        if isinstance(settings, dict) and not settings.keys() & _OF_FUNCTION:
            settings = {**settings, "function": "", "function_rows": 0}
        if not isinstance(settings, dict) or settings.keys() != types.keys():
            raise _foreign(_difference(settings, types.keys()))
        for key, value in settings.items():
            if not _has_type(value, types[key]):
                raise _foreign(f"{key} cannot be {value!r}")
        known: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
        try:
            return cls(**known)
        except ConfigError as error:
            raise _foreign(error.message.removeprefix("feature settings: ")) from error


def segment_frames(spec: FeatureSpec, seconds: float) -> int:
    """Return how many frames a segment has: those of a centered STFT of its samples, or these themselves.

    Parameters
    ----------
    spec : FeatureSpec
    seconds : float
        Length of the segment.

    Returns
    -------
    int
    """
    # Pre-emphasis, a difference of neighbors, gives one sample less than it takes.
    samples = round(seconds * spec.sample_rate) - (spec.pre_emphasis is not None)
    if spec.kind == "samples":
        return samples
    return 1 + samples // spec.hop_length


def feature_dimension(spec: FeatureSpec) -> int:
    """Return how many values a frame (log-mel and sequence) or a segment (vector and table) has.

    Parameters
    ----------
    spec : FeatureSpec
    """
    return len(feature_names(spec))


def feature_names(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the name of every row of a log-mel and every column of a sequence, vector or table.

    Parameters
    ----------
    spec : FeatureSpec

    Returns
    -------
    tuple of str
        Such as ``mel_7``, ``mfcc_3`` or ``mfcc_3_mean``.
    """
    if spec.kind == "log_mel":
        return _numbered("mel", spec.n_mels)
    if spec.kind == "custom":
        return _numbered(CUSTOM, spec.function_rows)
    if spec.kind == "table":
        return spec.features
    if spec.kind == "samples":
        return ("sample",)
    rows = [name for feature in spec.features for name in _row_names(feature, spec)]
    if spec.kind == "sequence":
        return tuple(rows)
    return tuple(f"{row}_{statistic}" for row in rows for statistic in spec.statistics)


def samples_spec(sample_rate: int) -> FeatureSpec:
    """Return the spec of networks that take samples, not features of them.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    """
    return FeatureSpec("samples", sample_rate=sample_rate, hop_length=1)


def _row_names(feature: str, spec: FeatureSpec) -> tuple[str, ...]:
    if spec.kind == "vector" and spec.pool_bins:
        return (feature,)
    heights = {"mfcc": spec.n_mfcc, "chroma": PITCH_CLASSES, "spectral_contrast": CONTRAST_OCTAVES + 1}
    heights[CUSTOM] = spec.function_rows
    return _numbered(feature, heights[feature]) if feature in heights else (feature,)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}_{number}" for number in range(1, count + 1))


def _faults(spec: FeatureSpec) -> Iterator[str]:
    """Yield what is wrong with a spec, in words."""
    for key, choices in _CHOICES.items():
        if getattr(spec, key) not in choices:
            yield f"{key} is {getattr(spec, key)!r}, not one of {', '.join(choices)}"
    for key, most in _LARGEST.items():
        if not 1 <= getattr(spec, key) <= most:
            yield f"{key} must be {'at least 1' if getattr(spec, key) < 1 else f'at most {most}'}"
    if spec.n_fft % 2:
        yield "n_fft must be even"
    if spec.win_length is not None and not 1 <= spec.win_length <= spec.n_fft:
        yield "win_length must lie between 1 and n_fft"
    if spec.n_mfcc > spec.n_mels:
        yield "n_mfcc cannot be more than n_mels"
    nyquist = spec.sample_rate / 2
    if not 0 <= spec.fmin < (nyquist if spec.fmax is None else spec.fmax) <= nyquist:
        yield "fmin and fmax must rise and lie between 0 and half the sample rate"
    if spec.pre_emphasis is not None and not 0 < spec.pre_emphasis <= 1:
        yield "pre_emphasis must lie between 0 and 1"
    yield from _choice_faults(spec)


def _choice_faults(spec: FeatureSpec) -> Iterator[str]:
    """Yield what is wrong with the chosen features and statistics."""
    if spec.kind == "table":
        if len(set(spec.features)) < len(spec.features):
            yield "features holds a name twice"
    else:
        known = (*FEATURES, CUSTOM) if spec.function else FEATURES
        wanted = spec.kind in ("sequence", "vector")
        yield from _list_faults("features", spec.features, known, wanted=wanted)
        yield from _function_faults(spec)
    if spec.kind == "samples" and (spec.hop_length, spec.pre_emphasis) != (1, None):
        yield "hop_length must be 1 for samples, and pre_emphasis not be given"
    yield from _list_faults("statistics", spec.statistics, tuple(STATISTICS), wanted=spec.kind == "vector")
    if spec.pool_bins and spec.kind != "vector":
        yield "pool_bins is for vectors"
    if "spectral_contrast" in spec.features and spec.kind != "table":
        if spec.sample_rate / 2 <= CONTRAST_FMIN * 2 ** (CONTRAST_OCTAVES - 1):
            yield "spectral_contrast needs a sample rate above 12800 Hz"
        if spec.sample_rate / spec.n_fft > CONTRAST_FMIN:
            yield "spectral_contrast needs a larger n_fft: bins of 200 Hz or less"


def _function_faults(spec: FeatureSpec) -> Iterator[str]:
    if bool(spec.function) != (spec.kind == "custom" or CUSTOM in spec.features):
        yield "function must be given for the feature custom, and for no other"
    elif spec.function and not (len(spec.function) <= 200 and _FUNCTION.fullmatch(spec.function)):
        yield "function is not package.module:name"
    elif not bool(spec.function) <= spec.function_rows <= (MAX_CUSTOM_ROWS if spec.function else 0):
        yield f"function_rows must be from 1 to {MAX_CUSTOM_ROWS}, and 0 without a function"


def _list_faults(key: str, chosen: tuple[str, ...], known: tuple[str, ...], *, wanted: bool) -> Iterator[str]:
    if wanted != bool(chosen):
        yield f"{key} must {'' if wanted else 'not '}be given for this kind"
    if len(set(chosen)) < len(chosen):
        yield f"{key} holds a name twice"
    yield from (
        f"{key} holds {name!r}, which is none of {', '.join(known)}" for name in chosen if name not in known
    )


def _has_type(value: object, declared: str) -> bool:
    """Tell whether a JSON value fits a declared field type; true and false are no numbers."""
    if declared.startswith("tuple"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if value is None:
        return declared.endswith("None")
    # Compared by exact type, because ``True`` is an ``int`` to isinstance.
    kind = {"bool": (bool,), "int": (int,), "float": (int, float)}.get(declared.split()[0], (str,))
    return type(value) in kind


def _difference(settings: object, expected: Set[str]) -> str:
    if not isinstance(settings, dict):
        return f"they are a {type(settings).__name__}, not a table"
    missing, unknown = sorted(expected - settings.keys()), sorted(map(repr, settings.keys() - expected))
    return "; ".join(
        f"{word} {', '.join(keys)}" for word, keys in (("no", missing), ("unknown", unknown)) if keys
    )


def _shortened(text: str) -> str:
    """Return a text that may hold what a file states, of any length, as a part of a message."""
    return text if len(text) <= 200 else f"{text[:200]}..."


def _foreign(what: str) -> ModelError:
    return ModelError(
        "model_incompatible",
        f"the feature settings are not ones of this version: {_shortened(what)}",
        "use a model file written by this version of genrescope, or train the model again",
    )


# The paper's features (its sections 3 and 4). Six means for the SVM and logistic regression:
PAPER_MEANS = FeatureSpec(
    "vector",
    features=(
        "chroma",
        "spectral_centroid",
        "spectral_bandwidth",
        "spectral_rolloff",
        "zero_crossing_rate",
        "mfcc",
    ),
    statistics=("mean",),
    pool_bins=True,
)
# for the LSTM 40 values per frame: 20 MFCC, the centroid, 12 pitch classes, 7 bands of contrast;
PAPER_SEQUENCE = FeatureSpec(
    "sequence", features=("mfcc", "spectral_centroid", "chroma", "spectral_contrast")
)
# for the convolutional networks log-mel, at librosa's defaults.
PAPER_LOG_MEL = FeatureSpec("log_mel")
# 914 samples are the mean distance between the columns of GTZAN's published spectrograms.
SPECTROGRAM_LOG_MEL = FeatureSpec("log_mel", hop_length=914)
# The front end of EfficientAT (Schmid, Koutini and Widmer, "Efficient Large-scale Audio Tagging via
# Transformer-to-CNN Knowledge Distillation", ICASSP 2023), whose weights expect exactly these numbers.
EFFICIENTAT = FeatureSpec(
    "log_mel",
    sample_rate=32000,
    n_fft=1024,
    hop_length=320,
    win_length=800,
    window_periodic=False,
    pad_mode="reflect",
    pre_emphasis=0.97,
    fmax=15000.0,
    mel_scale="kaldi",
    log="natural",
)
# The front end of musicnn (Pons and Serra, arXiv 1909.06654).
MUSICNN = FeatureSpec("log_mel", sample_rate=16000, n_fft=512, hop_length=256, n_mels=96, log="compressed")
