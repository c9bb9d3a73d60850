"""A library's genres in the files' tags: preview, change, undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from genrescope.cli import app
from genrescope.errors import DataError
from genrescope.library import Library, ScanOptions, TagOptions
from genrescope.tagging import writer as tags
from helpers.small_data import RATE, drone, hiss
from helpers.sounds import MP3, encode, write


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return three songs, one of which has a genre."""
    folder = tmp_path / "music"
    folder.mkdir()
    write(folder / "a.flac", drone(2.0, 1)[:, None], RATE, kind="FLAC", coding="PCM_16")
    encode(folder / "b.m4a", hiss(2.0, 1)[:, None], RATE, codec="aac", container="ipod")
    MP3(folder / "c.mp3", drone(2.0, 2)[:, None], RATE)
    tags.write_genres(folder / "c.mp3", ["Own Choice"])
    return folder


@pytest.fixture
def plan(little_model: Path) -> ScanOptions:
    return ScanOptions(model=str(little_model), workers=1)


@pytest.fixture
def library(tmp_path: Path, music: Path, plan: ScanOptions) -> Iterator[Library]:
    with Library(tmp_path / "library.db") as library:
        assert [one.status for one in library.scan([music], plan)] == ["classified"] * 3
        yield library


def contents(music: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in music.iterdir()}


def test_tagging_and_undo(library: Library, music: Path, plan: ScanOptions) -> None:
    before = contents(music)
    dry = list(library.plan_tags())
    assert {Path(one.path).name: one.plan and one.plan.after for one in dry} == {
        "a.flac": ("Drone",), "b.m4a": ("Hiss",),
    }  # fmt: skip
    assert contents(music) == before
    assert len(list(library.apply_tags())) == 2
    assert tags.read_genres(music / "a.flac") == ("Drone",)
    assert tags.read_genres(music / "c.mp3") == ("Own Choice",)
    assert list(library.apply_tags()) == []
    assert {one.status for one in library.scan([music], plan)} == {"unchanged"}
    assert [one.done and one.done.status for one in library.undo_tags()] == ["restored", "restored"]
    assert contents(music) == before
    assert {one.status for one in library.scan([music], plan)} == {"unchanged"}
    assert list(library.undo_tags()) == []


def test_several_changes_are_undone_latest_first(library: Library, music: Path, tmp_path: Path) -> None:
    before = contents(music)
    words = tmp_path / "words.toml"
    words.write_text('[words]\ndrone = "Ambient > Drone"\nhiss = "Noise"\n')
    list(library.apply_tags())
    list(library.apply_tags(TagOptions(vocabulary=words), overwrite=True))
    assert tags.read_genres(music / "b.m4a") == ("Noise",)
    assert tags.read_genres(music / "c.mp3") == ("Drone",)
    assert len(list(library.undo_tags())) == 4
    assert contents(music) == before


def test_a_moved_file_is_undone_at_its_new_path(library: Library, music: Path, plan: ScanOptions) -> None:
    before = contents(music)
    list(library.apply_tags())
    (music / "a.flac").rename(music / "z.flac")
    assert {one.status for one in library.scan([music], plan)} == {"unchanged", "moved"}
    assert [one.done and one.done.status for one in library.undo_tags()] == ["restored", "restored"]
    assert (music / "z.flac").read_bytes() == before["a.flac"]


def test_undo_restores_values_of_an_edited_file(library: Library, music: Path) -> None:
    list(library.apply_tags())
    import mutagen.flac

    edited = mutagen.flac.FLAC(music / "a.flac")
    edited["title"] = "a title"
    edited.save()
    done = {Path(one.path).name: one.done and one.done.status for one in library.undo_tags()}
    assert done == {"a.flac": "reverted", "b.m4a": "restored"}
    assert tags.read_genres(music / "a.flac") == ()
    assert mutagen.flac.FLAC(music / "a.flac")["title"] == ["a title"]


