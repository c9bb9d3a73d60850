"""Models on a downloaded backbone: a packaged head, one command, then one file that needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from genrescope import Classifier, datasets
from genrescope.errors import ConfigError, ModelError
from genrescope.labels import STYLES
from genrescope.models import assembly
from genrescope.models import registry as models
from genrescope.models.assembly import ModelHead
from genrescope.models.backbones.efficientat import WIDTHS, EfficientAt
from genrescope.models.initialization import initialize_weights
from genrescope.models.model import Model
from genrescope.models.registry import PackagedModel
from genrescope.training import config
from genrescope.training import run as training
from genrescope.training.run import TrainingRun
from helpers.small_data import LITTLE, RATE, drone


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = EfficientAt(WIDTHS["mn01"])
    initialize_weights(network)
    file = tmp_path_factory.mktemp("weights") / "mn01.pt"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def run(weights: Path, little_music: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    overrides = [
        "model.backbone=mn01",
        f"model.weights={weights}",
        "split.protocol=artist-grouped",
        "model.inverse_regularization=1e6",
    ]
    chosen = config.load_config("frozen", [*LITTLE, *overrides])
    return training.train(datasets.load_dataset(little_music), chosen, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def head(run: TrainingRun) -> ModelHead:
    return assembly.extract_head(Model.read(run.model), run.model.read_bytes())


@pytest.fixture
def shipped(head: ModelHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """Put the head into a package and a catalog of its own."""
    content = head.to_bytes()
    (tmp_path / "little-head.npz").write_bytes(content)
    entry = PackagedModel(
        "little", "little.onnx", hashlib.sha256(content).hexdigest(), "for tests", "little-head.npz"
    )
    monkeypatch.setattr(models, "list_models", lambda: {"little": entry})
    monkeypatch.setattr(assembly, "package_data", lambda folder, file: tmp_path / file)
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path / "cache"))
    return entry


def test_a_head_is_unchanged_after_writing_and_reading(head: ModelHead) -> None:
    again = ModelHead.from_bytes(head.to_bytes(), "copy")
    assert again.info == head.info
    assert again.backbone == "mn01"
    assert again.temperature == head.temperature > 0
    np.testing.assert_array_equal(again.weights, head.weights)


def test_the_assembled_model_is_the_trained_one(
    shipped: PackagedModel, run: TrainingRun, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="backbone") as caught:
        models.load_model("little")
    assert "genrescope models download little" in caught.value.hint
    assert assembly.assemble("little", weights=weights) == shipped.path
    song = tmp_path / "song.wav"
    soundfile.write(song, drone(5.0, 1), RATE)
    trained, assembled = (Classifier.from_pretrained(name).predict(song) for name in (run.model, "little"))
    assert assembled.genre == trained.genre
    assert list(assembled.scores.values()) == pytest.approx(list(trained.scores.values()), abs=1e-4)
    assert set(assembled.styles) == set(STYLES)
    assert assembled.styles == pytest.approx(trained.styles, abs=1e-4)


def test_the_assembled_model_gives_the_embedding_of_its_backbone(
    shipped: PackagedModel, head: ModelHead, weights: Path, tmp_path: Path
) -> None:
    assembly.assemble("little", weights=weights)
    classifier = Classifier.from_pretrained("little")
    song = tmp_path / "song.wav"
    soundfile.write(song, drone(1.0, 1), RATE)
    embedding = classifier.embed(song)
    assert embedding.shape == (head.weights.shape[1],)
    logits = (head.weights @ embedding + head.biases) / head.temperature
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = classifier.predict(song).scores
    assert [found[name] for name in head.info.classes] == pytest.approx(list(expected), abs=1e-4)


def test_models_that_need_no_download_are_an_error(shipped: PackagedModel) -> None:
    with pytest.raises(ConfigError, match="nothing to fetch") as caught:
        assembly.assemble("default")
    assert "little" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_damaged_heads_are_errors(content: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        ModelHead.from_bytes(content, "head.npz")
    assert caught.value.code == "model_corrupt"


def test_a_forged_head_is_refused(shipped: PackagedModel, tmp_path: Path, weights: Path) -> None:
    (tmp_path / "little-head.npz").write_bytes(b"forged")
    with pytest.raises(ModelError, match="not the head"):
        assembly.assemble("little", weights=weights)


def test_a_model_without_a_linear_head_has_none_to_extract(little_model: Path) -> None:
    with pytest.raises(ModelError, match="no linear head"):
        assembly.extract_head(Model.read(little_model), little_model.read_bytes())
