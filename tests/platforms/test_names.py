"""Names of files: what Windows reserves, accents as macOS stores them, capitals, separators, addresses."""

from __future__ import annotations

import ntpath
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from genrescope import audio, datasets
from genrescope.audit import groups, library_audit
from genrescope.cli import config
from genrescope.distributed.storage import local_path
from genrescope.errors import ConfigError
from genrescope.library import Library, LibraryEntry, database, export, watcher
from genrescope.utils import file_names, file_url_path, safe_file_name, sha256_text, stored_paths
from helpers.small_data import RATE, drone

NFC, NFD = (unicodedata.normalize(form, "Björk") for form in ("NFC", "NFD"))
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"
}


def has_windows_name(name: str) -> bool:
    """Return whether Windows can have a file of this name, as Microsoft's documentation says."""
    legal = not re.search(r'[<>:"/\\|?*\x00-\x1f]', name) and name == name.rstrip(". ")
    return bool(name) and legal and name.partition(".")[0].rstrip().upper() not in DEVICES


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hip hop", "hip hop"), ("rock/pop", "rock-pop"), ("AC:DC?", "AC-DC-"), ("aux", "aux_"),
        ("Con.txt", "Con_.txt"), ("com1", "com1_"), ("nul .x", "nul_ .x"), ("console", "console"),
        ("falcon", "falcon"), ("my.con", "my.con"),
        ("R&B.", "R&B"), ("...", "untitled"), ("", "untitled"), (" ska ", "ska"), (NFD, NFC),
        ("a\nb\0c", "a-b-c"), ("\ud800", "-"),
    ],
)  # fmt: skip
def test_any_text_becomes_a_name_that_windows_can_have(text: str, name: str) -> None:
    assert safe_file_name(text) == name
    assert has_windows_name(name)


@given(st.text() | st.sampled_from(sorted(DEVICES)).map(lambda name: f"{name}. "))
def test_no_text_gives_a_name_that_a_system_refuses(text: str) -> None:
    name = safe_file_name(text)
    assert has_windows_name(name)
    assert len(f"{name}.m3u8".encode()) <= 255
    assert safe_file_name(name) == name


def entry(path: str, genre: str) -> LibraryEntry:
    columns = dict.fromkeys(export.COLUMNS) | {
        "path": path, "genre": genre, "score": 0.9, "unsure": False, "scores": {genre: 0.9}, "styles": {},
        "seconds": 1.0, "size": 1, "mtime_ns": 1, "flags": [], "excerpts": False, "scanned": 1.0,
        "missing": False, "not_music": False, "genre_set": [genre], "model": "ab", "model_name": "ab",
    }  # fmt: skip
    return LibraryEntry.from_columns(columns)


def test_playlists_have_names_of_their_own_on_every_system(tmp_path: Path) -> None:
    genres = ["aux", "Rock", "rock", "rock/pop", "rock:pop", "R&B."]
    entries = [entry(f"/m/{number}.mp3", genre) for number, genre in enumerate(genres)]
    written = export.write_playlists(entries, tmp_path).paths
    assert all(has_windows_name(path.name) for path in written)
    assert len({path.name.casefold() for path in written}) == len(genres)
    texts = "".join(path.read_text(encoding="utf8") for path in written)
    assert sorted(re.findall(r"(\d)\.mp3", texts)) == [str(number) for number in range(len(genres))]


def as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = SimpleNamespace(path=ntpath, sep="\\")
    monkeypatch.setattr(export, "os", simulated)


def test_relative_paths_of_playlists_have_the_separators_of_all_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_on_windows(monkeypatch)
    assert export._playlist_path("C:\\Music\\a\\b.mp3", "C:\\Music\\lists", {}) == "../a/b.mp3"
    assert export._playlist_path("C:\\Music\\#1.mp3", "C:\\Music", {}) == "./#1.mp3"
    # There is no relative path to another drive.
    assert export._playlist_path("D:\\b.mp3", "C:\\Music", {}) == "D:\\b.mp3"


