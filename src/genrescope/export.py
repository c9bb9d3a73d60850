"""Fitted models into model files, each checked against what it was made from before it is written."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from genrescope import classical
from genrescope.errors import ModelError, missing_extra
from genrescope.models import INPUT, METADATA_KEY, OUTPUT, Model, ModelInfo
from genrescope.records import Floats

TOLERANCE = 1e-4
OPSET = 17


def export_network(network: Any, info: ModelInfo, sample: Floats) -> bytes:
    """Turn a trained network into the bytes of a model file, softmax included.

    Parameters
    ----------
    network : networks.Network
    info : ModelInfo
    sample : ndarray, float32
        Some segments as the network takes them; the graph must agree with the network on them.

    Raises
    ------
    ModelError
        ``model_export``: the graph's scores differ from the network's by more than 1e-4.
    """
    import torch

    scorer = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval().float().to("cpu")
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
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "segments"}, OUTPUT: {0: "segments"}},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = path.read_bytes()
        expected = scorer(torch.from_numpy(np.ascontiguousarray(sample, np.float32))).numpy()
    return _checked(_described(_parse(graph), info), sample, expected, info.name)


def export_classical(pipeline: Any, info: ModelInfo, sample: Floats) -> bytes:
    """Turn a fitted scikit-learn pipeline into the bytes of a model file; see ``export_network``."""
    graph = classical.to_onnx(pipeline, sample.shape[1])
    _rename_output(graph.graph, OUTPUT)
    return _checked(_described(graph, info), sample, pipeline.predict_proba(sample), info.name)


def redescribe(graph: bytes, info: ModelInfo) -> bytes:
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


def _checked(graph: bytes, sample: Floats, expected: Floats, name: str) -> bytes:
    difference = float(np.abs(Model(graph, name).scores(sample) - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            "model_export",
            f"{name}: the exported graph differs from the model by {difference:.2g} (allowed: {TOLERANCE:g})",
            "report this with the versions of torch, onnx and onnxruntime",
        )
    return graph
