"""The model file, read and verified.

A model is one ``.onnx`` file that describes itself: classes, features, segment length, provenance and
scores stand as JSON in its metadata. Reading needs onnxruntime and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genrescope.errors import ModelError
from genrescope.features import FeatureSpec, feature_dimension, segment_frames
from genrescope.types import FloatArray
from genrescope.utils import sha256_bytes

SCHEMA = 3
# What schema 2, of version 0.1, called fields that are otherwise the same.
_NAMES_IN_SCHEMA_2 = {"threshold": "min_score", "license": "licence"}
METADATA_KEY = "genrescope"
INPUT, OUTPUT, STYLES_OUTPUT = "features", "scores", "styles"


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
    task : {"single-label"}
        One genre per track: scores of a segment sum to one.
    styles : tuple of str
        Further genres, each with a probability of its own; empty for a model without them.
    threshold : float or None
        The score below which the top genre of a track is uncertain; None where none was chosen.
    provenance : dict
        Data name and hash, split protocol, seed, package version, commit, temperature; under ``heard``, the
        hashed ids of the tracks that the model was trained on or selected by.
    scores : dict
        Measured accuracies with their intervals and protocol.
    license : str
        Of the weights.
    """

    name: str
    classes: tuple[str, ...]
    features: FeatureSpec
    segment_seconds: float
    hop_seconds: float
    task: str = "single-label"
    styles: tuple[str, ...] = ()
    threshold: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    license: str = ""

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
        if schema not in (SCHEMA, 2):
            raise ModelError(
                "model_incompatible",
                f"{source}: model schema {schema!r}, this version of genrescope reads schema {SCHEMA}",
                "install the version of genrescope that wrote it, or train the model again",
            )
        try:
            names = _NAMES_IN_SCHEMA_2 if schema == 2 else {}
            known = {name: values[names.get(name, name)] for name in cls.__dataclass_fields__}
            for fault in _faults(known):
                raise _incompatible(source, fault)
            for key in ("classes", "styles"):
                known[key] = tuple(str(name) for name in known[key])
            known["features"] = FeatureSpec.from_json(known["features"])
            return cls(**known)
        except (KeyError, TypeError) as reason:
            raise _incompatible(source, f"its description has no valid {reason}") from None


class ModelOutput(NamedTuple):
    """Scores of segments.

    Attributes
    ----------
    scores : ndarray, shape (segments, classes), float32
        One probability per genre; the rows sum to 1.
    styles : ndarray, shape (segments, styles), float32
        Independent probabilities; no columns for a model without styles.
    """

    scores: FloatArray
    styles: FloatArray


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

    Attributes
    ----------
    info : ModelInfo
        The description in the file.
    sha256 : str
        Of the file, in hexadecimal.
    source : str
    """

    def __init__(self, graph: bytes, source: str, *, threads: int = 1) -> None:
        self._session = _open(graph, source, threads)
        self.source = source
        self.sha256 = sha256_bytes(graph)
        self.info = _read_info(self._session, source)
        _check_shapes(self._session, self.info, source)

    @classmethod
    def read(cls, path: str | Path, *, threads: int = 1) -> Model:
        """Open a model file.

        Parameters
        ----------
        path : str or Path
            Of the ``.onnx`` file.
        threads : int
            Threads of onnxruntime.

        Raises
        ------
        ModelError
            ``model_not_found``; ``model_corrupt`` when it is no ONNX graph; ``model_incompatible`` when
            genrescope did not write it, or another version's schema did.
        """
        path = Path(path)
        try:
            graph = path.read_bytes()
        except OSError as reason:
            raise ModelError(
                "model_not_found",
                f"{path}: cannot be read: {reason.strerror}",
                "check the path, or see: genrescope models list",
            ) from None
        return cls(graph, str(path), threads=threads)

    @property
    def name(self) -> str:
        """The model's name and the first eight digits of its hash."""
        return f"{self.info.name}@{self.sha256[:8]}"

    def predict(self, features: FloatArray) -> ModelOutput:
        """Score segments.

        Parameters
        ----------
        features : ndarray, float32
            As `genrescope.features.extract` gives them for ``info.features``, the first axis segments.
        """
        names = _outputs(self.info)
        outputs = self._session.run(names, {INPUT: np.ascontiguousarray(features, np.float32)})
        styles = outputs[1] if self.info.styles else np.zeros((len(features), 0), np.float32)
        return ModelOutput(outputs[0], styles)

    def scores(self, features: FloatArray) -> FloatArray:
        """Return the scores of genres alone, shape (segments, classes); see `predict`."""
        return self.predict(features).scores


