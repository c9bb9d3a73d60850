"""The protocol ``given``: columns split and fold of a manifest, and what they leave open."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrescope import training
from genrescope.datasets import Dataset, dataset_fingerprint, load_dataset, split_dataset
from genrescope.datasets.official import part_of_split
from genrescope.datasets.splits import Split
from genrescope.errors import ConfigError, DataError
from helpers.published_sets import play
from helpers.small_data import LITTLE

PARTS = ("train", "validation", "test")


def listed(root: Path, columns: str, cells: list[str], *, groups: int = 12) -> Dataset:
    """Read a manifest of 24 tracks of two genres, whose further cells repeat those given."""
    root.mkdir(exist_ok=True)
    rows = [f"path,label,group,{columns}"]
    for number in range(24):
        (root / f"{number:02d}.wav").write_text(f"sound {number}")
        rows.append(f"{number:02d}.wav,{'rj'[number % 2]},a{number % groups},{cells[number % len(cells)]}")
    (root / "tracks.csv").write_text("\n".join(rows))
    return load_dataset(root / "tracks.csv")


def given(found: Dataset, **options: float) -> Split:
    return split_dataset(
        found.tracks, "given", **{"seed": 0, "fold": 0, **options}, official_splits=found.official_splits
    )


def sizes(split: Split) -> list[int]:
    return [len(getattr(split, part)) for part in PARTS]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("train", "train"),
        (" Training ", "train"),
        ("VAL", "validation"),
        ("dev", "validation"),
        ("valid", "validation"),
        ("Test", "test"),
        ("evaluation", "test"),
        ("fest", None),
        ("", None),
    ],
)
def test_usual_words_for_parts(text: str, part: str | None) -> None:
    assert part_of_split(text) == part


def test_the_column_split_is_obeyed(tmp_path: Path) -> None:
    cells = ["train"] * 12 + ["Val"] * 6 + ["TEST"] * 6
    split = given(listed(tmp_path, "split", cells))
    assert [list(getattr(split, part)) for part in PARTS] == [
        list(range(12)),
        list(range(12, 18)),
        list(range(18, 24)),
    ]


def test_groups_on_both_sides_make_a_given_split_leaky(tmp_path: Path) -> None:
    cells = ["train"] * 16 + ["test"] * 8
    assert given(listed(tmp_path / "shared", "split", cells, groups=4)).leaky
    clean = given(listed(tmp_path / "clean", "split", cells, groups=24))
    assert not clean.leaky
    assert clean.description == "the data set's own split, by its columns or as published"


def test_validation_is_drawn_in_whole_groups_where_the_column_names_none(tmp_path: Path) -> None:
    found = listed(tmp_path, "split", ["train"] * 16 + ["test"] * 8)
    split = given(found, validation_fraction=0.25)
    assert sizes(split)[2] == 8
    assert 3 <= sizes(split)[1] <= 9
    sides = [{found.tracks[unit].group for unit in getattr(split, part)} for part in PARTS[:2]]
    assert not sides[0] & sides[1]
    assert sizes(given(found, validation_fraction=0)) == [16, 0, 8]


def test_folds_are_chosen_by_their_numbers(tmp_path: Path) -> None:
    found = listed(tmp_path, "fold", ["1", "1", "fold2", "fold2", "3.0", "3.0"])
    tested = [set(given(found, fold=fold).test.tolist()) for fold in (1, 2, 3)]
    assert set.union(*tested) == set(range(24))
    assert [len(fold) for fold in tested] == [8, 8, 8]
    with pytest.raises(ConfigError, match="the folds 1, 2, 3") as caught:
        given(found)
    assert caught.value.hint == "set split.fold=1"


def test_tracks_without_a_part_are_in_none_and_counted(tmp_path: Path) -> None:
    found = listed(tmp_path, "split", ["train"] * 12 + ["test"] * 8 + [""] * 4)
    assert sum(sizes(given(found))) == 20
    assert [issue.message for issue in found.issues] == [
        "4 of 24 tracks have no split: they are in no part of it"
    ]


def test_split_decides_where_there_is_a_fold_as_well(tmp_path: Path) -> None:
    found = listed(tmp_path, "split,fold", ["train,0"] * 16 + ["test,1"] * 8)
    assert sizes(given(found, validation_fraction=0)) == [16, 0, 8]
    assert [issue.code for issue in found.issues] == ["split_unused"]
    with pytest.raises(ConfigError, match="one split, without folds"):
        given(found, fold=1)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split of its own") as caught:
        given(listed(tmp_path / "none", "mood", ["calm"]))
    assert "split (train, validation, test) or fold" in caught.value.hint
    with pytest.raises(DataError, match="nothing is left for the test part"):
        given(listed(tmp_path / "train", "split", ["train"]))
    with pytest.raises(DataError, match="nothing of 'j' is left to train on"):
        given(listed(tmp_path / "one", "split", ["train", "test"]))


def test_an_edited_split_is_another_data_set(tmp_path: Path) -> None:
    first = listed(tmp_path, "split", ["train"] * 16 + ["test"] * 8)
    second = listed(tmp_path, "split", ["train"] * 12 + ["test"] * 12)
    assert dataset_fingerprint(first) != dataset_fingerprint(second)


def test_a_run_with_folds_is_trained_and_labeled(tmp_path: Path) -> None:
    rows = ["path,label,fold"]
    for number in range(12):
        play(tmp_path / f"{number}.wav", number, number)
        rows.append(f"{number}.wav,{('drone', 'hiss')[number % 2]},{1 + number // 4}")
    (tmp_path / "tracks.csv").write_text("\n".join(rows))
    chosen = training.load_config("logistic-regression", [*LITTLE, "split.protocol=given", "split.fold=2"])
    run = training.train(load_dataset(tmp_path / "tracks.csv"), chosen, tmp_path / "run")
    assert run.evaluation.protocol == "given"
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.n == 4
