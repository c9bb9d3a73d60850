"""Data sets: one conformance suite over every reader, then tests of each reader."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from genrescope import datasets
from genrescope.audio import audio_files
from genrescope.datasets import Dataset, dataset_fingerprint, gtzan, load_dataset
from genrescope.errors import ConfigError, DataError
from helpers import published_sets

Build = Callable[[Path], Path]


def write(path: Path, content: str) -> Path:
    """Write a file that differs from all others unless its content is given twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def folders(root: Path) -> Path:
    for number, name in enumerate(["rock/b.wav", "rock/a b.MP3", "Chanson française/ü/1.flac", "jazz/x.ogg"]):
        write(root / name, f"sound {number}")
    return root


def plain_gtzan(root: Path) -> Path:
    for name in ("blues.00000", "blues.00099", "metal.00058", "rock.00016", "jazz.00053", "jazz.00054"):
        write(root / "genres" / name.split(".")[0] / f"{name}.au", name)
    return root


def kaggle_gtzan(root: Path) -> Path:
    for genre in ("blues", "pop"):
        write(root / "Data" / "genres_original" / genre / f"{genre}.00000.wav", genre)
        write(root / "Data" / "images_original" / genre / f"{genre}00000.png", genre)
    return root


def shared_gtzan(root: Path) -> Path:
    header = "track,genre,audio,logmel"
    rows = [
        f"{genre}.0000{n},{genre},,logmel/{genre}/{n}.png" for genre in ("pop", "disco") for n in range(3)
    ]
    write(root / "tracks.csv", "\n".join([header, *rows]))
    for row in rows:
        write(root / row.split(",")[3], row)
    return root


def pictures(root: Path) -> Path:
    write(root / "pop" / "1.png", "one")
    write(root / "rock" / "2.npy", "two")
    return root


def manifest(root: Path) -> Path:
    folders(root / "müsic files")
    rows = ["label,path,mood", " jazz ,müsic files/jazz/x.ogg,calm", "rock,müsic files/rock/a b.MP3,", ""]
    return write(root / "tracks.csv", "\ufeff" + "\r\n".join(rows))


def table(root: Path) -> Path:
    return write(root / "features.csv", "filename,tempo,label\nb.wav,90,rock\na.wav,120.5,jazz\n")


def three_seconds(root: Path) -> Path:
    """Build the widely used table of 3 s pieces, from which leaky results are made."""
    rows = [f"{track}.{n}.wav,{n},{track[:4]}" for track in ("rock.00001", "jazz.00000") for n in range(10)]
    return write(root / "features_3_sec.csv", "\n".join(["filename,tempo,label", *rows]))


def manifest_with_split(root: Path) -> Path:
    rows = [
        f"{n}.wav,{'rock' if n % 2 else 'jazz'},a{n // 2},{('Train', 'val', 'TEST')[n // 4]}"
        for n in range(12)
    ]
    for n in range(12):
        write(root / f"{n}.wav", f"sound {n}")
    return write(root / "parts.csv", "\n".join(["path,label,group,split", *rows]))


READERS: list[tuple[Build, str | None]] = [
    (folders, None),
    (plain_gtzan, None),
    (kaggle_gtzan, "audio"),
    (shared_gtzan, "spectrogram"),
    (pictures, "auto"),
    (manifest, None),
    (table, None),
    (three_seconds, "table"),
    (manifest_with_split, None),
    (published_sets.fma, None),
    (published_sets.jamendo, None),
    (published_sets.jamendo_arrays, None),
    (published_sets.ismir04, None),
    (published_sets.ballroom, None),
]
# Whose authors let no artist be in two parts; ISMIR04's did, and a manifest may.
ARTIST_CLEAN = ("split", "split-0", "split-1", "fault-filtered")


@pytest.fixture(params=READERS, ids=[build.__name__ for build, _ in READERS])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Dataset, Dataset]:
    """Return the results of reading twice."""
    build, kind = request.param
    path = build(tmp_path / "my músic")
    return load_dataset(path, kind=kind), load_dataset(path, kind=kind)


