"""Published data sets: labels, groups and official splits of small copies of their exact layouts."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from genrescope import datasets, training
from genrescope.datasets import Dataset, load_dataset, split_dataset
from genrescope.errors import ConfigError, DataError, MissingDependencyError
from helpers import published_sets
from helpers.small_data import LITTLE

PARTS = ("train", "validation", "test")


def codes(found: Dataset) -> list[str]:
    return [issue.code for issue in found.issues]


def given(found: Dataset, **options: float) -> dict[str, set[str]]:
    """Return the ids of the tracks in each part of the data set's own split."""
    split = split_dataset(
        found.tracks, "given", seed=0, official_splits=found.official_splits, **{"fold": 0, **options}
    )
    return {part: {found.tracks[unit].id for unit in getattr(split, part)} for part in PARTS}


# FMA


def test_fma_has_top_genres_all_genres_artists_and_the_official_split(tmp_path: Path) -> None:
    found = load_dataset(published_sets.fma(tmp_path))
    assert (found.name, found.classes, len(found.tracks)) == ("fma_small", ("Hip-Hop", "Rock"), 14)
    assert found.tracks[0].id == "000002"
    assert found.tracks[0].path == tmp_path / "fma_small" / "000" / "000002.mp3"
    assert found.tracks[0].group == found.tracks[1].group == "fma-artist-0"
    assert found.all_labels["001002"] == ("Rock", "Punk")
    assert {part: len(ids) for part, ids in given(found).items()} == {"train": 8, "validation": 2, "test": 4}
    assert found.issues == ()
    assert load_dataset(tmp_path / "fma_small") == found


