"""Several processes train as one with a larger batch; loader workers change no result but by their draws."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import datasets
from genrescope.errors import ConfigError
from genrescope.features import MappedFeatures
from genrescope.training import TrainingRun, config, train
from genrescope.training.builders import create_builder
from genrescope.training.devices import select_device
from genrescope.training.module import TrainingBatches, ValidationBatches
from genrescope.training.task import Task, prepare_task
from helpers.small_data import LITTLE

# Without batch normalization, whose statistics are of each process's own part, and without random changes.
SAME = [
    *LITTLE,
    "split.protocol=artist-grouped",
    "train.threads=1",
    "model.dropout=0",
    "augment.mixup_alpha=0",
    "augment.spec_augment_masks=0",
    "augment.random_eq_db=0",
    "augment.lowpass_probability=0",
    "optimizer.schedule=one-cycle",
]


@pytest.fixture(scope="module")
def task(little_music: Path) -> Task:
    chosen = config.load_config("cnn", SAME)
    return prepare_task(datasets.load_dataset(little_music), chosen, create_builder(chosen).feature_spec())


def batches(task: Task, *overrides: str, devices: int = 1, rank: int = 0) -> TrainingBatches:
    chosen = config.load_config("cnn", [*SAME, *overrides])
    made = TrainingBatches(task.examples, task.targets, task.segments("train"), 2, chosen, devices=devices)
    made.rank, made.epoch = rank, 3
    return made


@pytest.mark.parametrize("size", [4, 7, 41])
def test_parts_of_processes_make_up_the_batches_of_one(size: int, task: Task) -> None:
    """41: a last step of one item, which only one of the processes has."""
    size = min(size, len(task.segments("train")) // 2)
    one = list(batches(task, f"train.batch_size={2 * size}"))
    parts = [batches(task, f"train.batch_size={size}", devices=2, rank=rank) for rank in (0, 1)]
    first, second = map(list, parts)
    assert len(one) == len(first) == len(second) == len(parts[0])
    for index, (whole, left, right) in enumerate(zip(one, first, second, strict=True)):
        assert torch.equal(left[0][: len(left[1])], whole[0][0::2])
        assert torch.equal(right[0][: len(right[1])], whole[0][1::2])
        assert torch.equal(left[1], whole[1][0::2])
        weights = [part.weight(index) / 2 for part in parts]
        assert weights == [len(left[1]) / len(whole[1]), len(right[1]) / len(whole[1])]


def test_validation_parts_are_all_of_it_in_equally_many_batches(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrescope.training.module.VALIDATION_BATCH_SIZE", 4)
    chosen = task.segments("train")[:9]
    parts = [ValidationBatches(task.examples, task.targets, chosen, devices=2) for _ in range(2)]
    parts[1].rank = 1
    lists = [list(part) for part in parts]
    assert [[len(targets) for _, targets in one] for one in lists] == [[2, 2, 1], [2, 2, 0]]
    assert all(len(features) for one in lists for features, _ in one)


def test_loader_workers_draw_by_the_numbers_of_epoch_and_batch(task: Task) -> None:
    augmented = ("augment.crops_per_track=2", "augment.mixup_alpha=0.3", "augment.random_eq_db=3.0")
    here = batches(task, *augmented)
    expected = [here.numbered(3, index) for index in range(len(here))]
    got = list(batches(task, *augmented, "train.loader_workers=1"))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    here.epoch = 4
    assert not torch.equal(here.numbered(4, 0)[0], expected[0][0])


def trained(music: Path, folder: Path, *overrides: str, devices: int = 1) -> TrainingRun:
    chosen = config.load_config("lstm", [*SAME, *overrides])
    return train(datasets.load_dataset(music), chosen, folder, device="cpu", devices=devices)


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch has no Gloo here")
def test_two_processes_give_the_model_of_one_with_twice_the_batch(
    little_music: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("genrescope")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        two = trained(little_music, tmp_path / "two", "train.batch_size=5", devices=2)
    finally:
        logger.setLevel(level)
    one = trained(little_music, tmp_path / "one", "train.batch_size=10")
    assert "epoch 2/2: " in capfd.readouterr().err
    assert len(two.curves) == len(one.curves) == 2
    for row, other in zip(two.curves, one.curves, strict=True):
        assert list(row) == list(other)
        np.testing.assert_allclose(list(row.values()), list(other.values()), rtol=1e-4)
    weights = [
        torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (two, one)
    ]
    assert list(weights[0]) == list(weights[1])
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-5)
    assert two.predictions is not None
    assert one.predictions is not None
    np.testing.assert_allclose(two.predictions.scores, one.predictions.scores, atol=1e-4)
    assert (tmp_path / "two" / "metrics.csv").read_text().count("\n") == 3
    assert json.loads((tmp_path / "two" / "curves.json").read_text()) == two.curves


def test_processes_that_share_features_map_the_same_file(little_music: Path, tmp_path: Path) -> None:
    chosen = config.load_config("cnn", SAME)
    spec = create_builder(chosen).feature_spec()
    mapped = prepare_task(
        datasets.load_dataset(little_music), chosen, spec, store=tmp_path / "store", memory_limit=0
    )
    assert isinstance(mapped.examples.spectrograms, MappedFeatures)


@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("gpu", 1, "unknown device"),
        ("cpu", 0, "0 devices"),
        pytest.param(
            "cuda",
            1,
            "no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        pytest.param(
            "mps",
            1,
            "GPU of a Mac",
            marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_devices_that_are_not_there_are_refused(name: str, count: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        select_device(name, count)


def test_several_processes_on_the_processor_are_accepted() -> None:
    assert select_device("cpu", 3).type == "cpu"
