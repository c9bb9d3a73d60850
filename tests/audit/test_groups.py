"""Groups from data sets, tags, folders and copies, and how sure they are."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from genrescope.audit import AuditTrack, FileFacts, TrackPair, propose_groups
from genrescope.audit.groups import artist_name, normalized

ROOT = Path("/music")


def track(
    path: str, artist: str = "", *, label: str = "", group: str = "", album_artist: str = ""
) -> AuditTrack:
    facts = FileFacts(artist=artist, album_artist=album_artist)
    return AuditTrack(path, ROOT / path, label, group or path, facts=facts)


def groups(tracks: list[AuditTrack], pairs: tuple[TrackPair, ...] = ()) -> dict[str, tuple[str, str]]:
    report = propose_groups(tracks, pairs, ROOT)
    return {one.track: (one.group, one.source) for one in report.assignments}


def test_tags_agree_whatever_their_spelling() -> None:
    found = groups([track("a.mp3", "The Beatles"), track("b.mp3", "BEATLES feat. Billy Preston")])
    assert found["a.mp3"] == found["b.mp3"] == ("beatles", "artist tag")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Björk", "Bjork"), ("AC/DC", "ac dc"), ("The Who", "Who"), ("Beyoncé", "BEYONCE\u0301")],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert normalized(one) == normalized(other)


def test_names_without_letters_and_of_other_scripts_stay_apart() -> None:
    assert len({normalized(name) for name in ("!!!", "???", "東京", "Кино", "The The")}) == 5


def test_various_artists_is_no_artist() -> None:
    assert artist_name(FileFacts(album_artist="Various Artists")) == ""
    assert artist_name(FileFacts(artist="Bob", album_artist="Various Artists")) == "bob"


def test_folders_stand_for_artists_and_tags_for_the_rest_of_a_folder() -> None:
    tracks = [
        *(track(f"X/{n}.mp3") for n in range(3)),
        track("Y/1.mp3", "Someone"),
        track("Y/2.mp3"),
        track("lonely.mp3"),
        *(track(f"{name}/1.mp3") for name in "ABC"),
    ]
    found = groups(tracks)
    assert found["X/0.mp3"] == ("folder X", "folder")
    assert found["Y/2.mp3"] == ("someone", "tags in folder")
    assert found["lonely.mp3"][1] == found["A/1.mp3"][1] == "none"


def test_the_folder_of_a_genre_or_of_most_tracks_is_no_artist() -> None:
    tracks = [track(f"rock/{n}.mp3", label="rock") for n in range(4)]
    assert {source for _, source in groups(tracks).values()} == {"none"}
    assert {source for _, source in groups([track(f"all/{n}.mp3") for n in range(4)]).values()} == {"none"}


def test_what_the_data_set_says_comes_first() -> None:
    assert groups([track("a.mp3", "Tag", group="artist 7")])["a.mp3"] == ("artist 7", "data set")


def test_copies_join_groups_with_all_their_tracks() -> None:
    tracks = [
        track("1.mp3", "A"),
        track("2.mp3", "A"),
        track("3.mp3", "B"),
        track("4.mp3"),
        track("5.mp3", "C"),
    ]
    pairs = (
        TrackPair("1.mp3", "3.mp3"),
        TrackPair("3.mp3", "4.mp3"),
        TrackPair("1.mp3", "5.mp3", score=0.2),
        TrackPair("1.mp3", "absent"),
    )
    found = groups(tracks, pairs)
    assert {found[name][0] for name in ("1.mp3", "2.mp3", "3.mp3", "4.mp3")} == {"a"}
    assert found["5.mp3"][0] == "c"
    assert found["4.mp3"][1] == "copy of 3.mp3"


def test_the_manifest_and_the_summary(tmp_path: Path) -> None:
    tracks = [
        AuditTrack("a", tmp_path / "x" / "a.wav", "rock", "a", facts=FileFacts(artist="A")),
        AuditTrack("b", Path("/elsewhere/b.wav"), "pop", "b"),
    ]
    report = propose_groups(tracks, (), tmp_path)
    report.write_csv(tmp_path / "groups.csv")
    with (tmp_path / "groups.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [str(Path("x", "a.wav")), str(Path("/elsewhere/b.wav"))]
    assert [row["confidence"] for row in rows] == ["0.95", "0.20"]
    assert report.groups == 2
    assert "1 by artist tag, 1 by none" in report.summary()
