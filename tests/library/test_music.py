"""Speech, noise and effects in a library: listed as such, and in no playlist, tag or genre."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrescope.errors import ConfigError
from genrescope.library import Library, LibraryEntry, TagOptions, count_by, write_playlists
from genrescope.tagging import Vocabulary, read_genres


def entry(path: Path, genre: str, *, music: float | None = 0.99, **facts: object) -> LibraryEntry:
    not_music = music is not None and music < 0.7
    fields: dict[str, object] = {
        "path": str(path), "size": 1, "mtime_ns": 2, "model": "m", "model_name": "m", "genre": genre,
        "score": 0.9, "scores": {genre: 0.9, "pop": 0.1}, "styles": {"soul": 0.5}, "music": music,
        "not_music": not_music, "is_uncertain": not_music, "answer": None if not_music else genre,
        "genre_set": () if not_music else (genre,), "seconds": 3.0, "format": "flac",
    } | facts  # fmt: skip
    return LibraryEntry(**fields)  # type: ignore[arg-type]


@pytest.fixture
def library(tmp_path: Path, forms: dict[str, Path]) -> Iterator[Library]:
    """Yield a library of a song, a speech that resembles hip hop, and a file of an older model."""
    with Library(tmp_path / "library.db") as library:
        for name, genre, music in (
            ("song", "rnb_soul", 0.99),
            ("speech", "hiphop", 0.1),
            ("old", "disco", None),
        ):
            file = shutil.copy(forms["flac"], tmp_path / f"{name}.flac")
            stat = Path(file).stat()
            library.database.upsert(
                entry(Path(file), genre, music=music, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
            )
        yield library


def names(library: Library, **wanted: object) -> list[str]:
    return [Path(one.path).stem for one in library.entries(**wanted)]  # type: ignore[arg-type]


def test_the_filter(library: Library) -> None:
    assert names(library) == ["old", "song", "speech"]
    assert names(library, not_music=True) == ["speech"]
    assert names(library, not_music=False) == ["old", "song"]


def test_the_highest_score_of_speech_is_no_genre(library: Library) -> None:
    assert names(library, genre="hiphop") == []
    counts = count_by(library.entries())
    assert counts["genre"] == {"rnb_soul": 1, "disco": 1}
    assert counts["result"]["not music"] == 1
    written = write_playlists(library.entries(), Path(library.database.path).parent / "lists", by="genre")
    assert [path.name for path in written.paths] == ["disco.m3u8", "rnb_soul.m3u8"]


def test_genres_are_found_however_they_are_spelled(library: Library) -> None:
    for spelling in ("R&B", "rnb_soul", "Soul & R&B", "rnb"):
        assert names(library, genre=spelling) == ["song"], spelling
    # The genres of older models are found beside those that took their place.
    assert names(library, genre=["Disco"]) == ["old"]
    assert names(library, style="Soul") == ["old", "song", "speech"]


def test_a_style_asked_for_as_a_genre_is_an_error(library: Library) -> None:
    with pytest.raises(ConfigError, match="no genre but a style of metal") as caught:
        library.entries(genre="Heavy Metal")
    assert "--style 'heavy metal'" in caught.value.hint
    # The same word may be a genre of an older model.
    assert names(library, genre="disco") == ["old"]


def test_speech_gets_no_tag(library: Library) -> None:
    before = {Path(one.path).stem: read_genres(one.path) for one in library.entries()}
    options = TagOptions("discogs", uncertain="all", style_threshold=0.3)
    for result in library.apply_tags(options, overwrite=True):
        assert Path(result.path).stem != "speech"
    after = {Path(one.path).stem: read_genres(one.path) for one in library.entries()}
    assert after["speech"] == before["speech"]
    assert after["old"] != before["old"]
    assert "Soul" in after["song"]


def test_a_vocabulary_has_no_words_for_speech() -> None:
    assert Vocabulary().genres_for(entry(Path("a"), "hiphop", music=0.1), uncertain="all") == []