def test_folders_of_a_prefix_are_known_by_other_capitals_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_windows(monkeypatch)
    path = export._playlist_path("C:\\Music\\a\\b.mp3", "C:\\", {"c:/music": "/srv/music"})
    assert path.replace("\\", "/") == "/srv/music/a/b.mp3"


@pytest.fixture
def folds_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let paths be looked up as on systems that find names with other capitals and accents."""
    monkeypatch.setattr(file_names, "FOLDS_NAMES", True)


def test_paths_are_spelled_as_folders_list_them(tmp_path: Path, folds_names: None) -> None:
    (tmp_path / "Music" / NFD).mkdir(parents=True)
    (tmp_path / "Music" / "b").touch()
    typed = [f"{tmp_path}/music/{NFC.upper()}", f"{tmp_path}/MUSIC/b", f"{tmp_path}/music/none/x", "/"]
    assert stored_paths(typed) == [
        f"{tmp_path}/Music/{NFD}",
        f"{tmp_path}/Music/b",
        f"{tmp_path}/Music/none/x",
        "/",
    ]


def test_a_name_that_is_there_comes_before_one_of_other_capitals(tmp_path: Path, folds_names: None) -> None:
    for name in ("a", "A"):
        (tmp_path / name).mkdir(exist_ok=True)
    assert stored_paths([f"{tmp_path}/A", f"{tmp_path}/a"]) == [f"{tmp_path}/A", f"{tmp_path}/a"]


def test_names_are_taken_as_they_are_where_capitals_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_names, "FOLDS_NAMES", False)
    (tmp_path / "Music").mkdir()
    assert stored_paths([f"{tmp_path}/music"]) == [f"{tmp_path}/music"]


def test_a_library_knows_a_folder_however_it_is_typed(
    tmp_path: Path, little_model: Path, folds_names: None
) -> None:
    folder = tmp_path / "Music" / NFD
    folder.mkdir(parents=True)
    soundfile.write(folder / "a.wav", drone(3.0, 1), RATE)
    typed = tmp_path / "music" / NFC
    with Library(tmp_path / "library.db") as library:
        from genrescope.library import ScanOptions

        options = ScanOptions(model=str(little_model), workers=1)
        (scanned,) = library.scan([typed], options)
        assert scanned.path == str(folder / "a.wav")
        (again,) = library.scan([tmp_path / "MUSIC"], options)
        assert again.status == "unchanged"
        assert [one.path for one in library.entries(folder=typed)] == [scanned.path]
        assert len(list(library.albums(folder=typed))) == 1
        (folder / "a.wav").unlink()
        assert library.prune(typed) == [scanned.path]
        # A watcher gets events with the names that folders list.
        watched = watcher.Watcher(library, [typed])
        assert watched._concerns(str(folder / "b.wav"), is_folder=False)


def listed(read: Callable[[Path], list[str]], path: Path, content: str) -> list[str]:
    path.write_text(content, encoding="utf8")
    return read(path)


def cue_files(path: Path) -> list[str]:
    return [str(section.path) for section in audio.read_cue_sheet(path)]


@pytest.mark.parametrize(("stored", "written"), [(NFC, NFD), (NFD, NFC)])
def test_lists_lead_to_names_with_accents_of_either_form(tmp_path: Path, stored: str, written: str) -> None:
    file = tmp_path / stored / f"{stored} 1.wav"
    file.parent.mkdir()
    soundfile.write(file, drone(3.0, 1), RATE)
    name = f"{written}\\{written} 1.wav"
    assert listed(audio.read_playlist, tmp_path / "a.m3u8", f"{name}\r\n") == [str(file)]
    sheet = f'FILE "{name}" WAVE\n TRACK 01 AUDIO\n  INDEX 01 00:00:00\n'
    assert listed(cue_files, tmp_path / "a.cue", sheet) == [str(file)]
    manifest = tmp_path / "tracks.csv"
    other = tmp_path / "b.wav"
    soundfile.write(other, drone(3.0, 2), RATE)
    rows = f"path,label\r\n{name},rock\r\nb.wav,pop\r\n"
    manifest.write_text(rows, encoding="utf-8-sig", newline="")
    assert {track.path for track in datasets.load_dataset(manifest).tracks} == {file, other}


def test_a_cue_sheet_finds_a_converted_file_with_accents_of_the_other_form(tmp_path: Path) -> None:
    (tmp_path / f"{NFD}.flac").touch()
    (tmp_path / "b.flac").touch()
    sheet = f'FILE "C:\\rips\\{NFC}.wav" WAVE\n TRACK 01 AUDIO\n  INDEX 01 00:00:00\n'
    assert listed(cue_files, tmp_path / "a.cue", sheet) == [str(tmp_path / f"{NFD}.flac")]


def test_a_folder_of_an_artist_is_one_group_with_accents_of_either_form(tmp_path: Path) -> None:
    for genre, artist in (("rock", NFC), ("pop", NFD)):
        for number in (1, 2):
            file = tmp_path / genre / artist / f"{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, drone(1.0, number + len(genre)), RATE)
    assert {track.group for track in datasets.load_dataset(tmp_path).tracks} == {NFC}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///C:/Music/a%20b.mp3", "C:\\Music\\a b.mp3"),
        ("file://localhost/D:/a.mp3", "D:\\a.mp3"),
        ("file://nas/music/caf%C3%A9.mp3", "\\\\nas\\music\\café.mp3"),
    ],
)
def test_addresses_of_files_on_windows(url: str, path: str) -> None:
    assert file_url_path(url, windows=True) == path


def test_addresses_of_files_elsewhere() -> None:
    assert file_url_path("file:///music/a%20b.mp3", windows=False) == "/music/a b.mp3"
    if os.name == "posix":
        assert local_path("file:///music/caf%E9.mp3") == os.fsdecode(b"/music/caf\xe9.mp3")


def test_drives_of_windows_are_no_addresses() -> None:
    assert not audio.is_url("C:/Music/a.mp3")
    assert not audio.is_url("C:\\Music\\a.mp3")
    assert audio.is_url("https:/radio.example/a.mp3")


def test_a_library_on_a_share_of_windows_has_an_address_that_sqlite_reads() -> None:
    # https://www.sqlite.org/uri.html: an authority other than localhost is an error.
    assert database.sqlite_uri(PureWindowsPath("C:/Users/a b/x.db")) == "file:///C:/Users/a%20b/x.db"
    assert database.sqlite_uri(PureWindowsPath("//nas/music/x.db")) == "file:////nas/music/x.db"


class _WindowsPath(PureWindowsPath):
    def absolute(self) -> _WindowsPath:
        return self


def test_tracks_and_manifests_of_an_audit_have_the_separators_of_all_systems() -> None:
    file = _WindowsPath("C:/Music/rock/a.wav")
    assert groups.relative_path(file, _WindowsPath("C:/Music")) == "rock/a.wav"  # type: ignore[arg-type]
    assert library_audit._name(file, "C:/Music") == "rock/a.wav"  # type: ignore[arg-type]


def test_half_a_character_in_a_name_of_windows_has_a_hash() -> None:
    # NTFS keeps any 16-bit units, also one that is half of a pair.
    assert len({sha256_text("a\ud800"), sha256_text("a\ud801"), sha256_text("a")}) == 3


def test_paths_of_windows_in_the_settings_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "genrescope.toml"
    monkeypatch.setenv(config.VARIABLE, str(file))
    file.write_text('[library]\ndb = "C:\\Music\\x.db"\n', encoding="utf8")
    with pytest.raises(ConfigError) as caught:
        config.load(None, None)  # type: ignore[arg-type]
    assert "single quotes" in caught.value.hint


def test_every_system_can_check_out_the_repository() -> None:
    root = Path(__file__).parents[2]
    folders = ("src", "tests", "docs", "examples", "scripts", "benchmarks", "deploy")
    names = [path.relative_to(root) for folder in folders for path in (root / folder).rglob("*")]
    assert len(names) > 500
    assert [name for name in names if not all(map(has_windows_name, name.parts))] == []
    assert len({name.as_posix().casefold() for name in names}) == len(names)
    assert (root / ".gitattributes").read_text(encoding="utf8").endswith("\n* -text\n")