def test_every_reader_conforms(dataset: tuple[Dataset, Dataset]) -> None:
    first, again = dataset
    names = [track.id for track in first.tracks]
    assert names == sorted(set(names))
    assert first.classes == tuple(sorted({track.label for track in first.tracks}))
    assert len(first.classes) >= 2
    assert all(track.group and track.label and track.path.is_file() for track in first.tracks)
    assert all(set(labels) and track in names for track, labels in first.all_labels.items())
    assert all(issue.code and issue.path and issue.message for issue in first.issues)
    assert all(set(part) <= set(names) for part in first.official_splits.values())
    assert first == again
    assert pickle.loads(pickle.dumps(first)) == first
    assert dataset_fingerprint(first) == dataset_fingerprint(again)


def test_published_splits_are_disjoint_by_group(dataset: tuple[Dataset, Dataset]) -> None:
    found, _ = dataset
    for name, parts in found.official_splits.items():
        if name not in ARTIST_CLEAN or found.name == "ismir04":
            continue
        sides: dict[str, set[str]] = {}
        for track in found.tracks:
            sides.setdefault(track.group, set()).add(parts.get(track.id, ""))
        assert all(len(named - {""}) <= 1 for named in sides.values())


@pytest.mark.parametrize("build", [build for build, _ in READERS], ids=lambda build: build.__name__)
def test_a_missing_data_set_is_named_in_the_error(build: Build, tmp_path: Path) -> None:
    path = tmp_path / build.__name__
    with pytest.raises(DataError, match=build.__name__) as caught:
        load_dataset(path)
    assert caught.value.code == "dataset_not_found"


def test_labels_in_several_spellings_are_an_issue(tmp_path: Path) -> None:
    for name in ("Hip Hop/a.wav", "hip-hop/b.wav", "HipHop/c.wav", "rock/d.wav", "Rhythm & Blues/e.wav"):
        write(tmp_path / name, name)
    write(tmp_path / "R&B" / "f.wav", "f")
    found = load_dataset(tmp_path)
    assert [issue.message for issue in found.issues if issue.code == "label_spelling"] == [
        "'Hip Hop' and 'HipHop' and 'hip-hop' are kept as 3 genres; is it one?",
        "'R&B' and 'Rhythm & Blues' are kept as 2 genres; is it one?",
    ]
    assert len(found.classes) == 6


def test_folders_name_labels_and_groups(tmp_path: Path) -> None:
    found = load_dataset(folders(tmp_path))
    assert {track.id: (track.label, track.group) for track in found.tracks} == {
        "Chanson française/ü/1.flac": ("Chanson française", "ü"),
        "jazz/x.ogg": ("jazz", "jazz/x.ogg"),
        "rock/a b.MP3": ("rock", "rock/a b.MP3"),
        "rock/b.wav": ("rock", "rock/b.wav"),
    }


def test_an_artist_in_two_genres_is_one_group(tmp_path: Path) -> None:
    for genre in ("metal", "rock"):
        write(tmp_path / genre / "Queen" / "album" / f"{genre}.mp3", genre)
    assert {track.group for track in load_dataset(tmp_path).tracks} == {"Queen"}


