"""Fingerprints that a scan keeps, and the copies that an audit finds by them without decoding."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import Classifier
from genrescope.audit import AuditOptions, AuditResult, audit_library
from genrescope.features import FINGERPRINT_SPEC, Fingerprint, fingerprint_audio
from genrescope.library import Library, ScanOptions
from genrescope.utils import sha256_file
from helpers.small_data import RATE, piece

SECONDS = 70.0


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals apart."""
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two songs, and one of them in another coding, longer by a few samples."""
    folder = tmp_path_factory.mktemp("songs")
    for number, name in enumerate(("one", "two")):
        soundfile.write(folder / f"{name}.flac", piece(number, SECONDS), RATE)
    soundfile.write(folder / "one.ogg", np.pad(piece(0, SECONDS), (0, 500)), RATE)
    return folder


@pytest.fixture
def music(songs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(songs, tmp_path / "music"))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library.db") as library:
        yield library


def scan(library: Library, music: Path, *, excerpts: bool = True) -> None:
    options = ScanOptions(workers=1, excerpts=excerpts)
    assert all(one.status != "failed" for one in library.scan([music], options))


def audited(library: Library, *, decode_missing: bool = False) -> AuditResult:
    return audit_library(
        library.entries(),
        library.database.path,
        AuditOptions(workers=1),
        decode_missing=decode_missing,
        fingerprints=library.fingerprints(),
    )


@pytest.mark.parametrize("excerpts", [True, False])
def test_the_answer_does_not_depend_on_whether_a_fingerprint_is_kept(songs: Path, excerpts: bool) -> None:
    classifier = Classifier.from_pretrained()
    song = songs / "one.flac"
    bare = classifier.predict(song, excerpts=excerpts, timeline=True)
    kept = classifier.predict(song, excerpts=excerpts, timeline=True, fingerprint=True)
    assert bare == kept
    assert bare.timeline is not None
    assert kept.timeline is not None
    assert np.array_equal(bare.timeline.scores, kept.timeline.scores)
    assert bare.fingerprint is None
    assert kept.fingerprint is not None
    found = Fingerprint.unpack(kept.fingerprint)
    assert found.seconds == pytest.approx(SECONDS)
    # Peaks lie in the segments that were scored, and are those of the whole file but for the edges.
    starts = kept.timeline.starts
    inside = (found.times[:, np.newaxis] >= starts) & (found.times[:, np.newaxis] < starts + 10.0)
    assert inside.any(axis=1).all()
    assert inside.any(axis=0).all()
    whole = fingerprint_audio(song)
    near = np.abs(found.frames[:, np.newaxis] - whole.frames) < 1
    near &= np.abs(found.bands[:, np.newaxis] - whole.bands) < 1
    assert near.any(axis=1).mean() > 0.85


def test_models_with_other_features_give_none(songs: Path, little_model: Path) -> None:
    classifier = Classifier.from_pretrained(little_model)
    assert classifier.model.info.features != FINGERPRINT_SPEC
    assert classifier.predict(songs / "one.flac", fingerprint=True).fingerprint is None


@pytest.mark.parametrize("excerpts", [True, False])
def test_an_audit_finds_copies_by_what_the_scan_kept(library: Library, music: Path, excerpts: bool) -> None:
    scan(library, music, excerpts=excerpts)
    result = audited(library)
    (found,) = result.report.findings
    assert (found.kind, sorted(found.tracks)) == ("near_duplicate", ["one.flac", "one.ogg"])
    assert "better: one.flac" in found.message
    assert result.report.settings["decoded"] == "no files"
    assert result.report.settings["fingerprints"] == "of 3 of 3 files"
    bare = audit_library(library.entries(), library.database.path, AuditOptions(workers=1))
    assert bare.report.findings == ()
    assert bare.report.settings["fingerprints"] == "of 0 of 3 files"


def test_only_files_that_lack_one_are_decoded(library: Library, music: Path) -> None:
    scan(library, music)
    library.database._write("DELETE FROM fingerprints WHERE file = 1", ())
    assert audited(library).report.settings["fingerprints"] == "of 2 of 3 files"
    decoded: list[int] = []
    result = audit_library(
        library.entries(),
        library.database.path,
        AuditOptions(workers=1),
        decode_missing=True,
        fingerprints=library.fingerprints(),
        on_progress=lambda progress: decoded.append(progress.total),
    )
    assert decoded == [1]
    assert [one.kind for one in result.report.findings] == ["near_duplicate"]


def test_a_fingerprint_is_kept_while_the_sound_is_the_same(library: Library, music: Path) -> None:
    scan(library, music)
    before = dict(library.fingerprints())
    assert set(before) == {sha256_file(path) for path in music.iterdir()}
    path = music / "one.flac"
    old = sha256_file(path)
    # As a change of tags does.
    library.database.update_hash(str(path), old, "0" * 64, size=1, mtime_ns=1)
    assert library.fingerprints()["0" * 64] == before[old]
    assert old not in library.fingerprints()
    library.database.move(str(path), "/elsewhere", size=1, mtime_ns=1)
    assert library.fingerprints()["0" * 64] == before[old]
    library.database.remove(["/elsewhere"])
    assert len(library.fingerprints()) == 2


def test_that_of_another_content_is_not_taken(library: Library, music: Path) -> None:
    scan(library, music)
    before = dict(library.fingerprints())
    # The one file becomes a copy of the other: its entry is copied, and its fingerprint is of the old sound.
    shutil.copy(music / "two.flac", music / "one.flac")
    os.utime(music / "one.flac", (1, 1))
    scan(library, music)
    after = library.fingerprints()
    assert after == {content: before[content] for content in after}
    assert len(after) == 2
