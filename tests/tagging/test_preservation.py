"""Writing genres keeps every byte of every other tag, whatever stands in the file; undoing keeps all bytes."""

from __future__ import annotations

from pathlib import Path

import av.error
import pytest

from genrescope.tagging import writer as tags
from helpers import crafted, raw_tags, tagged

GENRES = ["Rock", "Hip Hop", "Æthérisch (leise)"]
RECIPES = crafted.recipes()


@pytest.fixture
def song(request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path: Path) -> Path:
    form, change = RECIPES[request.param]
    path = tmp_path / f"song{forms[form].suffix}"
    path.write_bytes(change(forms[form].read_bytes()))
    return path


def decoded(path: Path) -> str:
    """Return a digest of the decoded samples; FFmpeg refuses some blocks that are allowed."""
    try:
        return tagged.sound(path)
    except av.error.InvalidDataError:
        return "refused"


@pytest.mark.parametrize("song", RECIPES, indirect=True)
def test_all_other_tags_stay_the_same_bytes(song: Path) -> None:
    content, sound = song.read_bytes(), decoded(song)
    others = raw_tags.entries(content)
    changes = []
    for genres in (GENRES, ["Jazz"], [], ["much longer than any padding" * 100]):
        before = song.read_bytes()
        changes.append((before, tags.write_genres(song, genres)))
        assert tags.read_genres(song) == tuple(genres)
        assert raw_tags.entries(song.read_bytes()) == others
        assert decoded(song) == sound
    for before, change in reversed(changes):
        assert tags.undo(change).status in ("restored", "unchanged")
        assert song.read_bytes() == before
    assert song.read_bytes() == content
