"""The model file, read and verified, and the catalogue of models that come with the package.

A model is one ``.onnx`` file that describes itself: classes, features, segment length, provenance and
scores stand as JSON in its metadata. Reading needs onnxruntime and nothing else.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from genrescope.errors import ModelError
from genrescope.features import FeatureSpec, dimension, segment_frames
from genrescope.records import Floats

SCHEMA = 1
METADATA_KEY = "genrescope"
INPUT, OUTPUT = "features", "scores"
DEFAULT = "default"


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
        What the graph takes; the sample rate comes from here and cannot be wrong.
    segment_seconds, hop_seconds : float
        How tracks are cut.
    task : {"single-label"}
        One genre per track: scores of a segment sum to one.
    provenance : dict
        Data name and hash, split protocol, seed, package version, commit.
    scores : dict
        Measured accuracies with their intervals and protocol.
    licence : str
        Of the weights.
    """

    name: str
    classes: tuple[str, ...]
    features: FeatureSpec
    segment_seconds: float
    hop_seconds: float
    task: str = "single-label"
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    licence: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain values, schema version first."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "features": self.features.to_json(),
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, values: Any, source: str) -> ModelInfo:
        """Read a description; refuse one of another schema or with missing parts."""
        schema = values.get("schema") if isinstance(values, dict) else None
        if schema != SCHEMA:
            raise ModelError(
                "model_foreign",
                f"{source}: model schema {schema!r}, this version of genrescope reads schema {SCHEMA}",
                "install the version of genrescope that wrote it, or train the model again",
            )
        try:
            known = {name: values[name] for name in cls.__dataclass_fields__}
            for fault in _faults(known):
                raise _foreign(source, fault)
            known["classes"] = tuple(str(name) for name in known["classes"])
            known["features"] = FeatureSpec.from_json(known["features"])
            return cls(**known)
        except (KeyError, TypeError) as reason:
            raise _foreign(source, f"its description lacks or garbles {reason}") from None


class Model:
    """A model file, opened. ``info`` describes it; ``scores`` runs it."""

    def __init__(self, graph: bytes, source: str, *, threads: int = 1) -> None:
        self._session = _open(graph, source, threads)
        self.source = source
        self.sha256 = hashlib.sha256(graph).hexdigest()
        self.info = _describe(self._session, source)
        _match(self._session, self.info, source)

    @classmethod
    def read(cls, path: str | Path, *, threads: int = 1) -> Model:
        """Open a model file.

        Raises
        ------
        ModelError
            ``model_missing``; ``model_damaged`` when it is no ONNX graph; ``model_foreign`` when genrescope
            did not write it, or another version's schema did.
        """
        path = Path(path)
        try:
            graph = path.read_bytes()
        except OSError as reason:
            raise ModelError(
                "model_missing",
                f"{path}: cannot be read: {reason.strerror}",
                "check the path, or see: genrescope models",
            ) from None
        return cls(graph, str(path), threads=threads)

    @property
    def name(self) -> str:
        """The model's name and the first eight digits of its hash."""
        return f"{self.info.name}@{self.sha256[:8]}"

    def scores(self, features: Floats) -> Floats:
        """Score segments.

        Parameters
        ----------
        features : ndarray, float32
            As ``features.compute`` gives them for ``info.features``.

        Returns
        -------
        ndarray, shape (segments, classes), float32; rows sum to one.
        """
        (scores,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(features, np.float32)})
        result: Floats = scores
        return result


@dataclass(frozen=True)
class Shipped:
    """A model that comes with the package."""

    name: str
    file: str
    sha256: str
    summary: str

    @property
    def path(self) -> Path:
        """Where the file lies in the installation."""
        return Path(str(resources.files("genrescope") / "data" / "models" / self.file))


def catalogue() -> dict[str, Shipped]:
    """Return the models that come with the package, by name."""
    text = (resources.files("genrescope") / "data" / "models" / "catalogue.json").read_text(encoding="utf8")
    return {entry["name"]: Shipped(**entry) for entry in json.loads(text)}


def find(name: str | Path) -> Path:
    """Return the file of a shipped model's name, or of a path.

    Raises
    ------
    ModelError
        ``model_missing``: neither a shipped name nor a file.
    """
    models = catalogue()
    if str(name) in models:
        return models[str(name)].path
    if Path(name).suffix == ".onnx" or Path(name).exists():
        return Path(name)
    close = difflib.get_close_matches(str(name), models, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "give a .onnx file or one of: " + ", ".join(models)
    raise ModelError("model_missing", f"no model is named {str(name)!r}", hint)


def load(name: str | Path = DEFAULT, *, threads: int = 1) -> Model:
    """Open a model by shipped name or path, verifying the checksum of a shipped one."""
    model = Model.read(find(name), threads=threads)
    shipped = catalogue().get(str(name))
    if shipped is not None and model.sha256 != shipped.sha256:
        raise ModelError(
            "model_damaged",
            f"{shipped.path}: checksum {model.sha256[:8]} is not the catalogue's {shipped.sha256[:8]}",
            "install genrescope again",
        )
    return model


def _faults(known: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with the values of a description."""
    classes = known["classes"]
    if not isinstance(classes, list) or len(set(map(str, classes))) != len(classes) or len(classes) < 2:
        yield "its classes are not a list of different names"
    for name in ("segment_seconds", "hop_seconds"):
        value = known[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            yield f"its {name} is {value!r}"
    if known["task"] != "single-label":
        yield f"its task is {known['task']!r}, which this version does not know"
    for name in ("provenance", "scores"):
        if not isinstance(known[name], dict):
            yield f"its {name} is no table"


def _open(graph: bytes, source: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's errors share no public base class
        raise ModelError(
            "model_damaged",
            f"{source}: not a readable ONNX model ({str(reason).splitlines()[0][:120]})",
            "give a .onnx file written by genrescope train, or a name from: genrescope models",
        ) from None


def _describe(session: Any, source: str) -> ModelInfo:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise _foreign(source, "it carries no genrescope description")
    try:
        values = json.loads(text)
    except ValueError:
        raise _foreign(source, "its genrescope description is not JSON") from None
    return ModelInfo.from_json(values, source)


def _match(session: Any, info: ModelInfo, source: str) -> None:
    names = [port.name for port in session.get_inputs()], [port.name for port in session.get_outputs()]
    if names != ([INPUT], [OUTPUT]):
        raise _foreign(source, f"its ports are {names}, not {INPUT} and {OUTPUT}")
    ports, spec = session.get_inputs()[0].shape, info.features
    expected = _shape(info)
    if len(ports) != len(expected) or any(
        isinstance(port, int) and size is not None and port != size
        for port, size in zip(ports, expected, strict=True)
    ):
        raise _foreign(source, f"its graph takes {ports}, its description says {expected} for {spec.kind}")
    columns = session.get_outputs()[0].shape[-1]
    if isinstance(columns, int) and columns != len(info.classes):
        raise _foreign(
            source, f"its graph scores {columns} classes, its description names {len(info.classes)}"
        )


def _shape(info: ModelInfo) -> tuple[int | None, ...]:
    """Return the shape of the features that a described model is fed; None where it may vary."""
    spec = info.features
    if spec.kind == "vector":
        return None, dimension(spec)
    frames = segment_frames(spec, info.segment_seconds)
    return (None, dimension(spec), frames) if spec.kind == "log_mel" else (None, frames, dimension(spec))


def _foreign(source: str, why: str) -> ModelError:
    return ModelError(
        "model_foreign",
        f"{source}: not a genrescope model: {why}",
        "give a file written by genrescope train or export",
    )
