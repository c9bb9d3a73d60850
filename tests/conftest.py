"""What every test file may use: the shared music, found or skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from genrescope import config, datasets, train

SHARED = Path(os.environ.get("GENRESCOPE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared research data; skip where it is absent, fail in CI."""
    if not (SHARED / "data" / "gtzan" / "tracks.csv").exists():
        if os.environ.get("GENRESCOPE_REQUIRE_SHARED"):
            pytest.fail(f"shared data absent where it is required: {SHARED}")
        pytest.skip(f"shared data absent: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def gtzan(shared: Path) -> Path:
    """Return the folder of GTZAN: audio, spectrogram pictures, tables."""
    return shared / "data" / "gtzan"


RATE = 22050
GENRES = ("drone", "hiss")


def drone(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """Return a low chord, in tune with nothing."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = [np.sin(2 * np.pi * frequency * time) for frequency in generator.uniform(80, 400, 3)]
    return (0.2 * np.sum(tones, axis=0)).astype(np.float32)


def hiss(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """Return noise."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="session")
def little_music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set that anything can learn: two genres, twelve tracks each, four artists a genre."""
    root = tmp_path_factory.mktemp("little")
    for genre, play in zip(GENRES, (drone, hiss), strict=True):
        for number in range(12):
            folder = root / genre / f"artist {number % 4}"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{genre} {number}.wav", play(3.0, 100 * number + len(genre)), RATE)
    return root


def settled_weights(width: float, file: Path, *, rounds: int = 10, segments: int = 8) -> Path:
    """Write random weights of EfficientAT, with batch normalization settled, so that signals get through."""
    import torch

    from genrescope.efficientat import EfficientAt
    from genrescope.networks import initialize_weights

    torch.manual_seed(0)
    network = EfficientAt(width).train()
    initialize_weights(network)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    with torch.no_grad():
        for _ in range(rounds):
            network(torch.randn(segments, 128, 100))
    torch.save(network.state_dict(), file)
    return file


LITTLE = (
    "data.segment_seconds=1.0",
    "data.hop_seconds=0",
    "data.hop_length=914",
    "data.segments_per_track=0",
    "split.folds=4",
    "split.validation_fraction=0.2",
    "train.epochs=2",
    "train.batch_size=8",
    "train.precision=float32",
    "augment.crops_per_track=0",
)


@pytest.fixture(scope="session")
def little_model(little_music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file trained on the little music: logistic regression."""
    settings = config.load_config("logistic-regression", ["split.protocol=artist-grouped", "split.folds=4"])
    dataset = datasets.load_dataset(little_music)
    return train.train(dataset, settings, tmp_path_factory.mktemp("run") / "run").model


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a piece of music in every format that can have genres; files to copy, not to change."""
    import tagged

    folder = tmp_path_factory.mktemp("forms")
    return {form: tagged.write(folder, form) for form in tagged.FORMS}


@pytest.fixture
def flac(forms: dict[str, Path], tmp_path: Path) -> Path:
    """Return a FLAC file with tags and a picture, free to change."""
    return Path(shutil.copy2(forms["flac"], tmp_path))


@contextlib.contextmanager
def serving(*options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``genrescope serve`` with one worker on a free port; yield its address and process."""
    command = [sys.executable, "-m", "genrescope", "serve", "--port", "0", "--workers", "1", *options]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    surroundings.pop("ORT_DISABLE_TELEMETRY", None)  # tests have set it; the server must do so itself
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=surroundings) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        try:
            yield said.split(" at ")[1].split()[0], process
        finally:
            process.terminate()
            process.stderr.read()
