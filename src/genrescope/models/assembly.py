"""Models that stand on a fetched backbone: its weights and a head that comes with the package, made one file.

A head is a small ``.npz``, read without pickle: the weights and biases of a linear layer on the backbone's
embedding, its temperature, and the description of the whole model as JSON.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrescope.errors import ConfigError, ModelError, missing_extra
from genrescope.features import feature_dimension, segment_frames
from genrescope.models import export, model
from genrescope.models.model import Model, ModelInfo
from genrescope.types import FloatArray
from genrescope.utils import package_data, sha256_bytes, write_atomic


@dataclass(frozen=True)
class ModelHead:
    """The layers on top of a backbone, and what they and it make together.

    Attributes
    ----------
    backbone : str
        A name of ``backbones``.
    weights, biases : ndarray, shapes (classes, size) and (classes,), float32
    temperature : float
    info : ModelInfo
    """

    backbone: str
    weights: FloatArray
    biases: FloatArray
    temperature: float
    info: ModelInfo

    def to_bytes(self) -> bytes:
        """Return the head as the content of a file."""
        stream = io.BytesIO()
        described = json.dumps(
            {"backbone": self.backbone, "temperature": self.temperature, "info": self.info.to_json()}
        )
        np.savez_compressed(
            stream,
            weights=self.weights,
            biases=self.biases,
            description=np.frombuffer(described.encode("utf8"), np.uint8),
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> ModelHead:
        """Read a head back.

        Raises
        ------
        ModelError
            ``model_corrupt``, ``model_incompatible``.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as kept:
                description = json.loads(kept["description"].tobytes())
                weights, biases = kept["weights"], kept["biases"]
            backbone, temperature = str(description["backbone"]), float(description["temperature"])
            info: Any = description["info"]
        except Exception as reason:  # damage shows itself anywhere in NumPy's reader
            raise ModelError(
                "model_corrupt", f"{source}: not a model's head: {reason}", "install genrescope again"
            ) from None
        return cls(backbone, weights, biases, temperature, ModelInfo.from_json(info, source))


def assemble(name: str, *, weights: Path | None = None) -> Path:
    """Fetch the backbone of a shipped model, put its head on, and write the model file into the user's cache.

    Parameters
    ----------
    name : str
        A model of the catalog that has a head.
    weights : Path, optional
        The backbone's weights, where they are already here.

    Returns
    -------
    Path
        Of the model file, which ``models.load(name)`` finds from now on and for which onnxruntime is enough.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such model, or one that needs nothing.
    ModelError
        A head or weights that are damaged; ``model_export_failed``.
    DownloadError, MissingDependencyError, WriteError
        ``download_failed``: no network; ``missing_dependency``: torch is needed to assemble;
        ``write_failed``.
    """
    shipped = model.list_models().get(name)
    if shipped is None or not shipped.head:
        fetched = [one.name for one in model.list_models().values() if one.head]
        raise ConfigError(
            "invalid_argument", f"{name}: nothing to fetch", f"fetch one of: {', '.join(fetched)}"
        )
    try:
        from genrescope.models import pretrained
        from genrescope.models.backbones import registry
    except ImportError as missing:
        raise missing_extra("train", missing.name or "torch") from None
    head = _read_head(shipped)
    network = pretrained.LinearHead(
        registry.load_backbone(head.backbone, weights=weights), len(head.info.classes)
    )
    network.load_head(head.weights, head.biases)
    graph = export.export_network(network, head.info, _noise(head.info), temperature=head.temperature)
    write_atomic(shipped.path, graph)
    return shipped.path


def extract_head(model: Model, graph: bytes) -> ModelHead:
    """Take the head off a ``frozen`` model, so that it can be shipped without its backbone.

    Raises
    ------
    ModelError
        ``model_incompatible``: the graph has no linear layer at its end.
    """
    layers = export.initializers(graph)
    try:
        weights, biases = layers["network.output.weight"], layers["network.output.bias"]
    except KeyError:
        raise ModelError(
            "model_incompatible", f"{model.source}: no linear head", "train it with --config frozen"
        ) from None
    provenance = model.info.provenance
    backbone = provenance["config"]["model"]["backbone"]
    return ModelHead(backbone, weights, biases, provenance["temperature"], model.info)


def _read_head(shipped: model.PackagedModel) -> ModelHead:
    path = package_data("models", shipped.head)
    content = path.read_bytes()
    if sha256_bytes(content) != shipped.sha256:
        raise ModelError(
            "model_corrupt", f"{path}: not the head that the catalog names", "install genrescope again"
        )
    return ModelHead.from_bytes(content, str(path))


def _noise(info: ModelInfo) -> FloatArray:
    """Return segments of noise, on which graph and network must agree."""
    shape = (4, feature_dimension(info.features), segment_frames(info.features, info.segment_seconds))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
