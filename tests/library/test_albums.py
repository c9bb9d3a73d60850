"""Albums of a library: which tracks are of one, when they have a genre, and what is written into them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import mutagen
import pytest
from typer.testing import CliRunner

from genrescope.cli import app
from genrescope.library import AlbumResult, Library, LibraryEntry, ScanOptions, TagOptions, group_albums
from genrescope.reporting import library_page
from genrescope.tagging import AlbumTags, album_tags, read_album_tags, read_genres, write_genres
from helpers import tagged_files
from helpers.small_data import RATE, drone, hiss
from helpers.sounds import write

runner = CliRunner()


def entry(path: str | Path, genre: str | None = "rock", **facts: object) -> LibraryEntry:
    """Return a track; without a genre one that is uncertain between rock and pop."""
    fields: dict[str, object] = {
        "path": str(path), "size": 1, "mtime_ns": 2, "model": "m", "model_name": "m",
        "genre": genre or "rock", "score": 0.8,
        "scores": {genre or "rock": 0.8, "jazz" if genre == "pop" else "pop": 0.2},
        "is_uncertain": genre is None, "answer": genre, "genre_set": (genre,) if genre else ("rock", "pop"),
        "seconds": 100.0, "format": "flac",
    } | facts  # fmt: skip
    return LibraryEntry(**fields)  # type: ignore[arg-type]


def failed(path: str) -> LibraryEntry:
    return LibraryEntry(path=path, size=1, mtime_ns=2, model="m", model_name="m", error="audio_empty")


def speech(path: str) -> LibraryEntry:
    return entry(path, "hiphop", not_music=True, is_uncertain=True, answer=None, genre_set=(), music=0.1)


def album(*genres: str | None) -> AlbumResult:
    (found,) = group_albums([entry(f"/m/album/{place}.mp3", genre) for place, genre in enumerate(genres)])
    return found


def grouped(*entries: LibraryEntry) -> dict[str, list[str]]:
    """Return the names of the files of each album, by its title and artist."""
    return {
        f"{one.title} by {one.artist}": [Path(item.path).name for item in one.entries]
        for one in group_albums(entries)
    }


@pytest.mark.parametrize(
    ("genres", "verdict"),
    [
        (["rock"] * 4, "agree"),
        (["rock"] * 3 + ["pop"], "agree"),  # three in four
        (["rock"] * 5 + ["pop"] * 2, "disagree"),  # 71 %
        (["rock", "rock", None, None], "agree"),  # half of them
        (["rock", "rock", None, None, None], "uncertain"),  # 40 %
        (["rock", "pop"], "disagree"),
        (["rock"], "agree"),
        ([None, None], "uncertain"),
    ],
)
def test_when_an_album_has_a_genre(genres: list[str | None], verdict: str) -> None:
    found = album(*genres)
    assert found.verdict == verdict
    assert found.genre == ("rock" if verdict == "agree" else None)
    assert (found.score is None) == found.is_uncertain == (verdict != "agree")


def test_the_mean_score_has_to_lead_to_the_same_genre() -> None:
    tracks = [entry(f"/m/a/{place}.mp3", "rock") for place in range(3)]
    (short,) = group_albums([*tracks, entry("/m/a/3.mp3", "pop", seconds=100.0)])
    (long,) = group_albums([*tracks, entry("/m/a/3.mp3", "pop", seconds=1000.0)])
    assert (short.genre, short.agreement) == ("rock", 0.75)
    assert short.scores == {"rock": 0.6, "pop": 0.35, "jazz": 0.05}
    assert short.score == 0.6
    assert (long.genre, long.verdict, long.agreement) == (None, "disagree", 0.75)


def test_what_is_counted() -> None:
    (found,) = group_albums(
        [
            entry("/m/a/1.mp3", "rock", answer="grunge", styles={"grunge": 0.8}),
            entry("/m/a/2.mp3", "rock", answer="grunge", styles={"grunge": 0.6}),
            entry("/m/a/3.mp3", None),
            speech("/m/a/4.mp3"),
            failed("/m/a/5.mp3"),
        ]
    )
    assert (found.tracks, found.music, found.answered, found.uncertain) == (5, 3, 2, 1)
    assert (found.not_music, found.failed) == (1, 1)
    assert (found.genres, found.answers) == ({"rock": 2}, {"grunge": 2})
    assert found.styles == {"grunge": pytest.approx(1.4 / 3)}
    assert (found.genre, found.answer, found.agreement) == ("rock", "rock", 1.0)
    assert found.genre_set == ("rock",)
    assert json.loads(json.dumps(found.to_dict()))["tracks"] == 5


def test_the_style_that_all_tracks_have() -> None:
    (found,) = group_albums([entry("/m/a/1.mp3", "rock", answer="grunge", styles={"grunge": 0.8})])
    assert found.answer == "grunge"


def test_the_set_of_an_album_without_a_genre() -> None:
    assert album("rock", "pop").genre_set == ("pop", "rock")
    assert album("jazz", *["pop"] * 2, *["rock"] * 4).genre_set == ("rock", "pop")  # one in seven is too few
    assert album(None, None).genre_set == ("rock", "pop")


def test_albums_without_music() -> None:
    (talk,) = group_albums([speech("/m/a/1.mp3"), failed("/m/a/2.mp3")])
    (broken,) = group_albums([failed("/m/a/1.mp3")])
    assert (talk.verdict, talk.genre, talk.genre_set, talk.scores) == ("not music", None, (), {})
    assert (broken.verdict, broken.is_music, broken.agreement) == ("failed", False, 0.0)


def test_a_folder_without_tags_is_an_album_unless_it_holds_folders_or_many_artists() -> None:
    assert grouped(
        entry("/m/loose.mp3"), entry("/m/a/1.mp3"), entry("/m/a/2.mp3"), entry("/m/b/1.mp3", album="")
    ) == {"a by None": ["1.mp3", "2.mp3"], "b by None": ["1.mp3"]}
    singles = [entry(f"/m/{name}.mp3", album="", artist=name) for name in ("x", "y", "z")]
    assert grouped(*singles) == {}
    assert grouped(*singles, entry("/m/x2.mp3", album="", artist="X")) == {
        "m by Various Artists": ["x.mp3", "x2.mp3", "y.mp3", "z.mp3"]
    }


def test_discs_are_one_album() -> None:
    for one, two in (("A/CD1", "A/CD2"), ("A (Disc 1)", "A (Disc 2)"), ("A/disk 01 - Live", "A/disk_02")):
        for tag in (None, "A"):
            found = grouped(
                entry(f"/m/{one}/1.mp3", album=tag and f"{tag} [CD1]"), entry(f"/m/{two}/2.mp3", album=tag)
            )
            assert found == {"A by None": ["1.mp3", "2.mp3"]}, (one, tag)
    # What only begins like a disc is a folder like others; so are two albums in two folders.
    assert len(grouped(entry("/m/CDs/1.mp3"), entry("/m/Discovery/2.mp3"), entry("/m/LP1/3.mp3"))) == 3
    assert len(group_albums([entry("/m/x/1.mp3", album="Hits"), entry("/m/y/1.mp3", album="Hits")])) == 2


def test_albums_in_one_folder_are_told_apart_by_title_and_artist() -> None:
    tagged = [
        entry("/m/1.mp3", album="Greatest Hits", artist="Queen"),
        entry("/m/2.mp3", album="greatest  hits", artist="queen"),
        entry("/m/3.mp3", album="Greatest Hits", artist="ABBA"),
        entry("/m/4.mp3", album="News", artist="Queen"),
        entry("/m/5.mp3", album=""),
    ]
    assert grouped(*tagged) == {
        "Greatest Hits by Queen": ["1.mp3", "2.mp3"], "Greatest Hits by ABBA": ["3.mp3"],
        "News by Queen": ["4.mp3"],
    }  # fmt: skip
    assert grouped(
        entry("/m/1.mp3", album="Hits", album_artist="A"), entry("/m/2.mp3", album="Hits", album_artist="B")
    ) == {"Hits by A": ["1.mp3"], "Hits by B": ["2.mp3"]}


def test_a_compilation_is_one_album() -> None:
    tracks = [entry(f"/m/c/{name}.mp3", album="C", artist=name) for name in "abc"]
    assert grouped(*tracks) == {"C by Various Artists": ["a.mp3", "b.mp3", "c.mp3"]}
    named = entry("/m/c/d.mp3", album="C", album_artist="Sampler", artist="d")
    assert grouped(*tracks, named, failed("/m/c/e.mp3")) == {
        "C by Sampler": ["a.mp3", "b.mp3", "c.mp3", "d.mp3", "e.mp3"]
    }


@pytest.mark.parametrize("form", ["flac", "mp3-id3v2.4", "mp3-id3v2.3", "m4a", "ogg", "opus", "wav", "aiff"])
def test_tags_of_albums_are_read(forms: dict[str, Path], tmp_path: Path, form: str) -> None:
    path = Path(shutil.copy(forms[form], tmp_path))
    file = mutagen.File(path)  # type: ignore[attr-defined]
    if "TIT2" in file.tags:
        from mutagen import id3

        file.tags.add(id3.TALB(encoding=3, text=["Ålbum  One"]))
        file.tags.add(id3.TPE2(encoding=3, text=["Band"]))
        file.tags.add(id3.TPE1(encoding=3, text=["Singer", "Other"]))
    else:
        names = (
            ("\xa9alb", "aART", "\xa9ART") if path.suffix == ".m4a" else ("ALBUM", "AlbumArtist", "artist")
        )
        for name, values in zip(names, (["Ålbum  One"], ["Band"], ["Singer", "Other"]), strict=True):
            file[name] = values
    file.save()
    assert read_album_tags(path) == AlbumTags("Ålbum One", "Band", "Singer", tagged_files.TITLE)


def test_files_without_readable_tags_have_no_album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp3").write_bytes(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"TALB" * 9)
    (tmp_path / "b.xyz").write_bytes(b"text")
    for path in (tmp_path / "a.mp3", tmp_path / "b.xyz", tmp_path / "none.mp3"):
        assert read_album_tags(path) == AlbumTags()
    monkeypatch.setitem(__import__("sys").modules, "mutagen", None)
    assert read_album_tags(tmp_path / "a.mp3") is None
    assert album_tags.import_readers() is False


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return two albums, one of four drones and one of a drone and a hiss, and a loose track."""
    folder = tmp_path / "music"
    for name, play, number in (
        ("Drones/CD1/1", drone, 1), ("Drones/CD1/2", drone, 2), ("Drones/CD2/3", drone, 3),
        ("Drones/CD2/4", drone, 4), ("Mixed/1", drone, 5), ("Mixed/2", hiss, 6), ("loose", hiss, 7),
    ):  # fmt: skip
        path = folder / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, play(2.0, number)[:, None], RATE, kind="FLAC", coding="PCM_16")
    return folder


