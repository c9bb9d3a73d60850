"""Fixtures of all tests: shared music (tests without it are skipped), small data sets, models."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Before torch is imported. Tests run in several processes: with several threads in each, which wait for each
# other at every operation, they take as long as five times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The settings of whoever runs the tests must not change them.
os.environ["GENRESCOPE_CONFIG"] = "none"

import hypothesis
import pytest
import soundfile

from genrescope import datasets
from genrescope.training import config
from genrescope.training import run as train
from helpers.small_data import GENRES, RATE, drone, hiss

SHARED = Path(os.environ.get("GENRESCOPE_SHARED", Path(__file__).resolve().parents[2] / "shared"))

# No test may depend on the load of the machine.
hypothesis.settings.register_profile("genrescope", deadline=None)
hypothesis.settings.load_profile("genrescope")


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


@pytest.fixture(scope="session")
def little_music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set that every model learns: two genres, twelve tracks each, four artists a genre."""
    root = tmp_path_factory.mktemp("little")
    for genre, play in zip(GENRES, (drone, hiss), strict=True):
        for number in range(12):
            folder = root / genre / f"artist {number % 4}"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{genre} {number}.wav", play(3.0, 100 * number + len(genre)), RATE)
    return root


@pytest.fixture(scope="session")
def little_model(little_music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file trained on `little_music`: logistic regression."""
    settings = config.load_config("logistic-regression", ["split.protocol=artist-grouped", "split.folds=4"])
    dataset = datasets.load_dataset(little_music)
    return train.train(dataset, settings, tmp_path_factory.mktemp("run") / "run").model


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a piece of music in every format that can have genres; files to copy, not to change."""
    from helpers import tagged_files

    folder = tmp_path_factory.mktemp("forms")
    return {form: tagged_files.write(folder, form) for form in tagged_files.FORMS}


@pytest.fixture
def flac(forms: dict[str, Path], tmp_path: Path) -> Path:
    """Return a FLAC file with tags and a picture, free to change."""
    return Path(shutil.copy2(forms["flac"], tmp_path))
