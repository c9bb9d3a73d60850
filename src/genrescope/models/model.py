"""The model file, read and verified.

A model is one ``.onnx`` file that describes itself: classes, features, segment length, provenance and
scores stand as JSON in its metadata. Reading needs onnxruntime and nothing else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from genrescope.errors import DeviceError, ModelError
from genrescope.features import FeatureSpec, feature_dimension, segment_frames
from genrescope.models.devices import GPU_HINT, Device, check_device, open_on_gpu
from genrescope.models.exposure import UNLABELED_EXPOSURE, UnlabeledExposure, exposures_from_json
from genrescope.models.graph import Graph, GraphError, read_graph
from genrescope.models.graph_limits import check_graph
from genrescope.types import LABEL_THRESHOLD, FloatArray, TaskKind
from genrescope.utils import parse_json, sha256_bytes

SCHEMA = 4
# Fields that schema 4 added; older files have none of what they describe.
_ADDED_IN_SCHEMA_4 = ("genre_thresholds", "taxonomy", "music_threshold", "set_level", "embedding_size")
# What schema 2, of version 0.1, called fields that are otherwise the same.
_NAMES_IN_SCHEMA_2 = {"threshold": "min_score", "license": "licence"}
# In the provenance: digests of the tracks that training or selection was given, by id, by content of their
# files and by artist; and what schema 2 called the first. Files of before 0.2.0 have no others.
TRAINING_TRACKS, TRAINING_CONTENT, TRAINING_ARTISTS = (
    "training_tracks",
    "training_content",
    "training_artists",
)
_TRAINING_TRACKS_IN_SCHEMA_2 = "heard"
METADATA_KEY = "genrescope"
INPUT, OUTPUT, STYLES_OUTPUT, MUSIC_OUTPUT, EMBEDDING_OUTPUT = (
    "features", "scores", "styles", "music", "embedding",
)  # fmt: skip
# How far the scores of a segment may be from a sum of one, and a probability outside of 0 to 1, by rounding.
SUM_TOLERANCE = 1e-3

# What a description may state; far beyond what any model of this package has. onnxruntime and NumPy allocate
# what they are asked for, so a file that asks for too much is refused before anything is computed.
# wav2vec 2.0, AST and MERT of the base size have 380 MB.
MAX_FILE_BYTES = 600_000_000
# Objects of Python take up to 30 times the space of their JSON: 500 MB. 100,000 tracks of training are 2 MB.
MAX_DESCRIPTION_LENGTH = 16 << 20
MAX_NAMES, MAX_NAME_LENGTH = 10_000, 200
MAX_EMBEDDING_SIZE = 1 << 16
MIN_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS = 0.01, 3600.0
MAX_OVERLAPPING_SEGMENTS = 1000
MIN_SAMPLE_RATE = 1000
MAX_SEGMENT_SAMPLES = 1 << 25
MAX_SEGMENT_FEATURES = 1 << 25
MAX_SPECTRUM_SIZE = 1 << 27


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself.

    Attributes
    ----------
    name : str
        Family and, for shipped models, version.
    classes : tuple of str
        In the order of the score columns.
    features : FeatureSpec
        Input of the graph; the sample rate that audio is resampled to comes from here.
    segment_seconds, hop_seconds : float
        Length of a segment, and distance between the starts of two.
    task : {"single-label", "multi-label"}
        One genre per track: scores of a segment sum to one. Or any number of genres: each has a probability
        of its own, and is a label of the track where that reaches its threshold.
    styles : tuple of str
        Further genres, each with a probability of its own; empty for a model without them.
    threshold : float or None
        The score below which the top genre of a track is uncertain, or a genre is no label of the track;
        None where none was chosen.
    genre_thresholds : dict of str to float
        Thresholds of single genres, for which there were labeled recordings enough to choose them.
    provenance : dict
        Data name and hash, split protocol, seeds of training and split, package version, commit, temperature;
        under ``training_tracks``, ``training_content`` and ``training_artists``, digests of the ids, files
        and known artists of the tracks that the model was trained on or selected by, see
        `genrescope.datasets.content_digests`; under ``unlabeled_exposure``, what its network was exposed to
        without labels.
    scores : dict
        Measured accuracies with their intervals and protocol.
    license : str
        Of the weights.
    taxonomy : str
        Version of the taxonomy that the classes and styles are nodes of; empty for other labels.
    music_threshold : float or None
        The probability of music below which a track is not music; None: the graph has no output ``music``.
    set_level : float or None
        The sum of scores that the set of possible genres reaches, chosen by split conformal prediction; None:
        the model gives no sets.
    embedding_size : int
        Length of the output ``embedding``; 0: the graph has none.
    """

    name: str
    classes: tuple[str, ...]
    features: FeatureSpec
    segment_seconds: float
    hop_seconds: float
    task: TaskKind = "single-label"
    styles: tuple[str, ...] = ()
    threshold: float | None = None
    genre_thresholds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    taxonomy: str = ""
    music_threshold: float | None = None
    set_level: float | None = None
    embedding_size: int = 0

    @property
    def class_thresholds(self) -> tuple[float, ...] | None:
        """The threshold of each class, in their order; None where none was chosen."""
        if self.threshold is None:
            return None
        return tuple(self.genre_thresholds.get(name, self.threshold) for name in self.classes)

    @property
    def label_thresholds(self) -> tuple[float, ...]:
        """The probability from which on each class is a label of a track; 0.5 where none was chosen."""
        return self.class_thresholds or (LABEL_THRESHOLD,) * len(self.classes)

    @property
    def unlabeled_exposure(self) -> tuple[UnlabeledExposure, ...]:
        """What the network was exposed to without labels; empty also where the file does not say."""
        return exposures_from_json(self.provenance.get(UNLABELED_EXPOSURE, []))

    def training_digests(self, kind: str) -> frozenset[str]:
        """Return digests of the tracks that the model was trained on or selected by.

        Parameters
        ----------
        kind : {"training_tracks", "training_content", "training_artists"}
            Of their ids, files or artists; empty also where the file does not list them.
        """
        return frozenset(self.provenance.get(kind, ()))

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain values, schema version first."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "features": self.features.to_json(),
            "classes": list(self.classes),
            "styles": list(self.styles),
        }

    @classmethod
    def from_json(cls, values: Any, source: str) -> ModelInfo:
        """Read a description; refuse one of another schema, or with missing or malformed fields.

        Parameters
        ----------
        values : object
            What the JSON text holds.
        source : str
            Of the model file, for messages.

        Raises
        ------
        ModelError
            ``model_incompatible``.
        """
        schema = values.get("schema") if isinstance(values, dict) else None
        if schema not in (SCHEMA, 3, 2):
            raise ModelError(
                "model_incompatible",
                f"{source}: model schema {_shown(schema)}, this version of genrescope reads schema {SCHEMA}",
                "install the version of genrescope that wrote it, or train the model again",
            )
        try:
            names = _NAMES_IN_SCHEMA_2 if schema == 2 else {}
            stated = set(cls.__dataclass_fields__) - set(_ADDED_IN_SCHEMA_4 if schema < SCHEMA else ())
            defaults: dict[str, Any] = {one.name: one.default for one in fields(cls)} | {
                "genre_thresholds": {}
            }
            known = defaults | {name: values[names.get(name, name)] for name in stated}
            provenance = known["provenance"]
            if schema == 2 and isinstance(provenance, dict) and _TRAINING_TRACKS_IN_SCHEMA_2 in provenance:
                tracks = provenance[_TRAINING_TRACKS_IN_SCHEMA_2]
                known["provenance"] = provenance | {TRAINING_TRACKS: tracks}
            for fault in _faults(known):
                raise _incompatible(source, fault)
            for key in ("classes", "styles"):
                known[key] = tuple(str(name) for name in known[key])
            known["features"] = _read_spec(known["features"], source)
            for fault in _size_faults(known["features"], known["segment_seconds"]):
                raise _incompatible(source, fault)
            return cls(**known)
        except (KeyError, TypeError) as reason:
            raise _incompatible(source, f"its description has no valid {reason}") from None


