"""Export of fitted models to model files, each checked against the model that it was made from."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from genrescope.errors import ModelError, missing_extra
from genrescope.models import classical
from genrescope.models.model import (
    EMBEDDING_OUTPUT,
    INPUT,
    METADATA_KEY,
    OUTPUT,
    STYLES_OUTPUT,
    Model,
    ModelInfo,
    output_columns,
)
from genrescope.types import FloatArray

if TYPE_CHECKING:  # torch and scikit-learn are each needed for one of the two kinds of models only
    from torch import Tensor, nn

    from genrescope.models.classical import FittedClassifier
    from genrescope.models.networks import Network

# Largest allowed difference between a score of the model file and of the model that it was made from.
TOLERANCE = 1e-4
OPSET = 17


class ExportedModel(NamedTuple):
    """A model file that was written and checked.

    Attributes
    ----------
    graph : bytes
        The file.
    model : Model
        The same, opened, as it was for the check.
    """

    graph: bytes
    model: Model


def export_network(
    network: Network, info: ModelInfo, sample: FloatArray, *, temperature: float = 1.0
) -> ExportedModel:
    """Turn a trained network into a model file, temperature, softmax and sigmoid included.

    Genres of a single-label task get a softmax; those of a multi-label task, and styles, a sigmoid each.

    Parameters
    ----------
    network : Network
        Set to evaluation mode, float32 and the CPU by this.
    info : ModelInfo
        The description to write into the file. With styles or an embedding, those of the network become
        outputs; it is a `PretrainedNetwork` then.
    sample : ndarray, float32
        Features of some segments, on which graph and network must agree.
    temperature : float
        What the logits are divided by before the softmax or sigmoid.

    Raises
    ------
    ModelError
        ``model_export_failed``: the graph's scores differ from the network's by more than 1e-4.
    """
    return export_module(_scorer(network, info, temperature), info, sample)


def export_module(module: nn.Module, info: ModelInfo, sample: FloatArray) -> ExportedModel:
    """Turn a module that returns the outputs of a model file into one.

    Parameters
    ----------
    module : torch.nn.Module
        Features -> a tuple of the outputs that ``info`` describes: scores, styles, music, embedding. Set to
        evaluation mode, float32 and the CPU by this.
    info : ModelInfo
        The description to write into the file.
    sample : ndarray, float32
        Features of some segments, on which graph and module must agree.

    Raises
    ------
    ModelError
        ``model_export_failed``: an output of the graph differs from the module's by more than 1e-4.
    """
    import torch

    module = module.eval().float().to("cpu")
    example = torch.from_numpy(np.ascontiguousarray(sample[:2], np.float32))
    outputs = list(output_columns(info))
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        # The TorchScript exporter is deprecated, but writes one LSTM or GRU node where the one on dynamo
        # needs thirty. Its warnings are of no use to a user.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=[INPUT],
            output_names=outputs,
            dynamic_axes={port: {0: "segments"} for port in (INPUT, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = path.read_bytes()
        expected = [
            part.numpy() for part in module(torch.from_numpy(np.ascontiguousarray(sample, np.float32)))
        ]
    return _checked(_described(_parse(graph), info), sample, expected, info.name)


def _scorer(network: Network, info: ModelInfo, temperature: float) -> nn.Module:
    """Wrap a network into a module that returns the outputs of a model file."""
    import torch

    from genrescope.models.pretrained import PretrainedNetwork

    def probabilities(logits: Tensor) -> Tensor:
        scaled = logits / temperature
        return scaled.sigmoid() if info.task == "multi-label" else scaled.softmax(1)

    class Scorer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
            if not isinstance(self.network, PretrainedNetwork) or not (info.styles or info.embedding_size):
                return (probabilities(self.network(batch)),)
            normalized = self.network.normalizer(batch)
            embedding, styles = self.network.backbone.embed_with_styles(normalized)
            scores = probabilities(self.network.head(normalized, embedding))
            outputs = {OUTPUT: scores, STYLES_OUTPUT: styles.sigmoid(), EMBEDDING_OUTPUT: embedding}
            return tuple(outputs[name] for name in output_columns(info))

    return Scorer()


def export_classical(pipeline: FittedClassifier, info: ModelInfo, sample: FloatArray) -> ExportedModel:
    """Turn a fitted scikit-learn pipeline into a model file.

    Parameters
    ----------
    pipeline : Pipeline
        As `genrescope.models.fit_classical` returns it.
    info : ModelInfo
        The description to write into the file.
    sample : ndarray, shape (segments, features), float32
        Features of some segments, on which graph and pipeline must agree.

    Raises
    ------
    EnvironmentFailure
        ``missing_dependency``: skl2onnx is not installed.
    ModelError
        ``model_export_failed``: the graph's scores differ from the pipeline's by more than 1e-4.
    """
    graph = classical.classical_to_onnx(pipeline, sample.shape[1])
    _rename_output(graph.graph, OUTPUT)
    return _checked(_described(graph, info), sample, [pipeline.predict_proba(sample)], info.name)


def initializers(graph: bytes) -> dict[str, FloatArray]:
    """Return the weights of a model file by the names that they had in the network.

    Parameters
    ----------
    graph : bytes
        Of the file.
    """
    from onnx import numpy_helper

    return {array.name: numpy_helper.to_array(array) for array in _parse(graph).graph.initializer}


def with_metadata(graph: bytes, info: ModelInfo) -> bytes:
    """Return a model file with another description, such as one with measured scores.

    Parameters
    ----------
    graph : bytes
        Of the file, which may have a description already.
    info : ModelInfo
        The new description.
    """
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


def _checked(graph: bytes, sample: FloatArray, expected: Sequence[FloatArray], name: str) -> ExportedModel:
    """Open a model file, and refuse it where it differs from the model that it was made from."""
    model = Model(graph, name)
    # Outputs that the model does not have are empty arrays, for which nothing is expected.
    found = [output for output in model.predict(sample) if output.shape[1]]
    difference = max(
        float(np.abs(output - wanted).max()) for output, wanted in zip(found, expected, strict=True)
    )
    if not difference <= TOLERANCE:
        raise ModelError(
            "model_export_failed",
            f"{name}: the exported graph differs from the model by {difference:.2g} (allowed: {TOLERANCE:g})",
            "report this with the versions of torch, onnx and onnxruntime",
        )
    return ExportedModel(graph, model)
