"""Audits of small data sets with faults in them, and of what no program should read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope.audit import (
    AuditOptions,
    AuditProgress,
    AuditTrack,
    Extensions,
    Finding,
    ProtocolOptions,
    TrackPair,
    audit,
)
from genrescope.errors import ConfigError, DataError, WriteError
from genrescope.types import AudioInfo
from helpers.small_data import RATE, drone, hiss


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals apart."""
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return two genres, six artists each, two tracks an artist."""
    root = tmp_path / "music"
    for genre, play in (("drone", drone), ("hiss", hiss)):
        for number in range(12):
            path = root / genre / f"{genre} artist {number // 2}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, play(1.5, 100 * number + len(genre)), RATE)
    return root


def kinds(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.kind for finding in findings}


def test_clean_music_gives_no_finding(music: Path) -> None:
    result = audit(music, AuditOptions(workers=1))
    assert result.report.findings == ()
    assert result.report.tracks == 24
    assert result.report.settings["protocol"] == "artist-grouped"


def test_faulty_files_are_findings_and_the_audit_goes_on(music: Path) -> None:
    good = music / "drone" / "drone artist 0" / "0.wav"
    content = good.read_bytes()
    (music / "drone" / "cut.wav").write_bytes(content[: len(content) * 3 // 4])
    (music / "drone" / "noise.mp3").write_bytes(os.urandom(4000))
    (music / "hiss" / "empty.wav").touch()
    soundfile.write(music / "hiss" / "short.wav", hiss(0.5, 7), RATE)
    soundfile.write(music / "hiss" / "silent.wav", np.zeros(2 * RATE), RATE)
    (music / "hiss" / "link.wav").symlink_to(music / "nowhere.wav")
    shutil.copy(good, music / "hiss" / "copy.wav")
    samples, rate = soundfile.read(music / "hiss" / "hiss artist 0" / "1.wav", dtype="int16")
    soundfile.write(music / "hiss" / "other.flac", samples, rate)
    report = audit(music, AuditOptions(workers=2)).report
    found = {
        "truncated": ["drone/cut.wav"],
        "unreadable": ["drone/noise.mp3"],
        "empty": ["hiss/empty.wav"],
        "too_short": ["hiss/short.wav"],
        "silent": ["hiss/silent.wav"],
        "byte_identical": ["drone/drone artist 0/0.wav", "hiss/copy.wav"],
        "label_conflict": ["drone/drone artist 0/0.wav", "hiss/copy.wav"],
        "same_samples": ["hiss/hiss artist 0/1.wav", "hiss/other.flac"],
        "missing": ["hiss/link.wav"],
    }
    for kind, tracks in found.items():
        assert [sorted(one.tracks) for one in report.findings if one.kind == kind] == [tracks], kind
    assert {"drone/noise.mp3", "hiss/empty.wav", "hiss/silent.wav"} <= report.dropped()


def test_a_second_audit_reads_the_journal_and_finds_the_same(music: Path, tmp_path: Path) -> None:
    (music / "hiss" / "bad.wav").write_bytes(b"nothing")
    options = AuditOptions(workers=1, journal=tmp_path / "journal.jsonl")
    seen: list[AuditProgress] = []
    first = audit(music, options, on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].reused) == (25, 25, 0)
    # A line that a kill has cut, and a file that has changed since.
    with (tmp_path / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"path": "cut')
    changed = music / "hiss" / "hiss artist 0" / "0.wav"
    soundfile.write(changed, hiss(1.6, 5), RATE)
    seen.clear()
    second = audit(music, options, on_progress=seen.append)
    assert (seen[-1].done, seen[-1].reused) == (25, 24)
    assert second.report == first.report
    seen.clear()
    audit(music, options, on_progress=seen.append)
    assert seen[-1].reused == 25


def test_an_audit_that_was_interrupted_goes_on(music: Path, tmp_path: Path) -> None:
    options = AuditOptions(workers=1, journal=tmp_path / "journal.jsonl")

    def interrupt(progress: AuditProgress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(music, options, on_progress=interrupt)
    seen: list[AuditProgress] = []
    audit(music, options, on_progress=seen.append)
    assert seen[-1].reused >= 5


class CrashingExtractor:
    """Ends its process at a file of a certain name, as a decoder may."""

    def __init__(self, path: str, info: AudioInfo) -> None:
        self._crashes = "artist 3" in path
        self._rate = info.sample_rate
        self._samples = 0

    def add(self, mono: np.ndarray) -> None:
        if self._crashes:
            os._exit(9)
        self._samples += len(mono)

    def result(self) -> object:
        return self._samples / self._rate


def test_an_audit_without_a_cache_is_not_resumed(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path / "file" / "cache"))
    assert audit(music, AuditOptions(workers=1)).report.findings == ()
    with pytest.raises(WriteError):
        audit(music, AuditOptions(workers=1, journal=tmp_path / "file" / "journal"))


def test_a_file_that_crashes_its_worker_is_a_finding(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests), *sys.path]))
    monkeypatch.setattr(CrashingExtractor, "__module__", "test_auditor")
    result = audit(
        music, AuditOptions(workers=1), extensions=Extensions(extractors={"length": CrashingExtractor})
    )
    crashed = [finding for finding in result.report.findings if finding.kind == "not_analyzed"]
    assert len(crashed) == 4
    assert crashed[0].evidence["code"] == "worker_crashed"
    lengths = {track.facts.extra.get("length") for track in result.collection.tracks}
    assert lengths == {1.5, None}


def test_pairs_of_a_search_become_findings_groups_and_leaks(music: Path) -> None:
    def search(tracks: object) -> list[TrackPair]:
        pair = TrackPair("drone/drone artist 0/0.wav", "hiss/hiss artist 0/0.wav", score=0.8)
        return [pair, TrackPair("absent", "hiss/hiss artist 0/0.wav")]

    def check(tracks: object) -> list[Finding]:
        return [Finding("label_suspect", 0.7, "likely hiss", ("drone/drone artist 0/0.wav",), label="hiss")]

    result = audit(
        music, AuditOptions(workers=1), extensions=Extensions(pair_searches=(search,), checks=(check,))
    )
    assert kinds(result.report.findings) >= {"near_duplicate", "label_conflict", "label_suspect"}
    groups = {one.track: one.group for one in result.groups().assignments}
    assert groups["drone/drone artist 0/1.wav"] == groups["hiss/hiss artist 0/1.wav"]


def manifest(folder: Path, rows: list[tuple[str, ...]], header: str = "path,label,group,split") -> Path:
    path = folder / "tracks.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def test_artists_and_copies_on_both_sides_of_the_given_split(music: Path) -> None:
    files = sorted(music.rglob("*.wav"))
    shutil.copy(files[0], music / "copy.wav")
    rows = []
    for number, path in enumerate([*files, music / "copy.wav"]):
        part = "test" if number % 4 == 1 or path.name == "copy.wav" else "train"
        label = "drone" if path.name == "copy.wav" else path.parts[-3]
        rows.append((str(path.relative_to(music)), label, "" if number else "one artist", part))
    rows[1] = (*rows[1][:2], "one artist", "test")
    report = audit(manifest(music, rows), AuditOptions(workers=1)).report
    assert report.settings["protocol"] == "given"
    leaks = {finding.kind: finding for finding in report.findings if finding.section == "split"}
    assert leaks["recording_leak"].tracks[1] == "copy.wav"
    assert len(leaks["artist_leak"].tracks) == 3  # the copy is in the artist's group by now
    assert leaks["artist_leak"].evidence["train_tracks"] == 1


def test_too_few_groups_and_unknown_artists(music: Path) -> None:
    files = sorted(music.rglob("*.wav"))
    rows = [(str(path.relative_to(music)), path.parts[-3]) for path in files]
    path = manifest(music, rows, "path,label")
    assert kinds(audit(path, AuditOptions(workers=1)).report.findings) == {"groups_unknown"}
    few = AuditOptions(workers=1, split=ProtocolOptions(folds=20))
    assert kinds(audit(path, few).report.findings) == {"groups_unknown", "too_few_groups"}


def test_labels_that_are_spelled_differently_and_rare_ones(music: Path) -> None:
    files = sorted(music.rglob("*.wav"))
    names = ["Hip Hop"] * 18 + ["hip-hop"] * 2 + ["electronic"] * 2 + ["electornic"] * 2
    rows = [(str(path.relative_to(music)), label) for path, label in zip(files, names, strict=True)]
    report = audit(manifest(music, rows, "path,label"), AuditOptions(workers=1)).report
    spellings = {finding.label: finding for finding in report.findings if finding.kind == "label_spelling"}
    assert set(spellings) == {"Hip Hop", "electronic"}
    assert len(spellings["Hip Hop"].tracks) == 2
    assert "class_imbalance" in kinds(report.findings)


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.wav\n",
        'path,label\n"a.wav,drone\n',
        "path,label\na.wav,\n,drone\na.wav,drone\na.wav,hiss\n",
        "path,label\n\0\n",
        "nothing\n1\n",
        "",
    ],
)
def test_a_damaged_manifest_is_a_finding(text: str, tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text(text)
    report = audit(tmp_path / "tracks.csv", AuditOptions(workers=1)).report
    assert "dataset_issue" in kinds(report.findings)


def test_a_folder_without_labels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", hiss(2.0, 1), RATE)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    report = audit(tmp_path, AuditOptions(workers=1, unlabeled=True)).report
    assert [finding.kind for finding in report.findings] == ["byte_identical"]
    assert report.findings[0].drop == ("b.wav",)


def test_bad_requests_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        audit(tmp_path / "nowhere")
    with pytest.raises(ConfigError):
        AuditOptions(kinds=("cliping",))


def test_tracks_of_a_table_have_no_files_of_their_own(tmp_path: Path) -> None:
    rows = "\n".join(f"{genre}.{n}.wav,{n},{genre}" for genre in ("blues", "rock") for n in range(6))
    (tmp_path / "table.csv").write_text(f"filename,feature,label\n{rows}\n")
    report = audit(tmp_path / "table.csv", AuditOptions(workers=1)).report
    assert report.tracks == 12
    assert "byte_identical" not in kinds(report.findings)


@pytest.fixture(scope="session")
def cases(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the hostile files of the shared folder; skip where it is absent."""
    build = shared / "cases" / "build.py"
    if not build.is_file():
        pytest.skip(f"absent: {build}")
    folder = tmp_path_factory.mktemp("cases")
    songs = Path(__file__).parents[2] / "examples" / "demo_music" / "music"
    (folder / "songs").mkdir()
    for song in songs.glob("*.mp3"):
        shutil.copy(song, folder / "songs")
    soundfile.write(folder / "songs" / "noise.flac", hiss(5.0, 3), 44100)
    command = [sys.executable, str(build), str(folder / "out"), str(folder / "songs")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "out"


def test_hostile_files_give_findings(cases: Path) -> None:
    report = audit(cases, AuditOptions(workers=2, unlabeled=True, timeout=120)).report
    expected = {
        ("antiphase.wav", "antiphase"),
        ("concatenated.flac", "header_mismatch"),
        ("concatenated.mp3", "header_mismatch"),
        ("einval.w64", "unreadable"),
        ("half.wav", "truncated"),
        ("hole.flac", "truncated"),
        ("not_music_hum_50.wav", "hum"),
        ("spike.wav", "spikes"),
        ("streaminfo_two_seconds.flac", "header_mismatch"),
    }
    found = {(track, finding.kind) for finding in report.findings for track in finding.tracks}
    assert expected <= found


def test_track_is_unchanged_where_nothing_is_known() -> None:
    assert AuditTrack("a", Path("a.wav")).facts.bit_rate == 0
