"""Models on a pre-trained backbone: shapes, trained weights, and one file that needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import Classifier, datasets
from genrescope.errors import ConfigError
from genrescope.labels import STYLES
from genrescope.models import pretrained as transfer
from genrescope.models.backbones import registry as backbones
from genrescope.models.backbones.efficientat import WIDTHS, EfficientAt
from genrescope.models.model import Model
from genrescope.training import config
from genrescope.training import run as training
from helpers.small_data import LITTLE
from helpers.weights import settled_weights

SMALL = (
    "model.backbone=mn01",
    "data.segment_seconds=2.0",
    "split.protocol=artist-grouped",
    "augment.crops_per_track=0",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights for mn01."""
    return settled_weights(WIDTHS["mn01"], tmp_path_factory.mktemp("weights") / "mn01.pt")


def settings(name: str, weights: Path, *overrides: str) -> config.Config:
    return config.load_config(name, [*LITTLE, *SMALL, f"model.weights={weights}", *overrides])


def test_the_branches_of_mn04_are_as_wide_as_the_papers() -> None:
    backbone = backbones.Backbone(backbones.BACKBONES["mn04"].info, EfficientAt(WIDTHS["mn04"]))
    network = transfer.ParallelPretrained(backbone, 128, 10)
    assert network.output.in_features == 384 + 128
    assert network(torch.randn(2, 128, 200)).shape == (2, 10)


@pytest.mark.parametrize("name", ["frozen", "parallel-pretrained", "student"])
def test_it_learns_and_classifies_from_one_file(
    name: str, weights: Path, little_music: Path, tmp_path: Path
) -> None:
    chosen = settings(
        name, weights, "train.epochs=3", "augment.mixup_alpha=0", "model.inverse_regularization=1e6"
    )
    run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.accuracy.value > 0.8
    classifier = Classifier.from_pretrained(run.model)
    assert classifier.model.info.features.sample_rate == 32000
    assert classifier.model.info.styles == STYLES
    song = next((little_music / "hiss").rglob("*.wav"))
    assert classifier.predict(song).genre == "hiss"


def test_temperature_and_threshold_come_from_validation_or_the_settings(
    weights: Path, little_music: Path, tmp_path: Path
) -> None:
    whole = datasets.load_dataset(little_music)
    wrong = {track.id: {"drone": "hiss", "hiss": "drone"}[track.label] for track in whole.tracks[::3]}
    mixed = tuple(
        replace(track, id=f"{track.id} {copy:02}", label=wrong.get(track.id, track.label))
        for copy in range(12)  # half of which are validation tracks, as many as calibration needs
        for track in whole.tracks
    )
    music = replace(whole, tracks=mixed)
    parts = (
        "model.inverse_regularization=1",
        "split.protocol=track-random",
        "split.validation_fraction=0.5",
    )
    fitted = training.train(music, settings("frozen", weights, *parts), tmp_path / "fitted")
    given = training.train(
        music,
        settings("frozen", weights, *parts, "calibration.temperature=2", "calibration.threshold=0.7"),
        tmp_path / "given",
    )
    one, other = (Model.read(run.model).info for run in (fitted, given))
    assert 0 < one.provenance["temperature"] != 1
    assert other.provenance["temperature"] == 2
    assert other.threshold == 0.7
    assert given.evaluation.tracks is not None
    assert given.evaluation.tracks.calibration is not None
    assert given.evaluation.tracks.calibration.model_threshold is not None
    assert given.evaluation.tracks.calibration.model_threshold.score == 0.7


def test_the_gru_beside_a_backbone_in_decibels_gets_levels(little_music: Path) -> None:
    network = transfer.ParallelPretrained(backbones.load_backbone("student"), 128, 2).eval()
    batch = torch.randn(6, 128, 60) * 10 - 40
    network.fit(batch)
    with torch.inference_mode():
        torch.testing.assert_close(network(batch), network(batch - 20), atol=1e-3, rtol=1e-3)