class ModelOutput(NamedTuple):
    """Scores of segments.

    Attributes
    ----------
    scores : ndarray, shape (segments, classes), float32
        One probability per genre; the rows sum to 1, but for multi-label models.
    styles : ndarray, shape (segments, styles), float32
        Independent probabilities; no columns for a model without styles.
    music : ndarray, shape (segments, 1), float32
        Probability of music; no column for a model that does not tell.
    embedding : ndarray, shape (segments, size), float32
        No columns for a model without.
    """

    scores: FloatArray
    styles: FloatArray
    music: FloatArray
    embedding: FloatArray


class Model:
    """A model file, opened.

    Parameters
    ----------
    graph : bytes
        Content of the file.
    source : str
        Its path or name, for messages.
    threads : int
        Threads of onnxruntime. One by default: callers run several processes instead, and the sums of
        float32 come out the same whatever the number of cores.
    device : {"cpu", "cuda", "auto"}
        What computes it. ``cuda``: an NVIDIA GPU; needs onnxruntime-gpu. ``auto``: that, where it works, or
        else the CPU.

    Attributes
    ----------
    device : {"cpu", "cuda"}
        What computes it.
    info : ModelInfo
        The description in the file.
    sha256 : str
        Of the file, in hexadecimal.
    source : str
    """

    def __init__(self, graph: bytes, source: str, *, threads: int = 1, device: str = "cpu") -> None:
        check_device(device)
        self.source = source
        self.sha256 = sha256_bytes(graph)
        self._graph = _read_graph(graph, source)
        self.info = _read_info(self._graph, source)
        _check_ports(self._graph, self.info, source)
        self._sizes: set[int] = set()
        self._check_size(1)
        self._session, self.device = _open(graph, source, threads, device)
        _check_shapes(self._session, self.info, source)

    @classmethod
    def read(cls, path: str | Path, *, threads: int = 1, device: str = "cpu") -> Model:
        """Open a model file.

        Parameters
        ----------
        path : str or Path
            Of the ``.onnx`` file.
        threads : int
            Threads of onnxruntime.
        device : {"cpu", "cuda", "auto"}
            What computes it.

        Raises
        ------
        ModelError
            ``model_not_found``; ``model_corrupt`` when it is no ONNX graph; ``model_incompatible`` when
            genrescope did not write it, or another version's schema did.
        ConfigError, MissingDependencyError
            ``invalid_argument``, ``missing_dependency``: no such device, or none that works here.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
                raise OSError(errno.EINVAL, "not a file")
            with path.open("rb") as stream:
                graph = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as reason:  # ValueError: a NUL in the path
            raise ModelError(
                "model_not_found",
                f"{path}: cannot be read: {getattr(reason, 'strerror', reason)}",
                "check the path, or see: genrescope models list",
            ) from None
        return cls(graph, str(path), threads=threads, device=device)

    @property
    def name(self) -> str:
        """The model's name and the first eight digits of its hash."""
        return f"{self.info.name}@{self.sha256[:8]}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the features of one segment."""
        return tuple(size or 1 for size in _shape(self.info)[1:])

    def predict(self, features: FloatArray) -> ModelOutput:
        """Score segments.

        Parameters
        ----------
        features : ndarray, float32
            As `genrescope.features.extract` gives them for ``info.features``, the first axis segments.

        Raises
        ------
        ModelError
            ``model_output_invalid``: scores that are no probabilities, as after features that are not finite.
        DeviceError
            ``device_failed``: the GPU failed, or its memory was not enough.
        """
        names = list(output_columns(self.info))
        self._check_size(len(features))
        try:
            outputs = self._session.run(names, {INPUT: np.ascontiguousarray(features, np.float32)})
        except Exception as reason:  # onnxruntime's errors share no public base class
            why = str(reason).splitlines()[0][:120]
            if self.device != "cpu":
                raise DeviceError("device_failed", f"{self.name}: the GPU failed: {why}", GPU_HINT) from None
            raise _invalid_output(self.name, why) from None
        for fault in _output_faults(outputs, len(features), self.info):
            raise _invalid_output(self.name, fault)
        computed = dict(zip(names, outputs, strict=True))
        nothing = np.zeros((len(features), 0), np.float32)
        return ModelOutput(*(computed.get(name, nothing) for name in output_widths(self.info)))

    def scores(self, features: FloatArray) -> FloatArray:
        """Return the scores of genres alone, without styles.

        Parameters
        ----------
        features : ndarray, float32
            As for `predict`, with the same errors.

        Returns
        -------
        ndarray, shape (segments, classes), float32
        """
        return self.predict(features).scores

    def _check_size(self, segments: int) -> None:
        """Refuse a graph that takes too much memory or work for so many segments."""
        if segments in self._sizes:
            return
        columns = output_columns(self.info)
        # Frames and features of the input are known from the description.
        shape = (segments, *self.input_shape)
        try:
            for name, found in check_graph(
                self._graph, {INPUT: shape}, takes_samples=self.info.features.kind == "samples"
            ).items():
                if found != (segments, columns[name]):
                    raise GraphError(
                        f"its output {name} has {found[-1]} columns, its description says {columns[name]}"
                        if len(found) == 2
                        else f"its output {name} has the shape {found}, not (segments, columns)"
                    )
        except GraphError as reason:
            raise _incompatible(self.source, str(reason)) from None
        self._sizes.add(segments)


