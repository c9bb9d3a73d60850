"""An audit of a library: of rows as a scan stores them, and of what no scan would store."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import LibraryEntry, tagging
from genrescope.audit import AuditOptions, AuditProgress, Finding, audit_library, tag_genres
from genrescope.errors import GenrescopeError, MissingDependencyError
from genrescope.utils import sha256_file
from helpers.small_data import RATE, hiss
from helpers.worker_handlers import create_crashing_handler

OPTIONS = AuditOptions(workers=1)
NAME = "Library.db"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals apart."""
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))


def entry(path: Path, genre: str = "rock", score: float = 0.95, **values: object) -> LibraryEntry:
    status = path.stat()
    row = LibraryEntry(
        path=str(path),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        hash=sha256_file(path) if path.is_file() else None,
        model="0" * 64,
        model_name="m",
        codec="pcm_s16le",
        sample_rate=RATE,
        channels=1,
        seconds=3.0,
        genre=genre,
        score=score,
        scores={genre: score},
    )
    return replace(row, **values)  # type: ignore[arg-type]


def failed(path: Path, code: str = "audio_unreadable") -> LibraryEntry:
    problem = GenrescopeError(code, f"{path}: not audio", "copy it again")
    status = path.stat() if path.exists() else os.stat_result([0] * 10)
    return LibraryEntry.from_error(
        problem,
        str(path),
        size=status.st_size,
        mtime_ns=getattr(status, "st_mtime_ns", 0),
        hash=None,
        model="0" * 64,
        model_name="m",
    )


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder with three different songs."""
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", hiss(3.0, number), RATE)
    return folder


def found(rows: list[LibraryEntry], decode: bool = False) -> dict[str, Finding]:
    report = audit_library(rows, Path(NAME), OPTIONS, decode=decode).report
    assert report.tracks == len(rows)
    assert set(report.counts.values()) <= {1}
    return {finding.kind: finding for finding in report.findings}


def test_a_sound_library_gives_no_finding(music: Path) -> None:
    assert found([entry(path) for path in sorted(music.iterdir())]) == {}
    assert found([]) == {}


def test_of_copies_the_better_one_is_named(music: Path) -> None:
    copy = Path(shutil.copy(music / "0.wav", music / "a copy.wav"))
    whole, cut = entry(music / "0.wav"), entry(copy, flags=("truncated",))
    findings = found([cut, whole])
    copies = findings["byte_identical"]
    assert copies.evidence["keep"] == "0.wav"
    assert copies.evidence["keep_because"] == "it is whole"
    assert copies.drop == ("a copy.wav",)
    assert copies.message.endswith("better: 0.wav, it is whole")
    assert findings["truncated"].tracks == ("a copy.wav",)


def test_links_to_one_file_are_no_copies_that_may_go(music: Path) -> None:
    (music / "a link.wav").symlink_to(music / "0.wav")
    (music / "hard.wav").hardlink_to(music / "0.wav")
    names = ("a link.wav", "hard.wav", "0.wav")
    copies = found([entry(music / name) for name in names])["byte_identical"]
    assert copies.action == "none"
    assert copies.drop == ()
    assert "3 names of one file" in copies.message
    shutil.copy(music / "0.wav", music / "real copy.wav")
    copies = found([entry(music / name) for name in (*names, "real copy.wav")])["byte_identical"]
    assert copies.evidence["keep"] == "hard.wav"
    assert copies.drop == ("real copy.wav",)


def test_tags_are_compared_with_sure_answers(music: Path, flac: Path) -> None:
    tagging.write_genres(flac, ["Polka", "Reggae"])
    before = flac.read_bytes()
    finding = found([entry(flac, "metal")])["tag_disagrees"]
    assert finding.paths == (str(flac),)
    assert "'Polka, Reggae'" in finding.message
    for unsure in (
        entry(flac, "metal", is_uncertain=True),
        entry(flac, "metal", not_music=True),
        entry(flac, "metal", genre_set=("metal", "reggae")),
        entry(flac, "metal", styles={"dub": 0.6}),
        entry(flac, "reggae"),
    ):
        assert found([unsure]) == {}
    assert flac.read_bytes() == before


def test_without_mutagen_tags_are_not_read_and_this_is_said(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise MissingDependencyError("missing_dependency", "mutagen is absent", "install it")

    monkeypatch.setattr(tagging, "require_mutagen", absent)
    report = audit_library([entry(music / "0.wav")], Path(NAME), OPTIONS).report
    assert report.settings == {
        "decoded": "no files",
        "tags": "not read: install it",
        "fingerprints": "of 0 of 1 files",
    }


def test_progress_of_tags_and_of_decoding(music: Path) -> None:
    rows = [entry(path) for path in sorted(music.iterdir())]
    tags: list[tuple[int, int]] = []
    decoded: list[AuditProgress] = []
    audit_library(
        rows,
        Path(NAME),
        OPTIONS,
        decode=True,
        on_progress=decoded.append,
        on_tags=lambda *of: tags.append(of),
    )
    assert tags == [(1, 3), (2, 3), (3, 3)]
    assert decoded == [(1, 3, 0, 0), (2, 3, 0, 0), (3, 3, 0, 0)]


def test_tags_that_no_worker_could_read_are_one_finding(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [entry(path) for path in sorted(music.iterdir())]
    monkeypatch.setattr(tag_genres, "create_handler", create_crashing_handler)
    finding = found(rows)["not_analyzed"]
    assert (finding.evidence["files"], finding.action, finding.drop) == (3, "check", ())


def test_broken_gone_and_changed_files(music: Path) -> None:
    rows = [failed(music / "0.wav"), entry(music / "1.wav"), entry(music / "2.wav")]
    (music / "1.wav").unlink()
    soundfile.write(music / "2.wav", hiss(2.0, 9), RATE)
    findings = found(rows)
    assert set(findings) == {"unreadable", "missing", "dataset_issue"}
    assert findings["unreadable"].evidence["hint"] == "copy it again"
    assert findings["unreadable"].action == "repair"
    assert findings["missing"].tracks == ("1.wav",)
    assert findings["dataset_issue"].tracks == ("2.wav",)
    assert not any(finding.drop for finding in findings.values())


def test_a_disk_that_is_not_connected_is_one_finding(tmp_path: Path) -> None:
    rows = [failed(tmp_path / "disk" / f"{number}.mp3", "audio_missing") for number in range(60)]
    finding = found(rows)["missing"]
    assert finding.evidence["files"] == 60
    assert finding.message == "60 files of the library are not there"


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_rows_that_no_scan_writes(music: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    strange = [
        replace(failed(music / "0.wav"), error="of a later version", message=None, hint=None),
        replace(failed(music / "1.wav", "library_corrupt"), size=-1, mtime_ns=-1),
        replace(entry(music / "2.wav"), path="no\0name.wav"),
        replace(entry(music / "2.wav"), path="relative.wav"),
        replace(entry(music / "2.wav"), path=os.fsdecode(b"/no/\xff\xfe.wav")),
        entry(tmp_path / "pipe.wav"),
        entry(tmp_path / "folder.wav"),
    ]
    report = audit_library(strange, Path(NAME), OPTIONS).report
    assert report.counts == {"missing": 3, "unreadable": 3, "dataset_issue": 1}
    assert audit_library(strange, Path(NAME), OPTIONS, decode=True).report.counts["missing"] == 3


def test_decoding_finds_copies_in_other_containers_and_faults_of_the_sound(music: Path) -> None:
    samples, rate = soundfile.read(music / "0.wav", dtype="int16")
    soundfile.write(music / "same.flac", samples, rate)
    soundfile.write(music / "1.wav", np.clip(20 * hiss(3.0, 1), -0.5, 0.5), RATE)
    rows = [entry(path) for path in sorted(music.iterdir())]
    assert found(rows) == {}
    before = {path: path.read_bytes() for path in music.iterdir()}
    findings = found(rows, decode=True)
    assert findings["same_samples"].tracks == ("0.wav", "same.flac")
    assert findings["clipping"].tracks == ("1.wav",)
    assert {path: path.read_bytes() for path in music.iterdir()} == before
