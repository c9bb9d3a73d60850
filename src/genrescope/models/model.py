"""The model file, read and verified, and the catalog of models that come with the package.

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
from genrescope.utils import cache_folder, did_you_mean, package_data, sha256_bytes

SCHEMA = 3
# What schema 2, of version 0.1, called fields that are otherwise the same.
_NAMES_IN_SCHEMA_2 = {"threshold": "min_score", "license": "licence"}
METADATA_KEY = "genrescope"
INPUT, OUTPUT, STYLES_OUTPUT = "features", "scores", "styles"
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
    styles : tuple of str
        Further genres, each with a probability of its own; empty for a model without them.
    min_score : float or None
        The score below which the top genre of a track is doubtful; None where none was chosen.
    provenance : dict
        Data name and hash, split protocol, seed, package version, commit.
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
        """Read a description; refuse one of another schema or with missing parts."""
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
                raise _foreign(source, fault)
            for key in ("classes", "styles"):
                known[key] = tuple(str(name) for name in known[key])
            known["features"] = FeatureSpec.from_json(known["features"])
            return cls(**known)
        except (KeyError, TypeError) as reason:
            raise _foreign(source, f"its description lacks or garbles {reason}") from None


class ModelOutput(NamedTuple):
    """What a model says of segments: ``scores`` (segments, classes), ``styles`` (segments, styles)."""

    scores: FloatArray
    styles: FloatArray


class Model:
    """A model file, opened. ``info`` describes it; ``answer`` runs it."""

    def __init__(self, graph: bytes, source: str, *, threads: int = 1) -> None:
        self._session = _open(graph, source, threads)
        self.source = source
        self.sha256 = sha256_bytes(graph)
        self.info = _describe(self._session, source)
        _match(self._session, self.info, source)

    @classmethod
    def read(cls, path: str | Path, *, threads: int = 1) -> Model:
        """Open a model file.

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
            As ``features.compute`` gives them for ``info.features``.

        Returns
        -------
        Answers
            ``scores`` float32, rows sum to one; ``styles`` float32, independent probabilities, no columns for
            a model without styles.
        """
        ports = _outputs(self.info)
        answers = self._session.run(ports, {INPUT: np.ascontiguousarray(features, np.float32)})
        styles = answers[1] if self.info.styles else np.zeros((len(features), 0), np.float32)
        return ModelOutput(answers[0], styles)

    def scores(self, features: FloatArray) -> FloatArray:
        """Return the scores alone; see ``answer``."""
        return self.predict(features).scores


@dataclass(frozen=True)
class PackagedModel:
    """A model that comes with the package, or whose head does.

    Attributes
    ----------
    name, file, summary : str
    sha256 : str
        Of the file in the package: the model, or the head.
    head : str
        File of the layers to put on a backbone that is fetched; empty where the model is whole.
    """

    name: str
    file: str
    sha256: str
    summary: str
    head: str = ""

    @property
    def path(self) -> Path:
        """Where the model lies: in the installation, or in the user's cache once it was fetched."""
        return cache_folder("models") / self.file if self.head else package_data("models", self.file)


def list_models() -> dict[str, PackagedModel]:
    """Return the models that come with the package, by name."""
    text = package_data("models", "catalog.json").read_text(encoding="utf8")
    return {entry["name"]: PackagedModel(**entry) for entry in json.loads(text)}


def resolve(name: str | Path) -> Path:
    """Return the file of a shipped model's name, or of a path.

    Raises
    ------
    ModelError
        ``model_not_found``: neither a shipped name nor a file.
    """
    models = list_models()
    if str(name) in models:
        shipped = models[str(name)]
        if shipped.head and not shipped.path.exists():
            raise ModelError(
                "model_not_found",
                f"the model {shipped.name} stands on a backbone that is not here yet",
                f"run once: genrescope models download {shipped.name}",
            )
        return shipped.path
    if Path(name).suffix == ".onnx" or Path(name).exists():
        return Path(name)
    hint = did_you_mean(str(name), models, otherwise="give a .onnx file or one of: " + ", ".join(models))
    raise ModelError("model_not_found", f"no model is named {str(name)!r}", hint)


def load_model(name: str | Path = DEFAULT, *, threads: int = 1) -> Model:
    """Open a model by shipped name or path, verifying the checksum of a shipped one."""
    model = Model.read(resolve(name), threads=threads)
    shipped = list_models().get(str(name))
    if shipped is not None and not shipped.head and model.sha256 != shipped.sha256:
        raise ModelError(
            "model_corrupt",
            f"{shipped.path}: checksum {model.sha256[:8]} is not the catalog's {shipped.sha256[:8]}",
            "install genrescope again",
        )
    return model


def _faults(known: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with the values of a description."""
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
    # It would send events to its maker, and keep an id of this machine for that. Read when it is imported.
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
    if names != ([INPUT], _outputs(info)):
        raise _foreign(source, f"its ports are {names}, not {INPUT} and {', '.join(_outputs(info))}")
    ports, spec = session.get_inputs()[0].shape, info.features
    expected = _shape(info)
    if len(ports) != len(expected) or any(
        isinstance(port, int) and size is not None and port != size
        for port, size in zip(ports, expected, strict=True)
    ):
        raise _foreign(source, f"its graph takes {ports}, its description says {expected} for {spec.kind}")
    for port, known in zip(session.get_outputs(), (info.classes, info.styles), strict=False):
        columns = port.shape[-1]
        if isinstance(columns, int) and columns != len(known):
            raise _foreign(source, f"its graph scores {columns} classes, its description names {len(known)}")


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


def _foreign(source: str, why: str) -> ModelError:
    return ModelError(
        "model_incompatible",
        f"{source}: not a genrescope model: {why}",
        "give a file written by genrescope train or export",
    )