@pytest.fixture
def options(little_model: Path) -> ScanOptions:
    return ScanOptions(model=str(little_model), workers=1)


@pytest.fixture
def library(tmp_path: Path, music: Path, options: ScanOptions) -> Iterator[Library]:
    with Library(tmp_path / "library.db") as library:
        assert {one.status for one in library.scan([music], options)} == {"classified"}
        yield library


def titles(albums: Iterator[AlbumResult]) -> list[str]:
    return [one.title for one in albums]


def test_the_albums_of_a_library(library: Library, music: Path) -> None:
    drones, mixed = library.albums()
    assert (drones.title, drones.path, drones.genre, drones.tracks) == (
        "Drones", str(music / "Drones"), "drone", 4,
    )  # fmt: skip
    assert (mixed.title, mixed.verdict, mixed.genres) == ("Mixed", "disagree", {"drone": 1, "hiss": 1})
    assert titles(library.albums(genre="drone")) == ["Drones"]
    assert titles(library.albums(genre="hiss")) == []
    assert titles(library.albums(uncertain=True)) == ["Mixed"]
    assert titles(library.albums(uncertain=False)) == ["Drones"]
    assert titles(library.albums(folder=music / "Mixed")) == ["Mixed"]
    # The other disc counts too.
    (disc,) = library.albums(folder=music / "Drones" / "CD2")
    assert disc.tracks == 4