def test_a_failed_undo_keeps_earlier_changes(
    library: Library, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(music)
    list(library.apply_tags())
    list(library.apply_tags(TagOptions(genre_threshold=0.0), overwrite=True))

    def refuse(*_: object, **__: object) -> None:
        raise DataError("dataset_not_found", "not now", "later")

    with monkeypatch.context() as patch:
        patch.setattr("genrescope.library.tagging.tagging.undo", refuse)
        assert len([one for one in library.undo_tags() if one.error]) == 3  # one for each file
    assert all(one.error is None for one in library.undo_tags())
    assert contents(music) == before


def test_a_missing_file_is_an_error_and_the_others_are_undone(library: Library, music: Path) -> None:
    (music / "a.flac").unlink()
    ends = {Path(one.path).name: one.error and one.error.code for one in library.apply_tags()}
    assert ends == {"a.flac": "audio_missing", "b.m4a": None}


@pytest.mark.parametrize("name", ["write_genres", "preview"])
def test_a_file_that_vanishes_in_between_is_an_error_and_the_rest_goes_on(
    library: Library, music: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = getattr(tags, name)

    def vanishing(path: str, *args: Any, **options: Any) -> Any:
        done = real(path, *args, **options)
        if path.endswith("a.flac"):
            Path(path).unlink()
        return done

    monkeypatch.setattr(f"genrescope.library.tagging.tagging.{name}", vanishing)
    ends = {Path(one.path).name: one.error and one.error.code for one in library.apply_tags()}
    assert ends == {"a.flac": "audio_missing" if name == "preview" else None, "b.m4a": None}
    ends = {Path(one.path).name: one.error and one.error.code for one in library.undo_tags()}
    assert ends == ({"b.m4a": None} if name == "preview" else {"a.flac": "audio_missing", "b.m4a": None})


def test_a_copy_that_a_kill_left_is_removed_by_the_next_command_that_writes(
    library: Library, music: Path
) -> None:
    elsewhere = music.parent / "elsewhere"
    elsewhere.mkdir()
    (music / "a.flac").rename(elsewhere / "a.flac")
    (music / "a.flac").symlink_to(elsewhere / "a.flac")
    copies = [folder / ".genrescope-0123456789ab.part" for folder in (music, elsewhere)]
    for command in (library.apply_tags, library.undo_tags):
        for copy in copies:
            copy.touch()
        list(library.plan_tags())
        list(command(folder=music.parent / "other"))
        assert all(copy.exists() for copy in copies)
        list(command(folder=music))
        assert {path.name for path in music.iterdir()} == {"a.flac", "b.m4a", "c.mp3"}
        assert [path.name for path in elsewhere.iterdir()] == ["a.flac"]


def test_a_kill_between_journal_and_file_is_harmless(
    library: Library, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(music)

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        list(library.apply_tags())
    monkeypatch.undo()
    assert contents(music) == before
    assert [one.done and one.done.status for one in library.undo_tags()] == ["unchanged"]
    assert contents(music) == before


def test_every_file_is_accounted_for(library: Library, music: Path, plan: ScanOptions) -> None:
    (music / "broken.mp3").write_bytes(b"")
    list(library.scan([music], plan))
    (music / "a.flac").unlink()

    def statuses(options: TagOptions | None = None, **arguments: Any) -> dict[str, str]:
        found = [
            (Path(one.path).name, one.status) for one in library.plan_tags(options, every=True, **arguments)
        ]
        assert sorted(name for name, _ in found) == ["a.flac", "b.m4a", "broken.mp3", "c.mp3"]
        return dict(found)

    expected = {"a.flac": "failed", "b.m4a": "changed", "broken.mp3": "not classified", "c.mp3": "kept"}
    assert statuses() == expected
    assert statuses(overwrite=True) == expected | {"c.mp3": "changed"}
    assert statuses(TagOptions(genre_threshold=1.0))["b.m4a"] in ("no genre", "changed")
    by_album = statuses(TagOptions(by="album"))
    assert by_album["broken.mp3"] == "not classified"
    assert set(by_album.values()) <= {"failed", "changed", "kept", "no album", "not classified"}
    tags.write_genres(music / "b.m4a", ["Hiss"])
    assert statuses()["b.m4a"] == "same"


def test_uncertain_files_and_other_sounds_are_accounted_for(library: Library) -> None:
    import sqlite3

    with sqlite3.connect(library.database.path) as link:
        link.execute("UPDATE files SET unsure = 1 WHERE path LIKE '%a.flac'")
        link.execute("UPDATE files SET unsure = 1, not_music = 1 WHERE path LIKE '%b.m4a'")
    link.close()
    found = {Path(one.path).name: one.status for one in library.plan_tags(every=True)}
    assert found == {"a.flac": "unsure", "b.m4a": "not music", "c.mp3": "kept"}
    assert list(library.plan_tags()) == []


def test_placeholders_are_replaced(library: Library, music: Path) -> None:
    for genres, changes in ((["other"], True), (["Unknown", "Other"], True), (["Other", "Jazz"], False)):
        tags.write_genres(music / "c.mp3", genres)
        found = {Path(one.path).name for one in library.plan_tags(placeholders=["Other", "unknown"])}
        assert ("c.mp3" in found) == changes


def test_the_commands(library: Library, music: Path) -> None:
    before = contents(music)
    place = ["--db", str(library.database.path)]
    runner = CliRunner()
    dry = runner.invoke(app, ["library", "tag", *place])
    assert dry.exit_code == 0
    assert "no genre -> Drone" in dry.stdout
    assert "2 files would change; --write does it" in dry.stderr
    numbers = [int(line.split()[0]) for line in dry.stderr.splitlines() if line.startswith("  ")]
    assert numbers == [3, 2, 1]
    assert "1 keep the genre that they have" in dry.stderr
    named = runner.invoke(app, ["library", "tag", "--placeholder", "own choice", *place])
    assert "3 files would change" in named.stderr
    assert contents(music) == before
    done = runner.invoke(app, ["library", "tag", "--write", "--genre", "hiss", *place])
    assert "1 files changed" in done.stderr
    assert tags.read_genres(music / "b.m4a") == ("Hiss",)
    back = runner.invoke(app, ["library", "untag", *place])
    assert "(restored)" in back.stdout
    assert contents(music) == before
