"""The beets plugin in a real beets: a library in a folder, the command line, an import."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mediafile import MediaFile

from beetsplug.genrescope import FIELD, MANY
from genrescope.tagging import writer as tags
from helpers import raw_tags

# Older versions of beets have one genre, a text.
AMBIENT = ("Ambient", "Drone") if MANY else ("Ambient; Drone",)


@dataclass
class Beets:
    """A beets of its own: configuration, database and music in one folder."""

    folder: Path
    model: Path

    def configure(self, **settings: Any) -> None:
        content = {
            "directory": str(self.folder / "music"),
            "library": str(self.folder / "library.db"),
            "plugins": "genrescope",
            "import": {"copy": False, "write": False, "autotag": False},
            "genrescope": {"model": str(self.model), "genre_threshold": 0.6, **settings},
        }
        (self.folder / "config.yaml").write_text(json.dumps(content))  # JSON is YAML

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "beets", *map(str, arguments)],
            env={**os.environ, "BEETSDIR": str(self.folder), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def lines(self, *arguments: str | Path) -> list[str]:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout.splitlines()

    def listed(self, *query: str) -> dict[str, str]:
        """Return each title's genres, best label and whether there is a score."""
        form = f"$title|${FIELD}|$genrescope_genre|$genrescope_score"
        rows = [line.split("|") for line in self.lines("ls", "-f", form, *query)]
        return {
            title: genres if label.startswith("$") else f"{genres}|{label}|{float(score) > 0.5}"
            for title, genres, label, score in rows
        }


@pytest.fixture
def beets(little_music: Path, little_model: Path, tmp_path: Path) -> Beets:
    """Return a beets without music, beside an album of two drones and a hiss, named in their tags."""
    album = tmp_path / "new" / "album"
    album.mkdir(parents=True)
    for title in ("drone 3", "drone 7", "hiss 1"):
        song = shutil.copy2(next(little_music.rglob(f"{title}.wav")), album)
        file = MediaFile(song)
        file.title, file.album, file.artist, file.albumartist = title, "Noises", "Somebody", "Somebody"
        file.save()
    return Beets(tmp_path, little_model)


def test_the_command_previews_then_writes_then_keeps(beets: Beets) -> None:
    beets.configure(auto=False)
    beets.lines("import", "-q", beets.folder / "new")
    assert set(beets.listed().values()) == {""}
    shown = beets.lines("genrescope", "--pretend", "title:drone")
    assert len(shown) == 2
    assert all(line.endswith("(none) -> Drone") for line in shown)
    assert set(beets.listed().values()) == {""}

    beets.lines("genrescope")
    everything = {
        "drone 3": "Drone|drone|True",
        "drone 7": "Drone|drone|True",
        "hiss 1": "Hiss|hiss|True",
    }
    assert beets.listed() == everything
    songs = sorted((beets.folder / "new").rglob("*.wav"))
    assert [tags.read_genres(song) for song in songs] == [(), (), ()]
    assert beets.lines("genrescope") == []

    assert beets.lines("modify", "-y", "title:hiss", f"{FIELD}=By Hand")
    beets.lines("genrescope")
    assert beets.listed("title:hiss") == {"hiss 1": "By Hand|hiss|True"}
    beets.lines("genrescope", "--force", "--write")
    assert beets.listed() == everything
    assert [tags.read_genres(song) for song in songs] == [("Drone",), ("Drone",), ("Hiss",)]


def test_an_import_classifies(beets: Beets) -> None:
    words = beets.folder / "words.toml"
    words.write_text('hierarchy = "levels"\n[words]\ndrone = "Ambient > Drone"\nhiss = "Noise"\n')
    beets.configure(vocabulary=str(words), separator="; ")
    empty = beets.folder / "new" / "silence.wav"
    shutil.copy2(next((beets.folder / "new").rglob("*.wav")), empty)
    with empty.open("r+b") as stream:
        stream.truncate(44)
    done = beets.run("import", "-q", beets.folder / "new")
    assert done.returncode == 0, done.stderr
    assert "silence.wav" in done.stderr
    songs = sorted((beets.folder / "new" / "album").glob("*.wav"))
    assert [tags.read_genres(song) for song in songs] == [(), (), ()]  # beets imported them as they are
    beets.lines("write")
    assert [tags.read_genres(song) for song in songs] == [AMBIENT, AMBIENT, ("Noise",)]
    album = beets.lines("ls", "-a", "-f", f"$album: ${FIELD}", "album:Noises")
    assert album == ["Noises: Ambient; Drone"]
    assert beets.lines("ls", "-f", "$title", "genrescope_score:0.5..", "genrescope_genre:hiss") == ["hiss 1"]


def test_bad_settings_are_one_clear_line(beets: Beets) -> None:
    beets.configure(model="no such model")
    done = beets.run("import", "-q", beets.folder / "new")
    assert done.returncode == 0
    assert "importing without" in done.stderr
    assert len(beets.listed()) == 3
    done = beets.run("genrescope")
    assert done.returncode == 1
    assert done.stderr.startswith("error: genrescope: ")
    words = beets.folder / "words.toml"
    words.write_text('[words]\ndron = "Drone"\n')
    beets.configure(vocabulary=str(words))
    done = beets.run("genrescope")
    assert done.returncode == 1
    assert "did you mean 'drone'?" in done.stderr


def test_writing_keeps_frames_that_share_a_key(beets: Beets) -> None:
    song = next((beets.folder / "new").rglob("hiss 1.wav"))
    lyrics = b"USLT" + (20).to_bytes(4) + b"\0\0\0eng\0text number one"
    frames = (
        lyrics + lyrics.replace(b"one", b"two") + b"COMM" + (10).to_bytes(4) + b"\0\0\3eng\0\xff\xfe\xfd\xfca"
    )
    # The plugin's writer keeps them; mediafile would save one of the two, and no such comment.
    size = len(frames)
    tag = b"ID3\3\0\0" + bytes(size >> 7 * place & 127 for place in (3, 2, 1, 0)) + frames
    with wave.open(str(song)) as sounds:
        parameters, samples = sounds.getparams(), sounds.readframes(sounds.getnframes())
    with wave.open(str(song), "wb") as sounds:
        sounds.setparams(parameters)
        sounds.writeframes(samples)
    content = song.read_bytes() + b"id3 " + len(tag).to_bytes(4, "little") + tag + bytes(len(tag) % 2)
    song.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    beets.configure(auto=False)
    beets.lines("import", "-q", "-A", beets.folder / "new")
    others = raw_tags.entries(song.read_bytes())
    beets.lines("genrescope", "--write")
    assert tags.read_genres(song) == ("Hiss",)
    assert raw_tags.entries(song.read_bytes()) == others
    assert b"text number one" in song.read_bytes()
    assert b"text number two" in song.read_bytes()
