"""Spectrograms from files: the right way up, in decibels, at the right times."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from PIL import Image

from genrescope.datasets.spectrograms import column_frames, interpolate_columns, load_spectrogram
from genrescope.errors import ConfigError, DataError, MissingDependencyError
from helpers import librosa_reference


def save(path: Path, values: npt.NDArray[np.uint8]) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_images_are_flipped_vertically(tmp_path: Path) -> None:
    values = np.zeros((128, 5), np.uint8)
    values[-1] = 255
    values[0, 2] = 51
    found = load_spectrogram(save(tmp_path / "a b.png", values))
    assert (found.shape, found.dtype) == ((128, 5), np.float32)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[127], [-80, -80, -64, -80, -80])


def test_arrays_are_read_unchanged(tmp_path: Path) -> None:
    values = np.linspace(-80, 0, 12).reshape(3, 4)
    np.save(tmp_path / "a.npy", values)
    found = load_spectrogram(tmp_path / "a.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values, rtol=1e-6)


def damaged(folder: Path) -> list[Path]:
    save(folder / "color.png", np.zeros((8, 8, 3), np.uint8))
    (folder / "text.png").write_text("no picture")
    whole = save(folder / "whole.png", np.random.default_rng(0).integers(0, 255, (128, 99)).astype(np.uint8))
    (folder / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (folder / "text.npy").write_text("no array")
    (folder / "empty.npy").touch()
    np.save(folder / "flat.npy", np.zeros(3))
    np.save(folder / "bytes.npy", np.zeros((3, 3), np.uint8))
    np.save(folder / "nan.npy", np.full((3, 3), np.nan))
    np.save(folder / "pickle.npy", np.array([[{}]]))
    return sorted(path for path in folder.iterdir() if path != whole)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    paths = damaged(tmp_path)
    assert len(paths) == 9
    for path in paths:
        with pytest.raises(DataError) as caught:
            load_spectrogram(path)
        assert caught.value.code == "dataset_invalid", path
        assert str(path) in caught.value.message


def test_missing_file_and_missing_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as caught:
        load_spectrogram(tmp_path / "gone.png")
    assert caught.value.code == "dataset_not_found"
    picture = save(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError) as failure:
        load_spectrogram(picture)
    assert failure.value.code == "missing_dependency"


@pytest.mark.parametrize("frames", [1290, 1293, 1320])
def test_columns_rise_and_stay_inside(frames: int) -> None:
    places = column_frames(723, frames)
    assert (places.shape, places.dtype) == ((723,), np.int64)
    assert np.all(np.diff(places) >= 1)
    assert 0 <= places[0] < 5
    assert frames - 5 < places[-1] < frames


@pytest.mark.parametrize("frames", [323, 647, 1293, 2586])
def test_interpolation_keeps_a_constant_and_a_ramp(frames: int) -> None:
    constant = np.full((2, 723), -3.5, np.float32)
    np.testing.assert_allclose(interpolate_columns(constant, frames), -3.5, rtol=1e-6)
    exact = frames >= 1293
    places = column_frames(723, frames) if exact else (1.78522 * np.arange(723) + 2.80027) * frames / 1293
    ramp = np.stack([places, -2 * places]).astype(np.float32)
    found = interpolate_columns(ramp, frames)
    assert (found.shape, found.dtype) == ((2, frames), np.float32)
    inside = np.arange(np.ceil(places[0]), np.floor(places[-1]), dtype=np.int64)
    np.testing.assert_allclose(found[0, inside], inside, rtol=1e-5)
    np.testing.assert_allclose(found[1, inside], -2.0 * inside, rtol=1e-5)


def test_interpolation_returns_the_given_columns_at_their_frames() -> None:
    picture = np.random.default_rng(1).uniform(-80, 0, (4, 723)).astype(np.float32)
    found = interpolate_columns(picture, 1293)
    np.testing.assert_allclose(found[:, column_frames(723, 1293)], picture, rtol=1e-6)
    assert found.min() >= picture.min()
    assert found.max() <= picture.max()


@pytest.mark.parametrize(("columns", "frames"), [(1, 1293), (723, 1)])
def test_too_little_to_interpolate(columns: int, frames: int) -> None:
    with pytest.raises(ConfigError, match="cannot interpolate"):
        interpolate_columns(np.zeros((2, columns), np.float32), frames)


def test_shared_picture_shows_its_clip(gtzan: Path) -> None:
    """A lossless clip, analyzed by librosa, equals its spectrogram image, to the rounding of the image."""
    clip = min((gtzan / "audio").rglob("*.flac"))
    samples, rate = soundfile.read(clip, dtype="float32")
    assert rate == librosa_reference.RATE
    try:
        decibels = librosa_reference.live({"clip": samples})["clip/log_mel_relative"]
    except librosa_reference.LibrosaCrashedError as reason:
        pytest.skip(str(reason))
    picture = load_spectrogram(gtzan / "logmel" / clip.parent.name / f"{clip.stem}.png")
    assert picture.shape == (128, 723)
    places = column_frames(picture.shape[1], decibels.shape[1])
    assert np.median(np.abs(picture - decibels[:, places])) < 0.5
    whole = interpolate_columns(picture, decibels.shape[1])
    assert np.median(np.abs(whole - decibels)) < 1.5
