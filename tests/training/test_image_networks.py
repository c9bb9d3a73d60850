"""VGG16 and Inception v3 beside the GRU: pre-trained on teachers' outputs, at random, and from a file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import Classifier, datasets, models
from genrescope.errors import ConfigError, ModelError
from genrescope.models import build_image_student
from genrescope.models.backbones.imagenet import ImageNetwork, InceptionV3, Vgg16
from genrescope.training import config
from genrescope.training import run as training
from genrescope.training.distillation.pipeline import DistillConfig, distill
from helpers.shards import random_shard
from helpers.small_data import LITTLE

CONFIGS = {"vgg16": "parallel-vgg16", "inception-v3": "parallel-inception"}
EXPOSURES = ["AudioSet", "Million Song Dataset", "my music"]
SMALL = ("data.segment_seconds=2.0", "split.protocol=artist-grouped", "train.batch_size=8")


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the images to what the networks can just be applied to, and most of VGG16's layers."""
    monkeypatch.setattr(Vgg16, "side", 32)
    monkeypatch.setattr(Vgg16, "groups", ((8, 8), (8, 8), (8, 8, 8), (8, 8, 8), (8, 8, 512)))
    monkeypatch.setattr(InceptionV3, "side", 75)


def prepared_shards(run: Path) -> None:
    """Write shards of both teachers, two to train on and two to validate on."""
    (run / "shards").mkdir(parents=True)
    for number in range(4):
        random_shard(run / "shards", number, rows=6)


@pytest.mark.parametrize("name", CONFIGS)
def test_shards_make_weights_under_the_published_names(
    name: str, little_music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genrescope.training")
    weights = distilled(name, little_music, tmp_path)
    assert weights == tmp_path / f"{name}.pt"
    assert "musicnn" in caplog.messages[-1]
    assert (tmp_path / name / "last.ckpt").exists()
    state = torch.load(weights, weights_only=True)
    network = models.load_backbone(name, weights=weights).network
    assert isinstance(network, ImageNetwork)
    loaded = models.published_names(network)
    assert list(state) == list(loaded)
    for key, value in state.items():
        torch.testing.assert_close(loaded[key], value.float() if value.is_floating_point() else value)
    assert [entry.data for entry in models.backbone_exposures(name, weights=weights)] == EXPOSURES


def distilled(name: str, music: Path, run: Path) -> Path:
    """Train a network on prepared shards; no teacher is loaded, its outputs are in them."""
    prepared_shards(run)
    settings = DistillConfig(
        shards=2, epochs=1, batch_size=6, teachers=("mn04", "musicnn"), device="cpu", network=name
    )
    return distill(datasets.load_dataset(music).tracks, settings, run, data="my music")


def test_weights_of_sound_are_read_by_the_configuration_and_their_exposure_stated(
    little_music: Path, tmp_path: Path
) -> None:
    weights = distilled("vgg16", little_music, tmp_path / "distilled")
    chosen = config.load_config(
        "parallel-vgg16", [*LITTLE, *SMALL, f"model.weights={weights}", "train.epochs=1"]
    )
    run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    info = Classifier.from_pretrained(run.model).model.info
    assert [entry.data for entry in info.unlabeled_exposure] == EXPOSURES
    assert info.provenance["config"]["model"]["weights"] == "vgg16.pt"


def test_random_weights_are_stated_and_classify_from_one_file(little_music: Path, tmp_path: Path) -> None:
    chosen = config.load_config(
        "parallel-vgg16",
        [*LITTLE, *SMALL, "model.weights=random", "optimizer.backbone_lr_scale=1", "train.epochs=1"],
    )
    run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    classifier = Classifier.from_pretrained(run.model)
    info = classifier.model.info
    assert info.provenance["config"]["model"]["weights"] == "random"
    assert info.unlabeled_exposure == ()
    assert info.features.hop_length == 914
    song = next((little_music / "hiss").rglob("*.wav"))
    assert set(classifier.predict(song).scores) == {"hiss", "drone"}


def test_inception_asks_for_a_file_where_none_is_given(little_music: Path, tmp_path: Path) -> None:
    chosen = config.load_config("parallel-inception", [*LITTLE, *SMALL])
    with pytest.raises(ModelError) as caught:
        training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    assert caught.value.code == "model_not_found"
    assert "inception_v3_google-0cc3c7bd" in caught.value.hint


def test_an_image_network_learns_from_its_teachers() -> None:
    student = build_image_student("vgg16", two_teachers=False, seed=0)
    generator = torch.Generator().manual_seed(0)
    batch = -60 * torch.rand(8, 128, 49, generator=generator)
    batch[::2, 64:] = -80
    wanted = torch.zeros(8, sum(student.sizes))
    wanted[::2] = 1
    optimizer = torch.optim.AdamW(student.parameters(), 3e-4)
    losses = []
    for _ in range(15):
        loss = ((torch.cat(student(batch), 1) - wanted) ** 2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert np.mean(losses[-3:]) < 0.2 * losses[0]


def test_unknown_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resnet"):
        distill([], DistillConfig(network="resnet"), tmp_path)