def test_fma_counts_absent_files_and_tracks_without_a_top_genre(tmp_path: Path) -> None:
    root = published_sets.fma(tmp_path)
    (root / "fma_small").rename(root / "fma_medium")
    found = load_dataset(root)
    assert len(found.tracks) == 14
    assert codes(found) == ["genres_none", "file_missing"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("genre_top", "genre_best", "no column track.genre_top"),
        ('"[12, 25]"', '"[12, x]"', "genres are '[12, x]'"),
        (",training,small", ",learning,small", "the set is 'small', 'learning'"),
        ('"[12, 25]"', "[99]", "no genre 99"),
    ],
)
def test_damaged_fma_metadata_are_refused_with_the_path(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    table = published_sets.fma(tmp_path) / "fma_metadata" / "tracks.csv"
    content = table.read_text(encoding="utf-8")
    assert old in content
    table.write_text(content.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "dataset_invalid"
    assert said in caught.value.message
    assert str(tmp_path / "fma_metadata") in caught.value.message


def test_a_model_is_trained_on_the_official_split_of_fma(tmp_path: Path) -> None:
    found = load_dataset(published_sets.fma(tmp_path / "fma"))
    settings = [*LITTLE, "split.protocol=given", "split.folds=5"]
    run = training.train(found, training.load_config("logistic-regression", settings), tmp_path / "run")
    assert (run.evaluation.protocol, run.evaluation.leaky) == ("given", False)
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.n == 4


# MTG-Jamendo


@pytest.mark.parametrize("build", [published_sets.jamendo, published_sets.jamendo_arrays])
def test_jamendo_has_tracks_of_one_genre_artists_and_all_splits(
    tmp_path: Path, build: Callable[[Path], Path]
) -> None:
    found = load_dataset(build(tmp_path))
    assert found.classes == ("ambient", "rock")
    assert len(found.tracks) == 10
    assert found.tracks[0].id == "track_0000214"
    assert found.tracks[0].group == "artist_000000"
    assert found.tracks[0].path.name == ("214.npy" if found.tracks[0].kind == "spectrogram" else "214.mp3")
    assert codes(found) == ["genres_several"]
    assert "2 of 12 tracks" in found.issues[0].message
    first, second = given(found), given(found, fold=1, validation_fraction=0)
    assert {part: len(ids) for part, ids in first.items()} == {"train": 4, "validation": 4, "test": 2}
    assert {part: len(ids) for part, ids in second.items()} == {"train": 6, "validation": 0, "test": 4}


def test_jamendo_has_no_sixth_split(tmp_path: Path) -> None:
    found = load_dataset(published_sets.jamendo(tmp_path))
    with pytest.raises(ConfigError, match="the splits 0, 1"):
        given(found, fold=5)


def test_a_list_of_jamendo_is_read_by_its_path(tmp_path: Path) -> None:
    root = published_sets.jamendo(tmp_path)
    (root / "audio").rename(root / "data" / "audio")
    assert load_dataset(root / "data" / "autotagging_genre.tsv").tracks == load_dataset(root / "data").tracks


def test_jamendo_audio_of_low_bit_rate_is_found(tmp_path: Path) -> None:
    root = published_sets.jamendo(tmp_path)
    for file in (root / "audio").rglob("*.mp3"):
        file.rename(file.with_suffix(".low.mp3"))
    (root / "audio").rename(root / "audio-low")
    assert load_dataset(root).tracks[0].path == root / "audio-low" / "14" / "214.low.mp3"


def test_a_genre_that_a_split_cannot_train_is_left_out(tmp_path: Path) -> None:
    root = published_sets.jamendo(tmp_path)
    source = root / "data" / "autotagging_genre.tsv"
    content = source.read_text().replace("124.6\tgenre---ambient\n", "124.6\tgenre---polka\n", 1)
    source.write_text(content)
    found = load_dataset(root)
    assert found.classes == ("ambient", "rock")
    assert [issue.message for issue in found.issues if issue.code == "genre_rare"] == [
        "left out: 1 tracks of polka, which a part of a split lacks"
    ]


@pytest.mark.parametrize("row", ["track_1\tartist_1", "track_1\tartist_1\ta\t../1.mp3\t9\tgenre---rock"])
def test_damaged_jamendo_lists_are_refused_with_the_line(tmp_path: Path, row: str) -> None:
    source = published_sets.jamendo(tmp_path) / "data" / "autotagging_genre.tsv"
    source.write_text(source.read_text() + row + "\n")
    with pytest.raises(DataError) as caught:
        load_dataset(tmp_path)
    assert f"{source}, line 14" in caught.value.message


# ISMIR04


def test_ismir04_has_classes_artists_and_the_contest_split(tmp_path: Path) -> None:
    found = load_dataset(published_sets.ismir04(tmp_path))
    assert (found.name, found.classes, len(found.tracks)) == ("ismir04", ("classical", "jazz_blues"), 18)
    groups = {track.id: track.group for track in found.tracks}
    assert groups["development/artist_11_album_1_track_1.mp3"] == "development/artist_11"
    training_id = "training/classical/artist_cl1/dances_and_suites/1-l'air_(suite).mp3"
    assert groups[training_id] == groups[training_id.replace("training", "evaluation")] == "artist_cl1"
    assert {part: len(ids) for part, ids in given(found).items()} == {"train": 6, "validation": 6, "test": 6}
    assert codes(found) == ["artists_anonymous"]


def test_the_contest_split_is_leaky_by_its_shared_artists(tmp_path: Path) -> None:
    found = load_dataset(published_sets.ismir04(tmp_path))
    split = split_dataset(found.tracks, "given", seed=0, official_splits=found.official_splits)
    assert split.leaky
    assert split.description.startswith("leaky")


def test_without_the_evaluation_part_development_is_the_test_part(tmp_path: Path) -> None:
    root = published_sets.ismir04(tmp_path)
    (root / "audio" / "evaluation").rename(root / "elsewhere")
    found = load_dataset(root)
    parts = given(found, validation_fraction=0)
    assert {part: len(ids) for part, ids in parts.items()} == {"train": 6, "validation": 0, "test": 6}


def test_a_damaged_track_list_is_refused_with_the_line(tmp_path: Path) -> None:
    source = published_sets.ismir04(tmp_path) / "metadata" / "evaluation" / "tracklist.csv"
    source.write_text(source.read_text() + "classical,artist\n")
    with pytest.raises(DataError, match="line 7: not class, artist"):
        load_dataset(tmp_path)


# Ballroom and mirdata


def test_ballroom_has_dances_and_albums_and_keeps_copies_together(tmp_path: Path) -> None:
    found = load_dataset(published_sets.ballroom(tmp_path))
    assert found.classes == ("ChaChaCha", "Rumba", "Waltz")
    groups = {track.id: track.group for track in found.tracks}
    assert groups["Albums-AnaBelen_Veneo-13"] == groups["Albums-AnaBelen_Veneo-03"] == "AnaBelen_Veneo"
    assert groups["Media-103402"] == groups["Media-103415"] != groups["Media-105901"]
    assert groups["Albums-Secret_Garden-01"] == groups["Media-104705"]
    assert codes(found) == ["replica"] * 3
    assert load_dataset(tmp_path / "BallroomData") == found
    with pytest.raises(DataError, match="no split of its own"):
        given(found)


def test_mirdata_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(MissingDependencyError, match="mirdata") as caught:
        load_dataset(tmp_path, layout="mirdata:ballroom")
    assert "genrescope[mirdata]" in caught.value.hint


class FakeLoader:
    """What is used of ``mirdata.core.Dataset``: ids, tracks, and an index that is downloaded first."""

    def __init__(self, name: str, data_home: str, *, indexed: bool = True) -> None:
        self.home, self.indexed, self.name = Path(data_home), indexed, name

    @property
    def track_ids(self) -> list[str]:
        if not self.indexed:
            raise FileNotFoundError("This dataset's index must be downloaded. Did you run .download()?")
        names = [name for folder in published_sets.BALLROOM.values() for name in folder]
        return [*names, "Albums-Fire-01"]

    def track(self, name: str) -> types.SimpleNamespace:
        folders = [folder for folder, names in published_sets.BALLROOM.items() if name in names]
        folder = folders[0] if folders else "Jive"
        path = self.home / "BallroomData" / folder / f"{name}.wav"
        genre = None if self.name == "mridangam_stroke" else folder.lower()
        return types.SimpleNamespace(track_id=name, audio_path=str(path), genre=genre)


def install(monkeypatch: pytest.MonkeyPatch, *, indexed: bool = True) -> None:
    module = types.ModuleType("mirdata")
    module.list_datasets = lambda: ["ballroom", "gtzan_genre", "mridangam_stroke"]  # type: ignore[attr-defined]
    module.initialize = lambda name, data_home: FakeLoader(  # type: ignore[attr-defined]
        name, data_home, indexed=indexed
    )
    monkeypatch.setitem(sys.modules, "mirdata", module)


def test_mirdata_index_says_which_files_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = published_sets.ballroom(tmp_path)
    install(monkeypatch)
    found = load_dataset(root, layout="mirdata:ballroom")
    assert found.tracks == load_dataset(root).tracks
    assert [issue.track for issue in found.issues if issue.code == "file_missing"] == ["Albums-Fire-01"]
    other = load_dataset(root, layout="mirdata:gtzan_genre")
    assert other.classes == ("chachacha", "rumba-american", "rumba-international", "waltz")


def test_mirdata_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    with pytest.raises(ConfigError, match="no data set 'balroom'") as caught:
        load_dataset(tmp_path, layout="mirdata:balroom")
    assert "'ballroom'" in caught.value.hint
    with pytest.raises(ConfigError, match="no single genre"):
        load_dataset(tmp_path, layout="mirdata:mridangam_stroke")
    install(monkeypatch, indexed=False)
    with pytest.raises(DataError, match="index of ballroom") as missing:
        load_dataset(tmp_path, layout="mirdata:ballroom")
    assert "partial_download" in missing.value.hint


# By name


def test_a_layout_is_chosen_by_name(tmp_path: Path) -> None:
    root = published_sets.ballroom(tmp_path) / "BallroomData"
    assert load_dataset(root, layout="folders").classes == tuple(sorted(published_sets.BALLROOM))
    with pytest.raises(ConfigError) as caught:
        load_dataset(root, layout="ismir4")
    assert "'ismir04'" in caught.value.hint
    for layout in ("fma", "mtg-jamendo", "ismir04"):
        with pytest.raises(DataError) as refused:
            load_dataset(root, layout=layout)
        assert str(root) in refused.value.message


def test_a_kind_that_the_data_set_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="audio can be read, not table"):
        load_dataset(published_sets.fma(tmp_path), kind="table")


def test_the_public_names_cover_the_layouts() -> None:
    assert {"auto", *datasets.LAYOUT_READERS} >= {"fma", "mtg-jamendo", "ismir04", "ballroom", "gtzan"}
