"""Tracks with several genres: cells of a manifest, several annotators, genres that were not judged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from genrescope.datasets import (
    Annotation,
    Dataset,
    dataset_fingerprint,
    label_matrix,
    load_dataset,
    split_dataset,
)
from genrescope.errors import ConfigError, DataError
from helpers import published_sets


def manifest(folder: Path, *lines: str, header: str = "path,label", task: str = "single-label") -> Dataset:
    for line in lines:
        (folder / line.split(",")[0]).write_bytes(line.split(",")[0].encode())
    (folder / "tracks.csv").write_text("\n".join([header, *lines]))
    return load_dataset(folder / "tracks.csv", task=task)


def genres(dataset: Dataset) -> dict[str, dict[str, float]]:
    return {track: dict(one.genres) for track, one in dataset.annotations.items()}


def test_several_genres_need_a_declared_task(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: several genres, 'blues;rock'") as failure:
        manifest(tmp_path, "a.wav,blues;rock", "b.wav,pop")
    assert failure.value.code == "dataset_invalid"
    assert "data.task=multi-label" in failure.value.hint
    found = manifest(tmp_path, "a.wav,blues; rock", "b.wav,pop", "c.wav,jazz:0.5;pop", task="multi-label")
    assert (found.task, found.classes) == ("multi-label", ("blues", "jazz", "pop", "rock"))
    assert genres(found) == {"a.wav": {"blues": 1.0, "rock": 1.0}, "c.wav": {"jazz": 0.5, "pop": 1.0}}
    assert [track.label for track in found.tracks] == ["blues", "pop", "pop"]
    matrix = label_matrix(found.tracks, found.annotations, found.classes)
    assert matrix.values.tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [0, 0.5, 1, 0]]
    assert matrix.judged.all()


def test_a_plain_manifest_is_the_same_for_both_tasks_but_for_its_fingerprint(tmp_path: Path) -> None:
    lines = ("a.wav,blues", "b.wav,pop", "c.wav,decade:1990")
    single, multiple = manifest(tmp_path, *lines), manifest(tmp_path, *lines, task="multi-label")
    assert single.tracks == multiple.tracks
    assert single.classes == multiple.classes == ("blues", "decade:1990", "pop")
    assert not single.annotations
    assert not multiple.annotations
    assert dataset_fingerprint(single) != dataset_fingerprint(multiple)


def test_shares_of_annotators_are_a_distribution(tmp_path: Path) -> None:
    found = manifest(tmp_path, "a.wav,blues:0.4;rock:0.6", "b.wav,pop", "c.wav,blues:0.333;pop:0.333;x:0.333")
    assert genres(found)["a.wav"] == {"blues": 0.4, "rock": 0.6}
    assert found.tracks[0].label == "rock"
    matrix = label_matrix(found.tracks, found.annotations, found.classes)
    assert matrix.values.sum(axis=1) == pytest.approx(np.ones(3))


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("blues:0.5;rock:0.6", "do not sum to 1"),
        ("blues:0.5;rock", "do not sum to 1"),
        ("blues:0.5", "do not sum to 1"),
        ("blues:1.5;rock:0.5", "the share of 'blues' is 1.5"),
        ("blues:0.5;blues:0.5", "named twice"),
        (";", "no genre"),
    ],
)
def test_cells_that_are_no_distribution_are_refused(cell: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=why):
        manifest(tmp_path, f"a.wav,{cell}", "b.wav,pop")


def test_rows_of_annotators_are_averaged(tmp_path: Path) -> None:
    lines = ("a.wav,blues,ann", "a.wav,rock,bob", "a.wav,rock,cy", "b.wav,pop,ann", "b.wav,pop,bob")
    found = manifest(tmp_path, *lines, header="path,label,annotator")
    assert found.annotations["a.wav"].genres == pytest.approx({"blues": 1 / 3, "rock": 2 / 3})
    assert [(track.id, track.label) for track in found.tracks] == [("a.wav", "rock"), ("b.wav", "pop")]
    with pytest.raises(DataError, match=r"'a.wav' by ann is already on line 2"):
        manifest(tmp_path, *lines, "a.wav,rock,ann", header="path,label,annotator")
    header = "path,label,annotator,group"
    with pytest.raises(DataError, match="differ in path or group"):
        manifest(tmp_path, "a.wav,blues,ann,x", "a.wav,rock,bob,y", "b.wav,pop,ann,z", header=header)


def test_what_was_not_judged_is_unknown(tmp_path: Path) -> None:
    lines = ("a.wav,blues,pop;rok", "b.wav,pop,*", "c.wav,rock,", "d.wav,rock;pop,")
    found = manifest(tmp_path, *lines, header="path,label,not_judged", task="multi-label")
    matrix = label_matrix(found.tracks, found.annotations, found.classes)
    assert found.classes == ("blues", "pop", "rock")
    assert matrix.judged.tolist() == [[True, False, True], [False, True, False], [True] * 3, [True] * 3]
    assert [issue.code for issue in found.issues] == ["not_judged_unknown"]
    assert "rok" in found.issues[0].message
    with pytest.raises(DataError, match="not judged, in a single-label task"):
        manifest(tmp_path, *lines[:3], header="path,label,not_judged")
    with pytest.raises(DataError, match="is a label and not judged"):
        manifest(tmp_path, "a.wav,blues,blues", header="path,label,not_judged", task="multi-label")


def test_annotators_who_did_not_judge_a_genre_do_not_count(tmp_path: Path) -> None:
    lines = ("a.wav,blues,rock,ann", "a.wav,rock,,bob", "a.wav,blues;pop,*,cy", "b.wav,pop,jazz,ann")
    header = "path,label,not_judged,annotator"
    found = manifest(tmp_path, *lines, header=header, task="multi-label")
    # Ann did not judge rock, Cy neither; only Bob says that it is no blues.
    assert found.annotations["a.wav"].genres == pytest.approx({"blues": 2 / 3, "rock": 1, "pop": 1 / 3})
    assert found.annotations["a.wav"].not_judged == frozenset()
    assert found.annotations["b.wav"] == Annotation({"pop": 1.0}, frozenset({"jazz"}))


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown task 'multilabel'") as failure:
        load_dataset(tmp_path, task="multilabel")
    assert "multi-label" in failure.value.hint


def test_a_table_of_features_has_several_genres_too(tmp_path: Path) -> None:
    path = tmp_path / "features.csv"
    path.write_text("filename,label,tempo\na.wav,blues;rock,90\nb.wav,pop,120\n")
    with pytest.raises(DataError, match="line 2: several genres"):
        load_dataset(path)
    assert load_dataset(path, task="multi-label").classes == ("blues", "pop", "rock")


def test_fma_has_all_genres_of_its_tracks(tmp_path: Path) -> None:
    root = published_sets.fma(tmp_path)
    single, multiple = load_dataset(root), load_dataset(root, task="multi-label")
    assert set(multiple.classes) > set(single.classes)
    assert set(genres(multiple)["001002"]) == {"Rock", "Punk"}
    assert multiple.official_splits["split"]["001002"] == single.official_splits["split"]["001002"]


def test_jamendo_keeps_tracks_with_several_genres(tmp_path: Path) -> None:
    root = published_sets.jamendo(tmp_path)
    # In the published splits, no track of pop is in a training part.
    split = load_dataset(root, task="multi-label")
    assert (split.classes, split.annotations) == (("ambient", "rock"), {})
    assert "genre_rare" in {issue.code for issue in split.issues}
    shutil.rmtree(root / "data" / "splits")
    single, multiple = load_dataset(root), load_dataset(root, task="multi-label")
    assert len(multiple.tracks) > len(single.tracks)
    assert "genres_several" in {issue.code for issue in single.issues}
    assert "genres_several" not in {issue.code for issue in multiple.issues}
    assert [set(named) for named in genres(multiple).values()] == [{"ambient", "pop"}, {"rock", "pop"}]


@pytest.mark.parametrize("protocol", ["track-random", "artist-grouped"])
def test_splits_spread_every_genre(protocol: str, tmp_path: Path) -> None:
    cells = ("blues;rock", "rock", "pop;rock", "blues", "pop")
    lines = [f"{number:02}.wav,{cells[number % 5]},artist{number // 2}" for number in range(60)]
    found = manifest(tmp_path, *lines, header="path,label,group", task="multi-label")
    matrix = label_matrix(found.tracks, found.annotations, found.classes)
    options = {"seed": 0, "labels": matrix.positive, "classes": found.classes}
    split = split_dataset(found.tracks, protocol, **options)  # type: ignore[arg-type]
    shares = matrix.positive[split.test].sum(axis=0) / matrix.positive.sum(axis=0)
    assert shares == pytest.approx(np.full(3, 0.2), abs=0.06)
    assert sorted([*split.train, *split.validation, *split.test]) == list(range(60))


def test_a_genre_of_one_track_cannot_be_split(tmp_path: Path) -> None:
    found = manifest(tmp_path, "a.wav,blues;rock", "b.wav,blues", "c.wav,blues;pop", task="multi-label")
    matrix = label_matrix(found.tracks, found.annotations, found.classes)
    with pytest.raises(DataError, match="only 1 tracks are 'pop'"):
        split_dataset(found.tracks, "track-random", seed=0, labels=matrix.positive, classes=found.classes)
