"""A library that version 0.1 wrote is opened, migrated, and its changes of tags are undone."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from genrescope import Library, tagging
from genrescope.audit import AuditOptions, audit_library

DATA = Path(__file__).parent / "data"


@pytest.fixture
def old_library(tmp_path: Path) -> Path:
    """Return a database as genrescope 0.1 wrote it, beside the file that it had tagged."""
    shutil.copy(DATA / "tagged.wav", tmp_path)
    script = (DATA / "library-0.1.sql").read_text(encoding="utf8").replace("/tmp/library-0.1", str(tmp_path))
    with sqlite3.connect(tmp_path / "library.db") as link:
        link.executescript(script)
    link.close()
    return tmp_path / "library.db"


def test_entries_are_read_and_tags_undone(old_library: Path, tmp_path: Path) -> None:
    with Library(old_library) as library:
        failed, classified = library.entries()
        assert (failed.error, failed.genre, failed.missing) == ("audio_empty", None, False)
        assert (classified.genre, classified.score, classified.missing) == ("classical", 0.720655, False)
        # What version 0.1 did not ask its model.
        assert (classified.music, classified.not_music, classified.genre_set) == (None, False, ())
        assert tagging.read_genres(tmp_path / "tagged.wav") == ("Classical",)
        ((_, _, change),) = library.database.changes()
        assert change is not None
        assert [one.done and one.done.status for one in library.undo_tags()] == ["restored"]
        content = (tmp_path / "tagged.wav").read_bytes()
        assert hashlib.sha256(content).hexdigest() == change.patch.old
        assert list(library.undo_tags()) == []
    with sqlite3.connect(old_library) as link:
        assert link.execute("PRAGMA user_version").fetchone() == (6,)
    link.close()
    with Library(old_library) as library:
        assert len(list(library.entries())) == 2


def test_a_read_only_one_is_read_and_left_as_it_is(
    old_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old_library.read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with Library(old_library) as library:
        assert len(list(library.entries())) == 2
    assert old_library.read_bytes() == before


def test_a_library_of_version_0_1_is_audited_and_left_as_it_is(old_library: Path, tmp_path: Path) -> None:
    before = old_library.read_bytes()
    with Library(old_library, read_only=True) as library:
        report = audit_library(library.entries(), old_library, AuditOptions(workers=1)).report
    assert report.tracks == 2
    assert {path for finding in report.findings for path in finding.paths} <= {
        str(tmp_path / name) for name in ("tagged.wav", "broken.mp3")
    }
    assert old_library.read_bytes() == before
