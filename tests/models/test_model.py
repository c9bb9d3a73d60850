"""The model file: it describes itself, and foreign, damaged or older ones are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from genrescope.datasets import track_digest
from genrescope.datasets.gtzan import load_index
from genrescope.errors import ModelError
from genrescope.labels import STYLES, load_taxonomy
from genrescope.models import registry as models
from genrescope.models.assembly import ModelHead
from genrescope.models.model import Model, ModelInfo
from genrescope.utils import package_data


def described(model: Path, change: Callable[[dict[str, Any]], object], target: Path) -> Path:
    """Write a copy of a model file with a changed description."""
    graph = onnx.load(model)
    values = json.loads(graph.metadata_props[0].value)
    change(values)
    graph.metadata_props[0].value = json.dumps(values)
    onnx.save(graph, target)
    return target


def test_a_model_file_describes_itself(little_model: Path) -> None:
    info = Model.read(little_model).info
    assert info.classes == ("drone", "hiss")
    assert info.features.sample_rate == 22050
    assert info.segment_seconds == 30.0
    assert ModelInfo.from_json(json.loads(json.dumps(info.to_json())), "copy") == info


def test_scores_are_probabilities(little_model: Path) -> None:
    model = Model.read(little_model)
    scores = model.scores(np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32))
    assert scores.shape == (5, 2)
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError) as caught:
            Model.read(path)
        assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 500])
def test_damaged_files_are_errors(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "damaged.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Model.read(file)
    assert caught.value.code in {"model_corrupt", "model_incompatible"}


def test_a_truncated_model_is_an_error(little_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "half.onnx"
    file.write_bytes(little_model.read_bytes()[:300])
    with pytest.raises(ModelError):
        Model.read(file)


def test_a_foreign_graph_is_refused(tmp_path: Path) -> None:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 6]) for name in ("features", "scores")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["features"], ["scores"])], "foreign", ports[:1], ports[1:]
    )
    file = tmp_path / "foreign.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    with pytest.raises(ModelError, match="no genrescope description") as caught:
        Model.read(file)
    assert caught.value.code == "model_incompatible"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.update(schema=0), "schema 0"),
        (lambda values: values.update(schema=1), "schema 1, this version of genrescope reads"),
        (lambda values: values.update(schema=99), "schema 99"),
        (lambda values: values.pop("schema"), "schema None"),
        (lambda values: values.pop("classes"), "classes"),
        (lambda values: values.update(classes=["a", "b", "c"]), "scores has 2 columns"),
        (lambda values: values["features"].update(n_mfcc="many"), "n_mfcc"),
        (lambda values: values["features"].update(features=["rms"]), "for vector"),
        (lambda values: values.update(segment_seconds="5"), "segment_seconds"),
        (lambda values: values.update(hop_seconds=0), "hop_seconds"),
        (lambda values: values.update(classes="ab"), "classes"),
        (lambda values: values.update(task="ranking"), "task is 'ranking'"),
        (lambda values: values.update(styles=["techno"]), "ports"),
        (lambda values: values.update(styles="techno"), "styles"),
        (lambda values: values.update(threshold=2.0), "threshold"),
    ],
)
def test_other_descriptions_are_refused(
    change: Callable[[dict[str, Any]], object], said: str, little_model: Path, tmp_path: Path
) -> None:
    file = described(little_model, change, tmp_path / "changed.onnx")
    with pytest.raises(ModelError, match=said) as caught:
        Model.read(file)
    assert caught.value.code == "model_incompatible"
    assert caught.value.hint


def test_names_of_packaged_models_are_suggested() -> None:
    with pytest.raises(ModelError) as caught:
        models.resolve("defualt")
    assert "default" in caught.value.hint


def shipped_info(shipped: models.PackagedModel) -> ModelInfo:
    """Check a packaged file against its checksum, and return its description."""
    content = package_data("models", shipped.head or shipped.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == shipped.sha256
    return (
        ModelHead.from_bytes(content, shipped.head).info
        if shipped.head
        else models.load_model(shipped.name).info
    )


def test_the_default_agrees_with_the_taxonomy() -> None:
    info, taxonomy = shipped_info(models.list_models()["default"]), load_taxonomy()
    assert info.classes == tuple(genre.name for genre in taxonomy.scored_genres)
    assert info.styles == tuple(style.name for style in taxonomy.styles)
    assert info.taxonomy == taxonomy.version
    assert None not in (info.threshold, info.music_threshold, info.set_level)
    assert info.license
    assert info.scores["protocol"] == "leave-one-collection-out"
    assert not info.scores["leaky"]
    assert len(info.provenance["training_tracks"]) == 644
    # GTZAN's fault-filtered test part is in nothing of it.
    parts = load_index().fault_filtered
    tested = {track_digest(track) for track, part in parts.items() if part == "test"}
    assert not tested & set(info.provenance["training_tracks"])


@pytest.mark.parametrize("name", [name for name in models.list_models() if name != "default"])
def test_every_model_for_gtzan_agrees_with_the_catalog(name: str) -> None:
    info = shipped_info(models.list_models()[name])
    # On pictures all of the published split can be had, on sound what is here of it.
    trained, tested = (639, 290) if info.features.hop_length == 914 else (260, 95)
    assert len(info.classes) == 10
    known = [style.name for style in load_taxonomy().styles]
    assert info.styles == (STYLES if models.list_models()[name].head else tuple(known))
    assert info.threshold is not None
    assert info.license
    assert info.scores["protocol"] == "fault-filtered"
    assert len(info.provenance["training_tracks"]) == trained
    assert info.scores["track_accuracy"]["n"] == tested
    assert info.scores["track_accuracy"]["value"] >= 0.78
    assert not info.scores["leaky"]


def test_the_default_fits_its_bounds() -> None:
    """At most 3 M parameters and 12 MB, so that it comes with every installation."""
    file = models.list_models()["default"].path
    assert file.stat().st_size < 12e6
    arrays = onnx.load(file).graph.initializer
    assert sum(int(np.prod(array.dims)) for array in arrays) < 3_000_000


def test_a_packaged_model_with_another_checksum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = models.list_models()
    changed = {name: replace(shipped, sha256="0" * 64) for name, shipped in genuine.items()}
    monkeypatch.setattr(models, "list_models", lambda: changed)
    with pytest.raises(ModelError) as caught:
        models.load_model("default")
    assert caught.value.code == "model_corrupt"
