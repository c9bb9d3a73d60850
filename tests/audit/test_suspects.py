"""Audits of small data sets with wrong labels in them, and the features that labels are judged by."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from genrescope.audit import (
    AuditOptions,
    AuditResult,
    AuditTrack,
    FileFacts,
    audit,
    check_labels,
    create_embedding,
    track_vectors,
    write_cleaned,
)
from genrescope.audit.embeddings import EXTRACTOR, decode_vector, embedding_model
from genrescope.datasets import load_dataset
from genrescope.types import AudioInfo
from helpers.small_data import RATE, drone, hiss


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals apart."""
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))


def run(data: Path, **options: str) -> AuditResult:
    return audit(data, AuditOptions(workers=1, check_labels=True, **options))  # type: ignore[arg-type]


def suspects(result: AuditResult) -> dict[str, str]:
    found = [one for one in result.report.findings if one.kind == "label_suspect" and one.score >= 0.5]
    return {one.tracks[0]: one.label for one in found}


def write_table(path: Path, wrong: dict[int, str]) -> Path:
    """Write a table of 90 tracks of three genres, three tracks of an artist, with some labels changed."""
    generator = np.random.default_rng(0)
    genres = ("blues", "metal", "pop")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "label", "group", *(f"feature_{number}" for number in range(6))])
        for number in range(90):
            genre = number % 3
            values = 4.0 * np.eye(3)[genre].repeat(2) + generator.standard_normal(6)
            label = wrong.get(number, genres[genre])
            writer.writerow([f"{number}.wav", label, f"artist {number % 30}", *values.round(3)])
    return path


def test_wrong_labels_of_a_table_are_found_and_can_be_changed(tmp_path: Path) -> None:
    data = write_table(tmp_path / "table.csv", {7: "blues", 30: "pop"})
    result = run(data, input="table")
    assert suspects(result) == {"7": "metal", "30": "blues"}
    found = next(one for one in result.report.findings if one.tracks == ("7",))
    assert found.action == "relabel"
    assert found.evidence["given"] == "blues"
    assert found.score == pytest.approx(found.evidence["probability"], abs=1e-3)
    summary = next(one for one in result.report.findings if one.kind == "label_noise")
    assert summary.evidence["suggestions"] == 2
    assert result.report.settings["label_check"] == summary.message
    done = write_cleaned(result.report, result.collection.tracks, tmp_path / "cleaned.csv")
    assert (done.relabeled, done.dropped) == (2, 0)


def test_labels_are_not_checked_unless_asked_for(tmp_path: Path) -> None:
    data = write_table(tmp_path / "table.csv", {7: "blues"})
    result = audit(data, AuditOptions(workers=1, input="table"))
    assert "label_check" not in result.report.settings
    assert suspects(result) == {}


def test_of_several_genres_none_is_suggested_instead_of_another(tmp_path: Path) -> None:
    data = write_table(tmp_path / "table.csv", {7: "blues", 30: "pop"})
    tracks = [
        AuditTrack(one.id, one.path, one.label, one.group, one.kind)
        for one in load_dataset(data, kind="table").tracks
    ]
    both = {one.tracks[0] for one in check_labels(tracks).findings if one.score >= 0.5}
    assert {"7", "30"} <= both
    several = check_labels(tracks, all_labels={"7": ("blues", "Metal")})
    assert "7" not in {track for one in several.findings for track in one.tracks}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [(("blues", "metal"), "2 are needed"), ((), "no track has a label and features")],
)
def test_what_cannot_be_checked_is_said(tmp_path: Path, labels: tuple[str, ...], reason: str) -> None:
    path = tmp_path / "table.csv"
    rows = [f"{number}.wav,{label},{number}" for number, label in enumerate(labels)]
    path.write_text("\n".join(["filename,label,feature", *rows]))
    tracks = [AuditTrack(str(number), path, label, kind="table") for number, label in enumerate(labels)]
    checked = check_labels(tracks)
    assert checked.findings == ()
    assert checked.note.startswith("not checked")
    assert reason in checked.note


def spectrogram(generator: np.random.Generator, low: bool) -> np.ndarray:
    """Return noise in dB with most of its energy in the low or in the high bands."""
    slope = np.linspace(-10, -60, 128)[:, None]
    values = (slope if low else slope[::-1]) + 4 * generator.standard_normal((128, 250))
    return np.minimum(values, 0).astype(np.float32)


def test_wrong_labels_of_spectrograms_are_found_though_one_is_damaged(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for genre in ("dark", "bright"):
        folder = tmp_path / genre
        folder.mkdir()
        for number in range(24):
            swapped = (genre, number) == ("dark", 5)
            np.save(folder / f"{genre}{number}.npy", spectrogram(generator, (genre == "dark") != swapped))
    (tmp_path / "dark" / "damaged.npy").write_bytes(b"no array")
    result = run(tmp_path, input="spectrogram")
    wrong = suspects(result)
    assert list(wrong.values()) == ["bright"]
    assert "dark5" in next(iter(wrong))
    assert "of 48 labels" in result.report.settings["label_check"]


def header(seconds: float | None) -> AudioInfo:
    return AudioInfo("wav", "pcm_16", RATE, 1, seconds)


def embedded(samples: np.ndarray, block: int, seconds: float | None) -> object:
    extractor = create_embedding("song.wav", header(seconds))
    for start in range(0, len(samples), block):
        extractor.add(samples[start : start + block])
    return extractor.result()


def test_a_track_has_the_same_vector_however_it_is_cut_into_blocks() -> None:
    samples = drone(23.0, 1)
    first = embedded(samples, 4096, 23.0)
    assert first == embedded(samples, 100_003, 23.0)
    vector = decode_vector(first)
    assert vector is not None
    info = embedding_model().info
    assert len(vector) == info.embedding_size + len(info.styles)


def test_of_long_tracks_some_segments_are_embedded() -> None:
    samples = np.concatenate([drone(10.0, 1), hiss(90.0, 2), drone(10.0, 3), hiss(10.0, 4)])
    # Twelve segments of 10 s: every second one, of which the drone at the start and at 100 s.
    vector = decode_vector(embedded(samples, 50_000, 120.0))
    every_third = decode_vector(embedded(samples, 50_000, None))
    assert vector is not None
    assert every_third is not None
    assert not np.allclose(vector, every_third)


def test_tracks_of_less_than_a_second_have_no_vector() -> None:
    assert embedded(drone(0.5, 1), 4096, 0.5) is None
    assert embedded(drone(2.0, 1), 4096, 2.0) is not None
    assert embedded(drone(0.0, 1), 4096, None) is None


@pytest.mark.parametrize("stored", [None, 5, {}, {"model": "other", "values": "AAAA"}])
def test_a_vector_of_another_model_is_none(stored: object) -> None:
    assert decode_vector(stored) is None
    if isinstance(stored, dict):
        assert decode_vector({**stored, "model": embedding_model().sha256[:16]}) is None


def test_only_tracks_with_a_vector_are_judged() -> None:
    stored = embedded(drone(5.0, 1), 4096, 5.0)
    with_vector = AuditTrack("a", Path("a.wav"), "pop", facts=FileFacts(extra={EXTRACTOR: stored}))
    without = AuditTrack("b", Path("b.wav"), "pop")
    vectors = track_vectors([with_vector, without])
    assert [track.id for track in vectors.tracks] == ["a"]
    assert [len(view) for view in vectors.views] == [1, 1]
    assert track_vectors([]).tracks == ()