def test_a_frozen_backbone_does_not_move(weights: Path, little_music: Path, tmp_path: Path) -> None:
    chosen = settings("parallel-pretrained", weights, "optimizer.backbone_lr_scale=0", "train.epochs=1")
    training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, before in torch.load(weights, weights_only=True).items():
        torch.testing.assert_close(kept[f"network.backbone.network.{name}"], before)


def test_a_frozen_backbone_computes_each_segment_once(
    weights: Path, little_music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    embed = backbones.Backbone.embed

    def counting(self: backbones.Backbone, batch: torch.Tensor) -> torch.Tensor:
        computed.append(len(batch))
        return embed(self, batch)

    monkeypatch.setattr(backbones.Backbone, "embed", counting)
    monkeypatch.setattr(transfer, "_MEMORY", transfer.EmbeddingMemory(1 << 20))
    fixed = ("augment.mixup_alpha=0", "augment.spec_augment_masks=0", "optimizer.backbone_lr_scale=0")
    chosen = settings("parallel-pretrained", weights, *fixed, "train.epochs=3", "train.precision=float32")
    curves = []
    for name in ("first", "second"):
        run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / name)
        curves.append((run.curves, sum(computed)))
    assert curves[0][0] == curves[1][0]
    # What is left for the second training is the export, which is compared with the trained network.
    assert curves[1][1] - curves[0][1] < curves[0][1] / 2


def test_embeddings_that_are_kept_are_those_of_the_backbone(weights: Path) -> None:
    backbone = backbones.load_backbone("mn01", weights=weights).eval().requires_grad_(False)
    batch = torch.randn(4, 128, 100)
    digest = transfer.digest_of_weights(backbone)
    memory = transfer.EmbeddingMemory(3 * 4 * backbone.info.size)
    for rows in ([0, 1], [1, 2, 0], [3, 3], [0, 1, 2, 3]):
        torch.testing.assert_close(memory.embed(backbone, digest, batch[rows]), backbone.embed(batch[rows]))
    # Four were computed, and the oldest was forgotten.
    assert len(memory._kept) == 3
    other = backbones.random_backbone("mn01", seed=1).eval()
    assert transfer.digest_of_weights(other) != digest
    assert not torch.allclose(
        memory.embed(other, transfer.digest_of_weights(other), batch[3:]), backbone.embed(batch[3:])
    )


def test_dropout_is_obeyed_in_fine_tuning(little_music: Path, tmp_path: Path) -> None:
    losses = []
    for dropout in (0.0, 0.0, 0.9):
        chosen = config.load_config(
            "student", [f"model.dropout={dropout}", "train.epochs=1", "split.folds=2"]
        )
        run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / f"run {len(losses)}")
        losses.append(run.curves[0]["train_loss"])
    assert losses[0] == losses[1] != losses[2]


def test_a_backbone_moves_at_its_own_rate(weights: Path) -> None:
    from genrescope.training.optimizers import _parameter_groups

    backbone = backbones.load_backbone("mn01", weights=weights)
    network = transfer.ParallelPretrained(backbone, 128, 2)
    own, borrowed = _parameter_groups(
        network, config.load_config(None, ["optimizer.backbone_lr_scale=0.1"]).optimizer
    )
    assert borrowed["lr"] == pytest.approx(0.1 * own["lr"])
    assert len(borrowed["params"]) == len(list(backbone.parameters()))


def test_unknown_backbones_are_refused(little_music: Path, tmp_path: Path) -> None:
    chosen = config.load_config("frozen", ["model.backbone=mn03"])
    with pytest.raises(ConfigError, match="mn03"):
        training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")


def test_two_classes_make_a_softmax() -> None:
    from genrescope.models import classical

    generator = np.random.default_rng(0)
    inputs = np.concatenate([generator.normal(-1, 1, (40, 3)), generator.normal(1, 1, (40, 3))]).astype(
        np.float32
    )
    targets = np.repeat([0, 1], 40)
    weights, biases = classical.fit_linear(inputs, targets, c=1.0, seed=0)
    logits = inputs @ weights.T + biases
    expected = 1 / (1 + np.exp(-(logits[:, 1] - logits[:, 0])))
    assert weights.shape == (2, 3)
    assert ((expected > 0.5) == targets).mean() > 0.9
