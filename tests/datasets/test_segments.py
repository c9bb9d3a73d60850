"""SegmentDataset: the segments of training are those that a classifier computes."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from genrescope import features
from genrescope.audio import loading as audio
from genrescope.audio import segmentation as segments
from genrescope.datasets import load_gtzan as read_gtzan
from genrescope.datasets.segments import SegmentDataset, build_segments
from genrescope.errors import AudioError, DataError
from genrescope.features import (
    PAPER_LOG_MEL,
    PAPER_MEANS,
    PAPER_SEQUENCE,
    SPECTROGRAM_LOG_MEL,
    MappedFeatures,
    segment_frames,
)
from genrescope.types import Track
from helpers.small_data import RATE, drone, hiss


@pytest.fixture
def song(tmp_path: Path) -> Track:
    file = tmp_path / "song.wav"
    soundfile.write(file, np.concatenate([drone(5.0, 1), hiss(6.0, 2)]), RATE)
    return Track("song", file, "drone", "song")


@pytest.mark.parametrize("spec", [PAPER_LOG_MEL, PAPER_SEQUENCE, PAPER_MEANS], ids=lambda spec: spec.kind)
def test_windows_are_the_segments_that_a_classifier_computes(spec: features.FeatureSpec, song: Track) -> None:
    examples = build_segments([song], spec, seconds=4.5)
    cut = segments.split(audio.load_audio(song.path, sample_rate=RATE), seconds=4.5)
    direct = features.extract(cut.samples, RATE, spec)
    gathered = examples.take(np.arange(len(examples)))
    assert gathered.shape == direct.shape
    np.testing.assert_allclose(examples.weights, cut.weights, atol=512 / RATE)
    if spec.kind == "log_mel":
        # Of whole tracks: the first segment agrees away from its right edge, where a cut meets silence.
        np.testing.assert_allclose(gathered[0, :, :190], direct[0, :, :190], atol=0.01)
    else:
        np.testing.assert_allclose(gathered, direct, rtol=1e-5, atol=1e-5)
    exact = build_segments([song], spec, seconds=4.5, per_segment=True)
    np.testing.assert_array_equal(exact.take(np.arange(len(exact))), direct)


def test_the_papers_segments(gtzan: Path) -> None:
    tracks = read_gtzan(gtzan, "spectrogram").tracks[:3]
    examples = build_segments(tracks, PAPER_LOG_MEL, seconds=4.5, limit=6)
    assert examples.take(np.arange(len(examples))).shape == (18, 128, 194)
    assert examples.start[:6].tolist() == [0, 194, 388, 581, 775, 969]


def test_spectrogram_images_keep_their_hop_length(gtzan: Path) -> None:
    tracks = read_gtzan(gtzan, "spectrogram").tracks[:2]
    examples = build_segments(tracks, SPECTROGRAM_LOG_MEL, seconds=5.3)
    assert examples.spectrograms[0].shape == (128, 723)
    assert examples.width == 128
    last = examples.start[examples.track == 0][-1]
    assert 722 <= last + examples.width <= 723


def test_a_track_shorter_than_a_segment_is_repeated(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", drone(2.0, 1), RATE)
    short = Track("short", tmp_path / "short.wav", "drone", "short")
    examples = build_segments([short], SPECTROGRAM_LOG_MEL, seconds=5.3)
    window = examples.take(np.array([0]))[0]
    assert window.shape == (128, 128)
    width = examples.spectrograms[0].shape[1]
    np.testing.assert_array_equal(window[:, width : 2 * width], window[:, :width])


def test_tables_are_input_of_the_baselines_only(gtzan: Path) -> None:
    tracks = read_gtzan(gtzan, "table").tracks
    examples = build_segments(tracks, PAPER_MEANS, seconds=30.0)
    assert examples.take(np.arange(len(examples))).shape == (1000, 6)
    with pytest.raises(DataError, match="table"):
        build_segments(tracks, PAPER_LOG_MEL, seconds=4.5)


def test_random_starts_fit(song: Track) -> None:
    examples = build_segments([song], SPECTROGRAM_LOG_MEL, seconds=5.3)
    starts = examples.random_starts(np.zeros(500, np.int64), np.random.default_rng(0))
    last = examples.spectrograms[0].shape[1] - examples.width
    assert starts.min() == 0
    assert starts.max() == last


def test_frames_of_an_efficientat_segment() -> None:
    assert segment_frames(features.EFFICIENTAT, 10.0) == 1000


@pytest.mark.parametrize(("seconds", "hop", "frames"), [(4.5, 512, 194), (29.5, 512, 1271), (5.3, 914, 128)])
def test_frames_of_a_segment(seconds: float, hop: int, frames: int) -> None:
    assert segment_frames(features.FeatureSpec("log_mel", hop_length=hop), seconds) == frames


def test_unreadable_tracks_are_left_out_and_reported(song: Track, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    bad = Track("bad", tmp_path / "noise.wav", "drone", "bad")
    codes: list[str] = []
    examples = build_segments(
        [bad, song],
        SPECTROGRAM_LOG_MEL,
        seconds=5.3,
        on_failure=lambda track, failure: codes.append(failure.code),
    )
    assert [track.id for track in examples.tracks] == ["song"]
    assert codes == ["audio_unreadable"]
    with pytest.raises(AudioError):
        build_segments([bad, song], SPECTROGRAM_LOG_MEL, seconds=5.3)
    with pytest.raises(DataError, match="no track can be read"):
        build_segments([bad], SPECTROGRAM_LOG_MEL, seconds=5.3, on_failure=lambda *_: None)


def test_spectrograms_of_another_shape_are_refused(tmp_path: Path, gtzan: Path) -> None:
    np.save(tmp_path / "small.npy", np.zeros((64, 200), np.float32))
    small = Track("small", tmp_path / "small.npy", "drone", "small", "spectrogram")
    with pytest.raises(DataError, match="64 bands"):
        build_segments([small], SPECTROGRAM_LOG_MEL, seconds=5.3)
    with pytest.raises(DataError, match="does not take spectrograms"):
        build_segments(read_gtzan(gtzan, "spectrogram").tracks[:2], PAPER_SEQUENCE, seconds=4.5)


def test_arrays_have_the_hop_length_of_the_model(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(-40, 9, (128, 400)).astype(np.float32))
    own = Track("own", tmp_path / "own.npy", "drone", "own", "spectrogram")
    examples = build_segments([own], PAPER_LOG_MEL, seconds=4.5)
    np.testing.assert_array_equal(examples.spectrograms[0], np.load(tmp_path / "own.npy"))


def music(folder: Path, count: int = 4) -> list[Track]:
    tracks = []
    for number in range(count):
        play = (drone, hiss)[number % 2]
        soundfile.write(folder / f"{number}.wav", play(3.0 + number, number), RATE)
        tracks.append(Track(f"track {number}", folder / f"{number}.wav", play.__name__, f"group {number}"))
    (folder / "noise.wav").write_bytes(b"no sound")
    return [*tracks, Track("bad", folder / "noise.wav", "hiss", "bad")]


def same(one: SegmentDataset, other: SegmentDataset) -> bool:
    chosen = np.arange(len(one))
    assert [track.id for track in one.tracks] == [track.id for track in other.tracks]
    for name in ("track", "start", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    first, second = one.take(chosen), other.take(chosen)
    return bool((first == second).all()) and first.strides == second.strides


@pytest.mark.parametrize("spec", [PAPER_LOG_MEL, PAPER_SEQUENCE], ids=lambda spec: spec.kind)
def test_features_in_a_file_are_those_in_memory(spec: features.FeatureSpec, tmp_path: Path) -> None:
    tracks = music(tmp_path)
    codes: list[str] = []

    def build(**options: Any) -> SegmentDataset:
        return build_segments(
            tracks, spec, seconds=1.5, limit=2, on_failure=lambda _, one: codes.append(one.code), **options
        )

    memory = build()
    # A limit within the tracks: the first stay in memory until the file is begun.
    limit = memory.spectrograms[0].nbytes + 10
    mapped = build(store=tmp_path / "store", memory_limit=limit)
    assert isinstance(mapped.spectrograms, MappedFeatures)
    assert same(memory, mapped)
    assert same(memory, build(store=tmp_path / "other", memory_limit=1 << 30))
    assert not (tmp_path / "other").exists()
    assert same(mapped, pickle.loads(pickle.dumps(mapped)))
    assert len(pickle.dumps(mapped)) < 4000
    assert codes == ["audio_unreadable"] * 3
    assert np.load(mapped.spectrograms.path).shape == (
        sum(one.shape[1] for one in memory.spectrograms),
        len(memory.spectrograms[0]),
    )


def test_stored_features_are_found_again_until_a_file_changes(tmp_path: Path) -> None:
    tracks = music(tmp_path)
    lines: list[str] = []

    def build(seconds: float = 1.5) -> SegmentDataset:
        return build_segments(
            tracks,
            PAPER_LOG_MEL,
            seconds=seconds,
            store=tmp_path / "store",
            memory_limit=0,
            on_failure=lambda track, failure: lines.append(f"{track.id}: {failure.code}"),
        )

    first = build()
    stored = sorted((tmp_path / "store").iterdir())
    before = [file.stat().st_mtime_ns for file in stored]
    assert same(first, build())
    assert [file.stat().st_mtime_ns for file in stored] == before
    assert lines == ["bad: audio_unreadable"] * 2
    build(seconds=1.0)
    assert len(list((tmp_path / "store").iterdir())) == 2 * len(stored)
    soundfile.write(tracks[0].path, drone(4.0, 9), RATE)
    assert not np.array_equal(build().spectrograms[0], first.spectrograms[0])


@pytest.mark.parametrize("damage", ["index", "segments", "features", "shorter"])
def test_damaged_stored_features_are_computed_again(damage: str, tmp_path: Path) -> None:
    tracks = music(tmp_path)[:2]
    build = partial(
        build_segments, tracks, PAPER_LOG_MEL, seconds=1.5, store=tmp_path / "store", memory_limit=0
    )
    first = build()
    assert isinstance(first.spectrograms, MappedFeatures)
    path = first.spectrograms.path
    expected = np.load(path)
    if damage == "shorter":
        np.save(path, np.zeros((3, 128), np.float32))
    else:
        suffix = {"index": ".json", "segments": ".segments.npy", "features": ".npy"}[damage]
        path.with_suffix(suffix).write_bytes(b"{")
    again = build()
    np.testing.assert_array_equal(np.load(path), expected)
    assert len(again) == len(first)


def test_a_killed_writer_leaves_no_features(tmp_path: Path) -> None:
    tracks = music(tmp_path)
    with pytest.raises(AudioError):
        build_segments(tracks, PAPER_LOG_MEL, seconds=1.5, store=tmp_path / "store", memory_limit=0)
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("cached", [False, True])
def test_worker_processes_read_the_same(cached: bool, tmp_path: Path) -> None:
    tracks = music(tmp_path)
    codes: list[str] = []
    cache = tmp_path / "cache" if cached else None
    here, there = (
        build_segments(
            tracks,
            PAPER_LOG_MEL,
            seconds=1.5,
            cache=cache,
            workers=workers,
            on_failure=lambda _, one: codes.append(one.code),
        )
        for workers in (0, 2)
    )
    assert same(here, there)
    assert codes == ["audio_unreadable"] * 2
