"""Recurrent normalization, scaling and initialization as settings: trained, exported, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import datasets
from genrescope.errors import ConfigError
from genrescope.evaluation.evaluator import predict_segments
from genrescope.models.backbones import efficientat
from genrescope.models.model import Model
from genrescope.models.recurrent import BatchNormCell
from genrescope.training import config
from genrescope.training import run as training
from genrescope.training.builders import NetworkBuilder, create_builder
from genrescope.training.task import prepare_task
from helpers.small_data import LITTLE


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("lstm", ["recurrent_normalization=batch", "scaling=batch", "initialization=orthogonal"]),
        ("lstm", ["scaling=none", "initialization=pytorch"]),
        ("crnn", ["recurrent_normalization=batch", "initialization=xavier"]),
        ("parallel", ["recurrent_normalization=batch", "initialization=he"]),
        ("parallel-pretrained", ["recurrent_normalization=batch", "backbone=mn01", "weights={}"]),
    ],
)
def test_networks_with_options_train_and_their_model_files_carry_them(
    name: str, overrides: list[str], little_music: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(efficientat.EfficientAt(0.1).state_dict(), weights)
    chosen = config.load_config(
        name,
        [
            *LITTLE,
            "data.segment_seconds=1.5",
            "train.epochs=1",
            *(f"model.{each.format(weights)}" for each in overrides),
        ],
    )
    dataset = datasets.load_dataset(little_music)
    run = training.train(dataset, chosen, tmp_path / "run")
    assert np.isfinite(run.curves[-1]["train_loss"])

    builder = create_builder(chosen)
    assert isinstance(builder, NetworkBuilder)
    task = prepare_task(dataset, chosen, builder.feature_spec())
    network = builder.create_network(task)
    normalized = any(isinstance(layer, BatchNormCell) for layer in network.modules())
    assert normalized == (chosen.model.recurrent_normalization == "batch")
    kept = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    network.load_state_dict({key.removeprefix("network."): value for key, value in kept.items()})
    everything = np.arange(len(task.examples))
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(task.examples.take(everything))).softmax(1).numpy()
    model = Model.read(run.model)
    for segments in (everything[:1], everything[:3], everything):
        np.testing.assert_allclose(
            predict_segments(model, task.examples, segments), expected[segments], atol=1e-4
        )


@pytest.mark.parametrize(
    ("name", "override", "alternative"),
    [
        ("cnn", "recurrent_normalization=batch", "parallel-pretrained"),
        ("svm", "recurrent_normalization=batch", "lstm"),
        ("parallel", "scaling=none", "lstm"),
        ("frozen", "initialization=he", "parallel"),
        ("svm", "initialization=xavier", "cnn"),
    ],
)
def test_options_that_do_not_apply_are_refused(name: str, override: str, alternative: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        config.load_config(name, [f"model.{override}"])
    assert caught.value.code == "invalid_config"
    assert alternative in caught.value.hint