def test_tags_by_album(library: Library, music: Path) -> None:
    by_album = TagOptions(by="album")
    before = {path: path.read_bytes() for path in music.rglob("*.flac")}
    write_genres(music / "Drones/CD1/1.flac", ["Own Choice"])
    own = (music / "Drones/CD1/1.flac").read_bytes()
    planned = {Path(one.path).name: one.plan and one.plan.after for one in library.plan_tags(by_album)}
    assert planned == {f"{number}.flac": ("Drone",) for number in (2, 3, 4)}
    assert len(list(library.plan_tags(by_album, folder=music / "Drones" / "CD2"))) == 2
    assert list(library.plan_tags(by_album, genre="hiss")) == []
    assert len(list(library.apply_tags(by_album))) == 3
    assert [read_genres(music / f"{name}.flac") for name in ("Drones/CD2/3", "Mixed/1", "loose")] == [
        ("Drone",), (), (),
    ]  # fmt: skip
    assert {one.done and one.done.status for one in library.undo_tags()} == {"restored"}
    assert {path: path.read_bytes() for path in music.rglob("*.flac")} == before | {
        music / "Drones/CD1/1.flac": own
    }


def test_every_track_of_music_gets_the_genre_of_the_album(tmp_path: Path, forms: dict[str, Path]) -> None:
    with Library(tmp_path / "library.db") as library:
        for place, genre in enumerate(["rock", "rock", "rock", "pop", None, "speech"]):
            path = Path(shutil.copy(forms["flac"], tmp_path / f"{place}.flac"))
            facts = {"size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
            talk = {"not_music": True, "is_uncertain": True, "answer": None, "genre_set": ()}
            library.database.upsert(entry(path, genre, **facts, **(talk if genre == "speech" else {})))
        options = TagOptions(by="album", genre_threshold=0.1, uncertain="all")
        found = {
            Path(one.path).stem: one.plan and one.plan.after
            for one in library.plan_tags(options, overwrite=True)
        }
    assert found == {str(place): ("Rock", "Pop") for place in range(5)}


def test_a_scan_reads_tags_that_an_earlier_one_could_not(
    library: Library, music: Path, options: ScanOptions
) -> None:
    import sqlite3

    assert {one.album for one in library.entries()} == {""}
    path = music / "loose.flac"
    with sqlite3.connect(library.database.path) as link:
        link.execute("UPDATE files SET album = NULL, album_artist = NULL, artist = NULL")
    link.close()
    assert {one.status for one in library.scan([music], options)} == {"unchanged"}
    assert {one.album for one in library.entries()} == {""}
    file = mutagen.File(path)  # type: ignore[attr-defined]
    file["album"] = "Single"
    file.save()
    assert {one.status for one in library.scan([music], options)} == {"unchanged", "classified"}
    assert "Single" in titles(library.albums())


def test_the_commands(library: Library, music: Path, little_model: Path, tmp_path: Path) -> None:
    place = ["--db", str(library.database.path)]

    def ask(*words: str) -> tuple[str, str]:
        done = runner.invoke(app, ["library", *words, *place], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    _, log = ask("scan", str(music), "--model", str(little_model), "--workers", "1")
    assert "albums: 1 of 2 agree on a genre; 1 disagree\n" in log
    rows = [json.loads(line) for line in ask("albums")[0].splitlines()]
    assert [(row["album"], row["genre"], row["verdict"]) for row in rows] == [
        ("Drones", "drone", "agree"), ("Mixed", None, "disagree"),
    ]  # fmt: skip
    assert len(ask("albums", "--limit", "1")[0].splitlines()) == 1
    assert len(ask("albums", "--format", "csv", "--uncertain")[0].splitlines()) == 2
    lines = [line.split() for line in ask("albums", "--format", "table")[0].splitlines()]
    assert lines == [
        ["album", "artist", "tracks", "genre", "agreement", "others"],
        ["Drones", "4", "drone", "100%"],
        ["Mixed", "2", "disagree", "50%", "drone", "1,", "hiss", "1"],
    ]
    preview, log = ask("tag", "--by", "album")
    assert preview.count("no genre -> Drone") == 4
    assert log == (
        "1 albums disagree, 1 files are of no album; their tracks are left as they are\n"
        "      7 files in all\n"
        "      4 with genres to write\n"
        "      3 of no album with a genre (plain 'tag' takes the track's own)\n"
        "4 files would change; --write does it\n"
    )
    ask("report", "-o", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text(encoding="utf8")
    assert "Albums whose tracks disagree" in page
    assert "drone 1, hiss 1" in page


def test_a_report_without_albums_that_disagree() -> None:
    entries = [entry("/m/a/1.mp3"), entry("/m/a/2.mp3")]
    assert "Albums" not in library_page(entries, title="T", albums=group_albums(entries))


PLACES = ("", "a", "a (CD1)", "a (CD2)", "a b", "a/CD1", "a/CD2", "a/x", "b/c", "b/CD1", "é [Disc 2]")


@pytest.mark.parametrize("seed", range(20))
def test_albums_of_a_library_are_those_of_its_entries_in_the_same_order(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    entries = [
        entry(
            os.path.join(tmp_path, random.choice(PLACES), f"{random.choice('acz')}{number}.mp3"),  # noqa: PTH118
            random.choice(["rock", "pop"]),
            album=random.choice([None, None, "Hits", "hits (CD 2)", "Other"]),
            artist=random.choice([None, "A", "B"]),
        )
        for number in range(random.choice([3, 30]))
    ]
    with Library(tmp_path / "library.db") as library:
        for one in entries:
            library.database.upsert(one)
        stored = list(library.database.entries())
        found = list(library.albums())
    assert [album.to_dict() for album in found] == [album.to_dict() for album in group_albums(stored)]
    keys = [(os.fsencode(album.path), album.title) for album in found]
    assert keys == sorted(keys)
    assert sorted(one.path for album in found for one in album.entries) == sorted(
        one.path for album in group_albums(entries) for one in album.entries
    )


@pytest.mark.parametrize("seed", range(5))
def test_tags_by_album_account_for_each_file_once(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    with Library(tmp_path / "library.db") as library:
        for number in range(40):
            path = os.path.join(tmp_path, random.choice(PLACES), f"{number}.mp3")  # noqa: PTH118
            album = random.choice([None, "Hits"])
            library.database.upsert(entry(path, random.choice(["rock", "rock", "pop"]), album=album))
        stored = list(library.database.entries())
        for folder in (None, tmp_path / "a (CD1)"):
            inside = [one.path for one in stored if folder is None or folder in Path(one.path).parents]
            of_albums = {one.path for album in group_albums(stored) if album.genre for one in album.entries}
            found = list(library.plan_tags(TagOptions(by="album"), every=True, folder=folder))
            assert sorted(one.path for one in found) == sorted(inside)
            # The files do not exist: those that are to get a genre fail.
            assert {one.path for one in found if one.status == "failed"} == of_albums & set(inside)
            assert {one.status for one in found} <= {"failed", "no album"}


def test_entries_are_read_a_folder_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library(tmp_path / "library.db") as library:
        for number in range(5):
            for track in range(3):
                library.database.upsert(entry(str(tmp_path / f"{number}" / f"{track}.mp3"), "rock"))
        read: list[str] = []
        real = library.database.entries_of

        def counted(ids: Sequence[int]) -> Iterator[LibraryEntry]:
            for one in real(ids):
                read.append(one.path)
                yield one

        monkeypatch.setattr(library.database, "entries_of", counted)
        for number, album in enumerate(library.albums(), start=1):
            assert album.tracks == 3
            assert len(read) <= 3 * (number + 1)
    assert len(read) == 15