def _faults(known: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of a description."""
    for key, fewest in (("classes", 2), ("styles", 0)):
        listed = known[key]
        if not isinstance(listed, list) or len(set(map(str, listed))) != len(listed) or len(listed) < fewest:
            yield f"its {key} are not a list of different names"
    for name in ("segment_seconds", "hop_seconds"):
        value = known[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            yield f"its {name} is {value!r}"
    threshold = known["threshold"]
    if threshold is not None and not (isinstance(threshold, float) and 0 <= threshold <= 1):
        yield f"its threshold is {threshold!r}"
    if known["task"] != "single-label":
        yield f"its task is {known['task']!r}, which this version does not know"
    for name in ("provenance", "scores"):
        if not isinstance(known[name], dict):
            yield f"its {name} is no table"


def _open(graph: bytes, source: str, threads: int) -> Any:
    # On Windows, onnxruntime sends usage events to its maker. The variable is read at import, so it is set
    # here, before the first one; a value that the user set stays.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's errors share no public base class
        raise ModelError(
            "model_corrupt",
            f"{source}: not a readable ONNX model ({str(reason).splitlines()[0][:120]})",
            "give a .onnx file written by genrescope train, or a name from: genrescope models list",
        ) from None


def _read_info(session: Any, source: str) -> ModelInfo:
    """Read the description out of a graph's metadata."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise _incompatible(source, "it carries no genrescope description")
    try:
        values = json.loads(text)
    except ValueError:
        raise _incompatible(source, "its genrescope description is not JSON") from None
    return ModelInfo.from_json(values, source)


def _check_shapes(session: Any, info: ModelInfo, source: str) -> None:
    """Refuse a graph whose inputs and outputs are not those of its description."""
    names = [port.name for port in session.get_inputs()], [port.name for port in session.get_outputs()]
    if names != ([INPUT], _outputs(info)):
        raise _incompatible(source, f"its ports are {names}, not {INPUT} and {', '.join(_outputs(info))}")
    ports, spec = session.get_inputs()[0].shape, info.features
    expected = _shape(info)
    if len(ports) != len(expected) or any(
        isinstance(port, int) and size is not None and port != size
        for port, size in zip(ports, expected, strict=True)
    ):
        raise _incompatible(
            source, f"its graph takes {ports}, its description says {expected} for {spec.kind}"
        )
    # Not strict: without styles there is one output.
    for port, known in zip(session.get_outputs(), (info.classes, info.styles), strict=False):
        columns = port.shape[-1]
        if isinstance(columns, int) and columns != len(known):
            raise _incompatible(
                source, f"its graph scores {columns} classes, its description names {len(known)}"
            )


def _outputs(info: ModelInfo) -> list[str]:
    return [OUTPUT, STYLES_OUTPUT] if info.styles else [OUTPUT]


def _shape(info: ModelInfo) -> tuple[int | None, ...]:
    """Return the shape of the features that a described model is fed; None where it may vary."""
    spec = info.features
    if spec.kind == "vector":
        return None, feature_dimension(spec)
    frames = segment_frames(spec, info.segment_seconds)
    return (
        (None, feature_dimension(spec), frames)
        if spec.kind == "log_mel"
        else (None, frames, feature_dimension(spec))
    )


def _incompatible(source: str, why: str) -> ModelError:
    return ModelError(
        "model_incompatible",
        f"{source}: not a genrescope model: {why}",
        "give a file written by genrescope train or export",
    )
