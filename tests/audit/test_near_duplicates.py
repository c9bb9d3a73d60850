"""Fingerprints and the search for near-duplicates: synthetic music, and GTZAN where it is there."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import features
from genrescope.audit import (
    AuditOptions,
    AuditProgress,
    AuditResult,
    audit,
    find_near_duplicates,
)
from genrescope.audit import duplicates as search
from genrescope.augmentation import effects
from genrescope.datasets import load_spectrogram
from genrescope.errors import ConfigError
from genrescope.features import (
    FINGERPRINT_SPEC,
    Fingerprint,
    fingerprint_audio,
    fingerprint_log_mel,
    fingerprint_stream,
)
from genrescope.types import Audio, FloatArray
from helpers.small_data import RATE, piece

PIECES = 6


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals apart."""
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def music() -> list[FloatArray]:
    return [piece(number) for number in range(PIECES)]


def fingerprint_of(samples: FloatArray) -> Fingerprint:
    return fingerprint_stream([samples])


@pytest.fixture(scope="module")
def originals(music: list[FloatArray]) -> list[Fingerprint]:
    return [fingerprint_of(samples) for samples in music]


def noisy(samples: FloatArray) -> FloatArray:
    return effects.add_noise(samples, RATE, np.random.default_rng(0), snr_db=10.0, color="white")