def output_columns(info: ModelInfo) -> dict[str, int]:
    """Return how many columns each output of a described graph has, in the order of the outputs.

    Parameters
    ----------
    info : ModelInfo
        The description.
    """
    return {name: size for name, size in output_widths(info).items() if size}


def output_widths(info: ModelInfo) -> dict[str, int]:
    """Return how many columns each part of a `ModelOutput` has, in their order; 0 where the graph has none.

    Parameters
    ----------
    info : ModelInfo
        The description.
    """
    return {
        OUTPUT: len(info.classes),
        STYLES_OUTPUT: len(info.styles),
        MUSIC_OUTPUT: int(info.music_threshold is not None),
        EMBEDDING_OUTPUT: info.embedding_size,
    }


def _faults(known: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of a description."""
    yield from _name_faults(known)
    for name in ("segment_seconds", "hop_seconds"):
        value = known[name]
        if type(value) not in (int, float) or not MIN_SEGMENT_SECONDS <= value <= MAX_SEGMENT_SECONDS:
            yield f"its {name} is {_shown(value)}"
    if known["hop_seconds"] > known["segment_seconds"]:
        yield "its hop_seconds is more than its segment_seconds: audio between segments would be skipped"
    if known["segment_seconds"] > MAX_OVERLAPPING_SEGMENTS * known["hop_seconds"]:
        yield f"its hop_seconds is less than a {MAX_OVERLAPPING_SEGMENTS}th of its segment_seconds"
    for name in ("threshold", "music_threshold", "set_level"):
        value = known[name]
        if value is not None and not (isinstance(value, float) and 0 <= value <= 1):
            yield f"its {name} is {_shown(value)}"
    if not _are_thresholds(known["genre_thresholds"], known["classes"]):
        yield "its genre_thresholds are no table of scores by class"
    size = known["embedding_size"]
    if type(size) is not int or not 0 <= size <= MAX_EMBEDDING_SIZE:
        yield f"its embedding_size is {_shown(size)}"
    if known["task"] not in get_args(TaskKind):
        yield f"its task is {_shown(known['task'])}, which this version does not know"
    yield from _table_faults(known)


def _name_faults(known: dict[str, Any]) -> Iterator[str]:
    for key, fewest in (("classes", 2), ("styles", 0)):
        listed = known[key]
        if not isinstance(listed, list) or not fewest <= len(listed) <= MAX_NAMES:
            yield f"its {key} are not a list of {fewest} to {MAX_NAMES} names"
        elif not all(map(_is_name, listed)) or len(set(listed)) != len(listed):
            yield f"its {key} are not different names of up to {MAX_NAME_LENGTH} printable characters"
    if not _is_name(known["name"]):
        yield f"its name is {_shown(known['name'])}"


def _table_faults(known: dict[str, Any]) -> Iterator[str]:
    for name, kind in (("provenance", dict), ("scores", dict), ("license", str), ("taxonomy", str)):
        if not isinstance(known[name], kind):
            yield f"its {name} is no {'table' if kind is dict else 'text'}"
    if isinstance(known["provenance"], dict):
        yield from _provenance_faults(known["provenance"])


def _provenance_faults(provenance: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the parts of a provenance that are read and not only shown."""
    for key in (TRAINING_TRACKS, TRAINING_CONTENT, TRAINING_ARTISTS):
        digests = provenance.get(key, [])
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            yield f"its provenance does not list tracks under {key!r}"
    try:
        exposures_from_json(provenance.get(UNLABELED_EXPOSURE, []))
    except ValueError as reason:
        yield f"its provenance has no valid {UNLABELED_EXPOSURE!r}: {reason}"


def _read_spec(settings: object, source: str) -> FeatureSpec:
    try:
        return FeatureSpec.from_json(settings)
    except ModelError as fault:
        raise ModelError(fault.code, f"{source}: {fault.message}", fault.hint) from None


def _size_faults(spec: FeatureSpec, seconds: float) -> Iterator[str]:
    """Yield what is too much about the features of a segment."""
    frames = segment_frames(spec, seconds)
    if spec.sample_rate < MIN_SAMPLE_RATE:
        yield f"its sample rate is below {MIN_SAMPLE_RATE} Hz"
    if seconds * spec.sample_rate > MAX_SEGMENT_SAMPLES:
        yield f"its segments have more than {MAX_SEGMENT_SAMPLES} samples"
    if spec.kind not in ("vector", "table") and frames * feature_dimension(spec) > MAX_SEGMENT_FEATURES:
        yield f"its segments have more than {MAX_SEGMENT_FEATURES} features"
    if spec.kind != "samples" and frames * spec.n_fft > MAX_SPECTRUM_SIZE:
        yield f"its spectra have more than {MAX_SPECTRUM_SIZE} samples in all frames"


def _are_thresholds(value: object, classes: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(classes, list)
        and all(
            name in classes and isinstance(score, float) and 0 <= score <= 1 for name, score in value.items()
        )
    )


def _is_name(value: object) -> bool:
    """Whether a value can be shown as a name: on a terminal, in a table, as the name of a playlist."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _read_graph(content: bytes, source: str) -> Graph:
    if len(content) > MAX_FILE_BYTES:
        raise _incompatible(source, f"larger than {MAX_FILE_BYTES // 10**6} MB")
    try:
        return read_graph(content)
    except GraphError as reason:
        raise _corrupt(source, str(reason)) from None


def _open(graph: bytes, source: str, threads: int, device: str) -> tuple[Any, Device]:
    """Return a session, and the device that it computes on."""
    # On Windows, onnxruntime sends usage events to its maker. The variable is read at import, so it is set
    # here, before the first one; a value that the user set stays.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # onnxruntime would tell its own format from the content, and what was checked was ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's errors share no public base class
        raise _corrupt(source, str(reason).splitlines()[0][:120]) from None
    # On the CPU first, for any device: what fails there is a fault of the file, and what fails next is none.
    on_gpu = None if device == "cpu" else open_on_gpu(graph, options, required=device == "cuda")
    return (session, "cpu") if on_gpu is None else (on_gpu, "cuda")


def _corrupt(source: str, why: str) -> ModelError:
    return ModelError(
        "model_corrupt",
        f"{source}: not a readable ONNX model ({why})",
        "give a .onnx file written by genrescope train, or a name from: genrescope models list",
    )


def _read_info(graph: Graph, source: str) -> ModelInfo:
    """Read the description out of a graph's metadata."""
    text = graph.metadata.get(METADATA_KEY)
    if text is None:
        raise _incompatible(source, "it carries no genrescope description")
    if len(text) > MAX_DESCRIPTION_LENGTH:
        raise _incompatible(
            source, f"its genrescope description is larger than {MAX_DESCRIPTION_LENGTH >> 20} MB"
        )
    try:
        values = parse_json(text)
    except ValueError as reason:
        raise _incompatible(source, f"its genrescope description is not JSON ({str(reason)[:80]})") from None
    return ModelInfo.from_json(values, source)


def _check_ports(graph: Graph, info: ModelInfo, source: str) -> None:
    """Refuse a graph whose inputs and outputs are not those of its description."""
    outputs = list(output_columns(info))
    if (graph.inputs, graph.outputs) != ([INPUT], outputs):
        found = ", ".join([*graph.inputs, *graph.outputs])[:120]
        raise _incompatible(source, f"its ports are {found}, not {', '.join([INPUT, *outputs])}")


def _check_shapes(session: Any, info: ModelInfo, source: str) -> None:
    """Refuse a graph that declares other shapes than its description."""
    ports, spec = session.get_inputs()[0].shape, info.features
    expected = _shape(info)
    if len(ports) != len(expected) or any(
        isinstance(port, int) and size is not None and port != size
        for port, size in zip(ports, expected, strict=True)
    ):
        raise _incompatible(
            source, f"its graph takes {ports}, its description says {expected} for {spec.kind}"
        )
    for port in (*session.get_inputs(), *session.get_outputs()):
        if port.type != "tensor(float)":
            raise _incompatible(source, f"its {port.name} are {port.type}, not float32")


def _output_faults(outputs: Sequence[Any], segments: int, info: ModelInfo) -> Iterator[str]:
    """Yield what is wrong with the outputs of a graph; of NaN, every comparison is false."""
    for (name, columns), values in zip(output_columns(info).items(), outputs, strict=True):
        if values.shape != (segments, columns):
            yield f"its {name} have the shape {values.shape}, not {(segments, columns)}"
        elif not np.isfinite(values).all():
            yield f"its {name} are not finite"
        elif (
            name != EMBEDDING_OUTPUT
            and not ((values >= -SUM_TOLERANCE) & (values <= 1 + SUM_TOLERANCE)).all()
        ):
            yield f"its {name} are not between 0 and 1"
    if (
        info.task == "single-label"
        and not (np.abs(outputs[0].sum(axis=-1, dtype=np.float64) - 1) <= SUM_TOLERANCE).all()
    ):
        yield f"its {OUTPUT} do not sum to 1"


def _invalid_output(name: str, why: str) -> ModelError:
    return ModelError(
        "model_output_invalid",
        f"the model {name} gave no valid scores: {why}",
        "check the audio for extreme samples; if other files fail too, use another model",
    )


def _shape(info: ModelInfo) -> tuple[int | None, ...]:
    """Return the shape of the features that a described model is fed; None where it may vary."""
    spec = info.features
    if spec.kind in ("vector", "table"):
        return None, feature_dimension(spec)
    frames = segment_frames(spec, info.segment_seconds)
    if spec.kind == "samples":
        return None, frames
    return (
        (None, feature_dimension(spec), frames)
        if spec.kind in ("log_mel", "custom")
        else (None, frames, feature_dimension(spec))
    )


def _incompatible(source: str, why: str) -> ModelError:
    return ModelError(
        "model_incompatible",
        f"{source}: not a genrescope model: {why}",
        "give a file written by genrescope train or export",
    )
