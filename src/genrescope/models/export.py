"""Fitted models into model files, each checked against what it was made from before it is written."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genrescope.errors import ModelError, missing_extra
from genrescope.models import classical
from genrescope.models.model import INPUT, METADATA_KEY, OUTPUT, STYLES_OUTPUT, Model, ModelInfo
from genrescope.types import FloatArray

TOLERANCE = 1e-4
OPSET = 17


def export_network(network: Any, info: ModelInfo, sample: FloatArray, *, temperature: float = 1.0) -> bytes:
    """Turn a trained network into the bytes of a model file, temperature, softmax and sigmoid included.

    Parameters
    ----------
    network : networks.Network
    info : ModelInfo
        With styles, the network's styles become a second output.
    sample : ndarray, float32
        Some segments as the network takes them; the graph must agree with the network on them.
    temperature : float
        What the logits are divided by, before the softmax.

    Raises
    ------
    ModelError
        ``model_export_failed``: the graph's scores differ from the network's by more than 1e-4.
    """
    import torch

    scorer = _scorer(network, bool(info.styles), temperature)
    example = torch.from_numpy(np.ascontiguousarray(sample[:2], np.float32))
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        # The TorchScript exporter is announced as old, but writes one LSTM or GRU node where the new one
        # needs thirty; its notices are nothing that a user could act on.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            scorer,
            (example,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT, STYLES_OUTPUT] if info.styles else [OUTPUT],
            dynamic_axes={port: {0: "segments"} for port in (INPUT, OUTPUT, STYLES_OUTPUT)},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = path.read_bytes()
        expected = [
            part.numpy() for part in scorer(torch.from_numpy(np.ascontiguousarray(sample, np.float32)))
        ]
    return _checked(_described(_parse(graph), info), sample, expected, info.name)


def _scorer(network: Any, with_styles: bool, temperature: float) -> Any:
    """Wrap a network into one that returns what a model file does."""
    import torch

    class Scorer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: Any) -> Any:
            if not with_styles:
                return ((self.network(batch) / temperature).softmax(1),)
            logits, styles = self.network.forward_with_styles(batch)
            return (logits / temperature).softmax(1), styles.sigmoid()

    return Scorer().eval().float().to("cpu")


def export_classical(pipeline: Any, info: ModelInfo, sample: FloatArray) -> bytes:
    """Turn a fitted scikit-learn pipeline into the bytes of a model file; see ``export_network``."""
    graph = classical.classical_to_onnx(pipeline, sample.shape[1])
    _rename_output(graph.graph, OUTPUT)
    return _checked(_described(graph, info), sample, [pipeline.predict_proba(sample)], info.name)


def initializers(graph: bytes) -> dict[str, FloatArray]:
    """Return the arrays of a model file by the names that they had in the network."""
    from onnx import numpy_helper

    return {array.name: numpy_helper.to_array(array) for array in _parse(graph).graph.initializer}


def with_metadata(graph: bytes, info: ModelInfo) -> bytes:
    """Return the same graph with another description, such as one with measured scores."""
    return _described(_parse(graph), info)


def _parse(graph: bytes) -> Any:
    try:
        import onnx
    except ImportError:
        raise missing_extra("train", "onnx") from None
    return onnx.load_model_from_string(graph)


def _described(graph: Any, info: ModelInfo) -> bytes:
    del graph.metadata_props[:]
    graph.producer_name, graph.doc_string = "genrescope", ""
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(info.to_json(), ensure_ascii=False)
    data: bytes = graph.SerializeToString()
    return data


def _rename_output(graph: Any, name: str) -> None:
    old = graph.output[0].name
    graph.output[0].name = name
    for node in graph.node:
        node.output[:] = [name if port == old else port for port in node.output]
        node.input[:] = [name if port == old else port for port in node.input]


def _checked(graph: bytes, sample: FloatArray, expected: Sequence[FloatArray], name: str) -> bytes:
    given = Model(graph, name).predict(sample)
    # A model without styles gives none, and none are expected of it.
    difference = max(float(np.abs(one - other).max()) for one, other in zip(given, expected, strict=False))
    if not difference <= TOLERANCE:
        raise ModelError(
            "model_export_failed",
            f"{name}: the exported graph differs from the model by {difference:.2g} (allowed: {TOLERANCE:g})",
            "report this with the versions of torch, onnx and onnxruntime",
        )
    return graph
