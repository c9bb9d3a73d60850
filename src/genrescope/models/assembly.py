"""Models made of a downloaded backbone and a head that comes with the package.

A head is a small ``.npz``, read without pickle: the weights and biases of a linear layer on the backbone's
embedding, its temperature, and the description of the whole model as JSON.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrescope.errors import ConfigError, ModelError, missing_extra
from genrescope.features import feature_dimension, segment_frames
from genrescope.models import export, registry
from genrescope.models.model import Model, ModelInfo
from genrescope.types import FloatArray
from genrescope.utils import package_data, parse_json, sha256_bytes, write_atomic


@dataclass(frozen=True)
class ModelHead:
    """The linear layer of a `genrescope.models.LinearHead`, and the description of the whole model.

    Attributes
    ----------
    backbone : str
        Its name in the catalog of backbones.
    weights : ndarray, shape (classes, size), float32
    biases : ndarray, shape (classes,), float32
    temperature : float
        What the logits are divided by before the softmax.
    info : ModelInfo
        Of the assembled model.
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
        """Read what `to_bytes` wrote.

        Parameters
        ----------
        content : bytes
            Of the file.
        source : str
            Its path, for messages.

        Raises
        ------
        ModelError
            ``model_corrupt``, ``model_incompatible``.
        """
        try:
            # The description is JSON in an array of bytes: the file holds no object that would need pickle.
            with np.load(io.BytesIO(content), allow_pickle=False) as kept:
                description = parse_json(kept["description"].tobytes())
                weights, biases = kept["weights"], kept["biases"]
            backbone, temperature = str(description["backbone"]), float(description["temperature"])
            info: Any = description["info"]
        except Exception as reason:  # a damaged file makes NumPy's reader raise errors of many kinds
            raise ModelError(
                "model_corrupt", f"{source}: not a model's head: {reason}", "install genrescope again"
            ) from None
        return cls(backbone, weights, biases, temperature, ModelInfo.from_json(info, source))


def assemble(name: str, *, weights: Path | None = None) -> Path:
    """Download the backbone of a packaged model, put the head on, and write the file into the user's cache.

    Parameters
    ----------
    name : str
        A model of the catalog that has a head.
    weights : Path, optional
        A file of the backbone's weights, instead of the download.

    Returns
    -------
    Path
        Of the model file, which `genrescope.models.load_model` finds by name; it needs onnxruntime only. It
        gives the embedding of the backbone, too.

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
    packaged = registry.list_models().get(name)
    if packaged is None or not packaged.head:
        fetched = [model.name for model in registry.list_models().values() if model.head]
        raise ConfigError(
            "invalid_argument", f"{name}: nothing to fetch", f"fetch one of: {', '.join(fetched)}"
        )
    try:
        from genrescope.models.backbones.registry import load_backbone
        from genrescope.models.pretrained import LinearHead
    except ImportError as missing:
        raise missing_extra("train", missing.name or "torch") from None
    head = _read_head(packaged)
    network = LinearHead(load_backbone(head.backbone, weights=weights), len(head.info.classes))
    network.load_head(head.weights, head.biases)
    # Exported on noise, because the check compares graph and network, whatever the input.
    info = replace(head.info, embedding_size=network.backbone.info.size)
    exported = export.export_network(network, info, _noise(info), temperature=head.temperature)
    write_atomic(packaged.path, exported.graph)
    return packaged.path


def extract_head(model: Model, graph: bytes) -> ModelHead:
    """Take the head out of a ``frozen`` model, so that it can be distributed without its backbone.

    Parameters
    ----------
    model : Model
        The model file, opened.
    graph : bytes
        The same file's content.

    Raises
    ------
    ModelError
        ``model_incompatible``: the graph has no linear layer at its end.
    """
    # The names are those that torch's exporter gives to parameters; a graph of another make has others.
    layers = export.initializers(graph)
    try:
        weights, biases = layers["network.output.weight"], layers["network.output.bias"]
    except KeyError:
        raise ModelError(
            "model_incompatible", f"{model.source}: no linear head", "train it with --config frozen"
        ) from None
    provenance = model.info.provenance
    try:
        backbone = str(provenance["config"]["model"]["backbone"])
        temperature = float(provenance["temperature"])
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            "model_incompatible",
            f"{model.source}: its provenance names no backbone and temperature",
            "train it with --config frozen",
        ) from None
    return ModelHead(backbone, weights, biases, temperature, model.info)


def _read_head(packaged: registry.PackagedModel) -> ModelHead:
    path = package_data("models", packaged.head)
    content = path.read_bytes()
    # A file in the package can be damaged by whatever installed it; with another head, scores would be wrong
    # without notice.
    if sha256_bytes(content) != packaged.sha256:
        raise ModelError(
            "model_corrupt", f"{path}: not the head that the catalog names", "install genrescope again"
        )
    return ModelHead.from_bytes(content, str(path))


def _noise(info: ModelInfo) -> FloatArray:
    """Return segments of noise, on which graph and network must agree."""
    shape = (4, feature_dimension(info.features), segment_frames(info.features, info.segment_seconds))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