COPIES: dict[str, tuple[Callable[[FloatArray], FloatArray], str, float, float]] = {
    # What is done, what is found, and the offset and speed with which.
    "same": (lambda samples: samples, "same_recording", 0.0, 1.0),
    "quieter": (lambda samples: samples * np.float32(0.1), "same_recording", 0.0, 1.0),
    "later": (lambda samples: samples[5 * RATE :], "recut", -5.0, 1.0),
    "cut": (lambda samples: samples[12 * RATE : 22 * RATE], "recut", -12.0, 1.0),
    "noise": (noisy, "same_recording", 0.0, 1.0),
    "low-pass": (
        lambda samples: effects.band_limit(samples, RATE, high_hertz=4000.0),
        "same_recording",
        0.0,
        1.0,
    ),
    "faster": (lambda samples: effects.resample_speed(samples, 1.03), "faster", 0.0, 1.03),
    "slower": (lambda samples: effects.resample_speed(samples, 1 / 1.03), "slower", 0.0, 1 / 1.03),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_and_nothing_else(
    name: str, music: list[FloatArray], originals: list[Fingerprint]
) -> None:
    change, kind, offset, speed = COPIES[name]
    copies = [fingerprint_of(change(samples)) for samples in music]
    found = find_near_duplicates([*originals, *copies])
    assert sorted((one.first, one.second) for one in found) == [(n, n + PIECES) for n in range(PIECES)]
    for one in found:
        assert one.kind == kind
        assert one.offset == pytest.approx(offset, abs=0.1)
        assert one.speed == pytest.approx(speed, abs=0.002)
        assert one.agreement > 0.5
        assert 0 <= one.second_span[0] < one.second_span[1] <= copies[one.second - PIECES].seconds + 0.1


def test_unrelated_pieces_are_not_found(originals: list[Fingerprint]) -> None:
    assert find_near_duplicates(originals) == []


def test_few_hashes_suffice(music: list[FloatArray], originals: list[Fingerprint]) -> None:
    """A large collection keeps a fifth of them."""
    copies = [fingerprint_of(noisy(samples)) for samples in music]
    index = search.FingerprintIndex([*originals, *copies], share=0.2)
    found = {(one.first, one.second) for batch in index.batches() for one in index.search(batch)}
    assert found == {(n, n + PIECES) for n in range(PIECES)}


def test_results_do_not_depend_on_threads_and_batches(
    music: list[FloatArray], originals: list[Fingerprint], monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [*originals, *(fingerprint_of(samples[RATE:]) for samples in music)]
    expected = find_near_duplicates(recordings, threads=1)
    monkeypatch.setattr(search, "_BATCH_PEAKS", 400)
    assert find_near_duplicates(recordings, threads=3) == expected


def test_more_copies_than_are_looked_at_are_still_connected(
    originals: list[Fingerprint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_MAX_MATCHES", 5)
    groups = {number: {number} for number in range(30)}
    for one in find_near_duplicates([originals[0]] * 30, speeds=(1.0,)):
        joined = groups[one.first] | groups[one.second]
        groups.update(dict.fromkeys(joined, joined))
    assert len(groups[0]) == 30


def test_nothing_is_found_in_empty_or_short_recordings() -> None:
    silent = fingerprint_of(np.zeros(5 * RATE, np.float32))
    short = fingerprint_of(piece(0, 1.0)[: RATE // 50])
    nothing = fingerprint_stream([])
    assert (len(silent), len(short), len(nothing)) == (0, 0, 0)
    assert find_near_duplicates([silent, short, nothing, silent]) == []
    assert find_near_duplicates([]) == []


def test_speeds_below_one_are_refused(originals: list[Fingerprint]) -> None:
    with pytest.raises(ConfigError, match=r"speeds \(0.97,\)"):
        find_near_duplicates(originals, speeds=(0.97,))


def test_other_bands_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(64, 100\)"):
        fingerprint_log_mel(np.zeros((64, 100), np.float32))


def test_block_length_does_not_matter() -> None:
    samples = np.concatenate([piece(1, 150.0), piece(2, 110.0)])
    whole = fingerprint_stream([samples])
    blocks = fingerprint_stream(np.array_split(samples, 97))
    np.testing.assert_array_equal(whole.bands, blocks.bands)
    np.testing.assert_array_equal(whole.frames, blocks.frames)
    assert whole.seconds == blocks.seconds == 260.0
    assert np.all(np.diff(whole.frames) >= 0)
    # As many peaks at the seams as elsewhere.
    counts, _ = np.histogram(whole.times, bins=np.arange(0, 261, 10))
    assert counts.min() > 0.6 * np.median(counts)


def test_a_file_has_the_fingerprint_of_its_samples(tmp_path: Path, music: list[FloatArray]) -> None:
    soundfile.write(tmp_path / "a.wav", music[0], RATE, subtype="FLOAT")
    found, expected = fingerprint_audio(tmp_path / "a.wav"), fingerprint_audio(Audio(music[0], RATE))
    np.testing.assert_array_equal(found.frames, expected.frames)
    log_mel = features.extract(music[0][np.newaxis], RATE, FINGERPRINT_SPEC)[0]
    assert len(fingerprint_log_mel(log_mel)) == len(expected)


def test_a_packed_fingerprint_is_the_same(originals: list[Fingerprint]) -> None:
    again = Fingerprint.unpack(originals[0].pack())
    assert len(originals[0].pack()) == 4 * (1 + len(originals[0]))
    np.testing.assert_allclose(again.bands, originals[0].bands, atol=1 / 64)
    np.testing.assert_allclose(again.frames, originals[0].frames, atol=1 / 128 + 1e-4)
    assert again.seconds == originals[0].seconds
    late = Fingerprint(np.array([1.0, 2.0], np.float32), np.array([3.0, 90_000.0], np.float32), 4000.0)
    np.testing.assert_array_equal(Fingerprint.unpack(late.pack()).frames, late.frames)
    for damaged in (b"", b"abc"):
        with pytest.raises(ValueError, match=r"empty|multiple"):
            Fingerprint.unpack(damaged)


@pytest.fixture
def folder(tmp_path: Path, music: list[FloatArray]) -> Path:
    """Return music with a copy of each kind."""
    root = tmp_path / "music"
    root.mkdir()
    for number, samples in enumerate(music):
        soundfile.write(root / f"{number}.wav", samples, RATE)
    soundfile.write(root / "0 again.wav", music[0], RATE)
    soundfile.write(root / "1 cut.ogg", music[1][8 * RATE :], RATE)
    fast = effects.resample_speed(music[2], 1.03)
    soundfile.write(root / "2 fast.flac", np.column_stack([fast, fast]), RATE)
    # The same samples at twice the rate are the same an octave higher, which is not looked for.
    soundfile.write(root / "3 other rate.wav", np.repeat(music[3], 2), 2 * RATE)
    return root


def duplicates_of(result: AuditResult) -> dict[str, tuple[str, ...]]:
    found = [one for one in result.report.findings if one.section == "duplicate"]
    assert len({one.kind for one in found}) <= len(found)
    return {" | ".join(one.tracks): (one.kind, one.action) for one in found}


def test_an_audit_finds_copies(folder: Path) -> None:
    options = AuditOptions(unlabeled=True, workers=1)
    result = audit(folder, options)
    assert duplicates_of(result) == {
        "0 again.wav | 0.wav": ("byte_identical", "drop"),
        "1 cut.ogg | 1.wav": ("near_duplicate", "group"),
        "2 fast.flac | 2.wav": ("wrong_speed", "group"),
        "3 other rate.wav | 3.wav": ("near_duplicate", "group"),
    }
    cut = next(one for one in result.report.findings if one.tracks[0] == "1 cut.ogg")
    assert cut.evidence["offset_seconds"] == pytest.approx(8, abs=0.1)
    assert cut.evidence["speed"] == pytest.approx(1, abs=0.002)
    assert cut.evidence["alike_seconds"] == pytest.approx(22, abs=1)
    assert [span.track for span in cut.spans] == list(cut.tracks)
    assert cut.spans[0].start == pytest.approx(0, abs=1)
    assert cut.spans[1].end == pytest.approx(30, abs=1)
    assert cut.score > 0.5
    fast = next(one for one in result.report.findings if one.kind == "wrong_speed")
    assert fast.evidence["speed"] == pytest.approx(1 / 1.03, abs=0.002)
    assert "slower" in fast.message


def test_a_second_audit_decodes_nothing(folder: Path) -> None:
    options = AuditOptions(unlabeled=True, workers=1)
    first = audit(folder, options)
    progress: list[AuditProgress] = []
    again = audit(folder, options, on_progress=progress.append)
    assert progress[-1].reused == progress[-1].total == PIECES + 4
    assert again.report == first.report


def test_the_search_can_be_left_out(folder: Path) -> None:
    result = audit(folder, AuditOptions(unlabeled=True, workers=1, near_duplicates=False))
    assert set(duplicates_of(result)) == {"0 again.wav | 0.wav"}
    assert all(not track.facts.extra for track in result.collection.tracks)


def test_copies_among_stored_spectrograms_are_found(tmp_path: Path, music: list[FloatArray]) -> None:
    rows = ["path,label"]
    for number, samples in enumerate([*music, music[0][3 * RATE :]]):
        log_mel = features.extract(samples[np.newaxis], RATE, FINGERPRINT_SPEC)[0]
        np.save(tmp_path / f"{number}.npy", log_mel.astype(np.float32))
        rows.append(f"{number}.npy,{'blues' if number % 2 else 'rock'}")
    (tmp_path / "tracks.csv").write_text("\n".join(rows) + "\n")
    result = audit(tmp_path / "tracks.csv", AuditOptions(workers=1))
    found = [one for one in result.report.findings if one.section == "duplicate"]
    assert [(one.kind, [Path(path).name for path in one.paths]) for one in found] == [
        ("near_duplicate", ["0.npy", f"{PIECES}.npy"])
    ]
    assert found[0].evidence["offset_seconds"] == pytest.approx(-3, abs=0.1)


def test_copies_in_gtzan_are_found(gtzan: Path) -> None:
    with (gtzan / "tracks.csv").open(encoding="utf-8", newline="") as lines:
        tracks = [row for row in csv.DictReader(lines) if row["logmel"]]
    kept = [row for number, row in enumerate(tracks) if row["replica_of"] or number % 20 == 0]
    recordings = [fingerprint_log_mel(load_spectrogram(gtzan / row["logmel"])) for row in kept]
    found = {
        tuple(sorted((kept[one.first]["track"], kept[one.second]["track"])))
        for one in find_near_duplicates(recordings)
    }
    replicas = {
        tuple(sorted((row["track"], other))) for row in kept for other in row["replica_of"].split() if other
    }
    assert len(replicas) == 14
    assert replicas <= found
    artist = {row["track"]: row["artist"] for row in kept}
    assert all(artist[first] == artist[second] for first, second in found - replicas)
