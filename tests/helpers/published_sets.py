"""Small copies of published data sets, with the names and columns of the originals and a second of audio."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from helpers import sounds
from helpers.small_data import RATE, drone, hiss

_FMA_COLUMNS = {
    "album": "comments date_created date_released engineer favorites id information listens producer tags "
    "title tracks type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created favorites id "
    "latitude location longitude members name related_projects tags website wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top genres "
    "genres_all information interest language_code license listens lyricist number publisher tags title",
}
_FMA_NAMES = [(first, second) for first, names in _FMA_COLUMNS.items() for second in names.split()]
FMA_PARTS = ("training", "training", "training", "training", "validation", "test", "test")


def play(path: Path, genre: int, seed: int) -> Path:
    """Write 1.5 s of a chord or of noise, by genre."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (drone, hiss)[genre % 2](1.5, seed)[:, None]
    if path.suffix == ".mp3":
        sounds.MP3(path, samples, RATE)
    else:
        sounds.write(path, samples, RATE, kind="WAV", coding="PCM_16")
    return path


def write_fma_tracks(path: Path, rows: Iterable[dict[tuple[str, str], str]]) -> None:
    """Write ``tracks.csv`` as pandas wrote the published one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", *(first for first, _ in _FMA_NAMES)])
        writer.writerow(["", *(second for _, second in _FMA_NAMES)])
        writer.writerow(["track_id", *("" for _ in _FMA_NAMES)])
        for row in rows:
            writer.writerow([row["index", ""], *(row.get(name, "") for name in _FMA_NAMES)])


def fma(root: Path) -> Path:
    """Build FMA: ``fma_small`` of two genres, and tracks of ``medium`` whose audio is not there."""
    rows = []
    for genre, (title, numbers) in enumerate((("Hip-Hop", "[21]"), ("Rock", "[12, 25]"))):
        for place, part in enumerate(FMA_PARTS):
            number = 2 + 1000 * genre + 3 * place
            play(root / "fma_small" / f"{number:06d}"[:3] / f"{number:06d}.mp3", genre, number)
            row = {("index", ""): str(number), ("set", "split"): part, ("set", "subset"): "small"}
            # Two tracks an artist, never in two parts.
            row |= {
                ("artist", "id"): str(10 * genre + {"training": place // 2, "validation": 7}.get(part, 9))
            }
            row |= {("track", "genre_top"): title, ("track", "genres_all"): numbers}
            # A biography longer than the csv module takes by itself, with lines of its own.
            row |= {("artist", "bio"): '<p>Born, "raised"\n</p>' * (8000 if number == 2 else 1)}
            rows.append(row)
    for number, genre in ((135000, ""), (135001, "Rock")):
        row = {("index", ""): str(number), ("set", "split"): "training", ("set", "subset"): "medium"}
        rows.append(
            row | {("artist", "id"): "77", ("track", "genre_top"): genre, ("track", "genres_all"): "[12]"}
        )
    write_fma_tracks(root / "fma_metadata" / "tracks.csv", rows)
    (root / "fma_metadata" / "genres.csv").write_text(
        "genre_id,#tracks,parent,title,top_level\n12,9,0,Rock,12\n21,9,0,Hip-Hop,21\n25,3,12,Punk,12\n"
    )
    return root


def write_jamendo_list(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a list of tracks of MTG-Jamendo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
    path.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)), encoding="utf-8")


def jamendo(root: Path, *, arrays: bool = False) -> Path:
    """Build MTG-Jamendo: the repository, with two splits, and ``audio`` or ``melspecs`` in it."""
    rows = []
    for genre, tag in enumerate(("ambient", "rock")):
        for place in range(6):
            number = 214 + 100 * genre + place
            tags = [f"genre---{tag}", *(["genre---pop"] if place == 5 else [])]
            path = f"{number % 100:02d}/{number}.mp3"
            artist = f"artist_{genre * 10 + place // 2:06d}"
            row = [f"track_{number:07d}", artist, f"album_{number:06d}", path, "124.6", *tags]
            rows.append(row)
            if arrays:
                file = root / "melspecs" / path.replace(".mp3", ".npy")
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, np.random.default_rng(number).normal(-40, 9, (96, 90)).astype(np.float32))
            else:
                play(root / "audio" / path, genre, number)
    write_jamendo_list(root / "data" / "autotagging_genre.tsv", rows)
    _write_jamendo_splits(root, rows)
    return root


def _write_jamendo_splits(root: Path, rows: list[list[str]]) -> None:
    # The artists of a genre, in the order of their tracks, are given to the parts.
    for split, order in enumerate((("train", "validation", "test"), ("test", "train", "train"))):
        for part in ("train", "validation", "test"):
            chosen = [row for row in rows if order[int(row[1][-1])] == part]
            write_jamendo_list(
                root / "data" / "splits" / f"split-{split}" / f"autotagging_genre-{part}.tsv", chosen
            )


def jamendo_arrays(root: Path) -> Path:
    """Build MTG-Jamendo with mel arrays in place of audio."""
    return jamendo(root, arrays=True)


def ismir04(root: Path) -> Path:
    """Build ISMIR04: training with a line of names, the other parts without; development is anonymous."""
    header = '"class","artist","album","track","track number","file_path"'
    for part in ("training", "development", "evaluation"):
        lines = [header] if part == "training" else []
        for genre, name in enumerate(("classical", "jazz_blues")):
            for number in range(1, 4):
                artist, album = f"artist_{name[:2]}{number}", "dances_and_suites"
                file = f"{name.split('_')[0]}/{artist}/{album}/{number}-l'air_(suite).mp3"
                if part == "development":
                    artist, album = f"artist_{number + 10 * genre}", "album_1"
                    file = f"{artist}_album_1_track_1.mp3"
                play(root / "audio" / part / file, genre, len(part) + 10 * number)
                row = [name, artist, album, "air_suite", str(number), file]
                row += ["57578"] if part == "evaluation" else []
                lines.append(",".join(f'"{value}"' for value in row))
        source = root / "metadata" / part / "tracklist.csv"
        source.parent.mkdir(parents=True)
        source.write_text("\n".join(lines) + "\n")
    return root


BALLROOM = {
    "ChaChaCha": ("Albums-Latin_Jam2-05", "Albums-Latin_Jam2-13", "Media-103402", "Media-103415"),
    "Rumba-American": ("Albums-AnaBelen_Veneo-13",),
    "Rumba-International": ("Albums-AnaBelen_Veneo-03",),
    "Waltz": ("Albums-Secret_Garden-01", "Media-104705", "Media-105901"),
}


def ballroom(root: Path) -> Path:
    """Build the Ballroom data set as its archive is unpacked."""
    data = root / "BallroomData"
    names = [f"{folder}/{name}.wav" for folder, names in BALLROOM.items() for name in names]
    for seed, name in enumerate(names):
        play(data / name, seed, seed)
    (data / "allBallroomFiles").write_text("".join(f"./{name}\n" for name in names))
    (data / "nada").mkdir()
    return root