def test_unusable_files_are_reported_as_issues(tmp_path: Path) -> None:
    folders(tmp_path)
    write(tmp_path / "rock" / "empty.wav", "")
    write(tmp_path / "rock" / "._b.wav", "what macOS leaves")
    write(tmp_path / "notes" / "read me.txt", "text")
    (tmp_path / "jazz" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = load_dataset(tmp_path)
    assert len(found.tracks) == 4
    assert {finding.code: finding.track for finding in found.issues} == {
        "file_empty": "rock/empty.wav",
        "file_missing": "jazz/gone.wav",
        "genre_empty": "",
    }


def test_byte_identical_files_share_a_group_and_so_do_their_groups(tmp_path: Path) -> None:
    for name, content in {
        "pop/Anna/1.wav": "same",
        "pop/Bert/2.wav": "same",
        "pop/Bert/3.wav": "duplicate",
        "rock/Carl/4.wav": "duplicate",
        "rock/Dora/5.wav": "solo",
    }.items():
        write(tmp_path / name, content)
    found = load_dataset(tmp_path)
    assert [track.group for track in found.tracks] == ["Anna", "Anna", "Anna", "Anna", "Dora"]
    assert [f.track for f in found.issues if f.code == "replica"] == ["pop/Bert/2.wav", "rock/Carl/4.wav"]


def test_plain_gtzan_gets_artists_and_leaves_the_broken_file_out(tmp_path: Path) -> None:
    found = load_dataset(plain_gtzan(tmp_path))
    groups = {track.id: track.group for track in found.tracks}
    assert found.name == "gtzan"
    assert "jazz.00054" not in groups
    assert ("known_corrupt", "jazz.00054") in {(f.code, f.track) for f in found.issues}
    assert groups["metal.00058"] == groups["rock.00016"] != groups["blues.00000"]
    assert found.official_splits["fault-filtered"]["jazz.00053"] == "train"
    assert load_dataset(tmp_path / "genres").tracks == found.tracks


def test_pieces_of_a_gtzan_track_stay_with_their_artist(tmp_path: Path) -> None:
    found = load_dataset(three_seconds(tmp_path))
    assert len(found.tracks) == 20
    assert {track.group for track in found.tracks} == {
        gtzan.load_index().groups[track] for track in ("rock.00001", "jazz.00000")
    }


def test_one_unknown_track_makes_it_another_data_set(tmp_path: Path) -> None:
    write(plain_gtzan(tmp_path) / "genres" / "rock" / "mine.au", "mine")
    found = load_dataset(tmp_path)
    assert found.name == "genres"
    assert "rock/rock.00016.au" in {track.group for track in found.tracks}


def test_audio_comes_before_spectrograms_unless_asked(tmp_path: Path) -> None:
    pictures(folders(tmp_path))
    assert {track.kind for track in load_dataset(tmp_path).tracks} == {"audio"}
    assert {track.kind for track in load_dataset(tmp_path, kind="spectrogram").tracks} == {"spectrogram"}


def test_manifest_gives_ids_and_groups(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", "a")
    write(tmp_path / "b.npy", "b")
    path = write(tmp_path / "m.csv", "path,label,group,id\na.wav,pop,Anna,one\nb.npy,rock,,\ngone.wav,pop,,")
    found = load_dataset(path)
    assert [(t.id, t.group, t.kind) for t in found.tracks] == [
        ("b.npy", "b.npy", "spectrogram"),
        ("one", "Anna", "audio"),
    ]
    assert [(f.code, f.track) for f in found.issues] == [("file_missing", "gone.wav")]


def test_labels_in_two_unicode_spellings_are_one(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write(tmp_path / name, name)
    path = write(tmp_path / "m.csv", "path,label\na.wav,caf\u00e9\nb.wav,cafe\u0301\nc.wav,bar")
    assert load_dataset(path).classes == ("bar", "caf\u00e9")


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("", "dataset_invalid", "line 1: no column path and no column label"),
        ("path;label\na.wav;pop", "dataset_invalid", "found path;label"),
        ("path,label", "dataset_empty", "no rows"),
        ("path,label\na.wav,pop\nb.wav", "dataset_invalid", "line 3: 1 fields under 2 columns"),
        ("path,label\na.wav,pop\n\nb.wav, ", "dataset_invalid", "line 4: label is empty"),
        ("path,label\na.wav,pop\na.wav,rock", "dataset_invalid", "line 3: 'a.wav' is already on line 2"),
        ("path,label,label\na.wav,pop,x", "dataset_invalid", "twice"),
        ('path,label\n"a.wav,pop', "dataset_invalid", "line 2"),
        ("path,label\ngone.wav,pop\nlost.wav,rock", "dataset_empty", "no such file"),
        ("path,label\na.wav,pop", "dataset_too_small", "all 1 tracks are 'pop'"),
        ("path,label,split\na.wav,pop,tset", "dataset_invalid", "line 2: split is 'tset'"),
        ("path,label,fold\na.wav,pop,first", "dataset_invalid", "line 2: fold is 'first'"),
    ],
)
def test_bad_manifests_are_refused(tmp_path: Path, content: str, code: str, said: str) -> None:
    write(tmp_path / "a.wav", "a")
    with pytest.raises(DataError) as caught:
        load_dataset(write(tmp_path / "m.csv", content))
    assert caught.value.code == code
    assert said in caught.value.message
    assert str(tmp_path / "m.csv") in caught.value.message


def test_invalid_paths_are_refused(tmp_path: Path) -> None:
    codes = {}
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.csv").write_bytes("path,label\ncaf\u00e9.wav,pop".encode("latin-1"))
    write(tmp_path / "one" / "pop" / "a.wav", "a")
    write(tmp_path / "flat" / "a.wav", "a")
    for name in ("gone", "empty", "latin.csv", "one", "flat"):
        with pytest.raises(DataError) as caught:
            load_dataset(tmp_path / name)
        assert name in caught.value.message
        codes[name] = caught.value.code
    assert codes == {
        "gone": "dataset_not_found",
        "empty": "dataset_empty",
        "latin.csv": "dataset_invalid",
        "one": "dataset_too_small",
        "flat": "dataset_empty",
    }


def test_two_files_of_one_gtzan_track_are_refused(tmp_path: Path) -> None:
    write(plain_gtzan(tmp_path) / "genres" / "rock" / "rock.00016.wav", "again")
    with pytest.raises(DataError, match=r"two tracks are named 'rock\.00016'"):
        load_dataset(tmp_path)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_an_issue(tmp_path: Path) -> None:
    folders(tmp_path)
    closed = tmp_path / "rock" / "closed"
    closed.mkdir(mode=0)
    assert [f.code for f in load_dataset(tmp_path).issues] == ["file_unreadable"]
    closed.chmod(0o700)


def test_an_unknown_kind_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset(folders(tmp_path), kind="spectogram")
    assert caught.value.code == "invalid_argument"
    assert "'spectrogram'" in caught.value.hint


def sides(found: Dataset) -> Counter[str]:
    return Counter(found.official_splits["fault-filtered"].values())


@pytest.mark.parametrize(
    ("kind", "tracks", "published", "replicas"),
    [
        ("audio", 388, (173, 87, 95), 12),
        ("spectrogram", 999, (442, 197, 290), 28),
        ("table", 1000, (443, 197, 290), 28),
    ],
)
def test_shared_gtzan(gtzan: Path, kind: str, tracks: int, published: tuple[int, ...], replicas: int) -> None:
    found = load_dataset(gtzan, kind=kind)
    assert len(found.tracks) == tracks
    assert tuple(sides(found)[part] for part in ("train", "validation", "test")) == published
    codes = Counter(finding.code for finding in found.issues)
    assert codes["replica"] == replicas
    assert codes["known_corrupt"] == (kind == "spectrogram")
    assert codes["not_here"] == (kind == "audio")
    assert len(found.classes) == 10
    assert datasets.load_gtzan(gtzan, found.tracks[0].kind) == found


def test_shared_gtzan_files_are_known_by_name(gtzan: Path) -> None:
    found = load_dataset(gtzan / "logmel")
    assert found.name == "gtzan"
    assert found.tracks == load_dataset(gtzan, kind="spectrogram").tracks


def test_linked_folders_are_followed_each_once(tmp_path: Path) -> None:
    """The rule of `audio.discover`, by which a scan finds the same files."""
    folders(tmp_path / "set")
    write(tmp_path / "elsewhere" / "Miles" / "1.wav", "one")
    write(tmp_path / "elsewhere" / "Miles" / "album" / "2.wav", "two")
    (tmp_path / "set" / "jazz" / "Miles").symlink_to(tmp_path / "elsewhere" / "Miles")
    (tmp_path / "set" / "rock" / "again").symlink_to(tmp_path / "elsewhere" / "Miles")
    (tmp_path / "set" / "rock" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "rock" / "jazz").symlink_to(tmp_path / "set" / "jazz")
    (tmp_path / "set" / "Chanson française" / "z").symlink_to(tmp_path / "set" / "rock")
    found = load_dataset(tmp_path / "set")
    linked = {track.id: (track.label, track.group) for track in found.tracks if "Miles" in track.id}
    assert linked == {
        "jazz/Miles/1.wav": ("jazz", "Miles"),
        "jazz/Miles/album/2.wav": ("jazz", "Miles"),
    }
    scanned = [str(path.resolve()) for path in audio_files([tmp_path / "set"])]
    assert sorted(scanned) == sorted(str(track.path.resolve()) for track in found.tracks)
