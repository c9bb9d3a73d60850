"""Features of many files as one table: arrays, pandas, Arrow."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from genrescope import extract_features
from genrescope.errors import AudioError, DataError, MissingDependencyError
from genrescope.features import (
    PAPER_LOG_MEL,
    PAPER_MEANS,
    PAPER_SEQUENCE,
    FeatureSpec,
    FeatureTable,
    feature_names,
    feature_table,
)


@pytest.fixture(scope="module")
def files(little_music: Path) -> list[Path]:
    return sorted(little_music.rglob("*.wav"))[:3]


@pytest.fixture(scope="module")
def table(files: list[Path]) -> FeatureTable:
    return feature_table(files, seconds=1.0)


def test_a_row_for_each_segment(table: FeatureTable, files: list[Path]) -> None:
    assert len(table) == 9
    assert table.names == feature_names(PAPER_MEANS)
    assert table.paths[:4] == (str(files[0]),) * 3 + (str(files[1]),)
    np.testing.assert_allclose(table.starts[:4], [0, 1, 2, 0])
    np.testing.assert_array_equal(table.values[:3], extract_features(files[0], PAPER_MEANS, seconds=1.0))


def test_a_row_for_each_file_without_segments(files: list[Path]) -> None:
    table = feature_table([files[0], files[1].read_bytes()])
    assert table.paths == (str(files[0]), "<bytes>")
    np.testing.assert_array_equal(table.values[1:], extract_features(files[1], PAPER_MEANS))


@pytest.mark.parametrize("spec", [PAPER_SEQUENCE, PAPER_LOG_MEL])
def test_a_row_for_each_frame(spec: FeatureSpec, files: list[Path]) -> None:
    table = feature_table(files[:1], spec, seconds=1.0)
    computed = extract_features(files[0], spec, seconds=1.0)
    frames = computed.transpose(0, 2, 1) if spec.kind == "log_mel" else computed
    np.testing.assert_array_equal(table.values, frames.reshape(-1, len(table.names)))
    step = spec.hop_length / spec.sample_rate
    np.testing.assert_allclose(table.starts[: frames.shape[1]], np.arange(frames.shape[1]) * step)
    assert table.starts[frames.shape[1]] == pytest.approx(1.0)


def test_a_data_frame(table: FeatureTable) -> None:
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.columns) == ["path", "start", *table.names]
    np.testing.assert_array_equal(frame[list(table.names)].to_numpy(), table.values)
    assert list(frame["path"]) == list(table.paths)
    assert frame.groupby("path")["start"].max().tolist() == [2.0, 2.0, 2.0]


def test_a_table_of_arrow(table: FeatureTable) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    arrow = table.to_arrow()
    assert arrow.column_names == ["path", "start", *table.names]
    assert arrow.schema.field(table.names[0]).type == pyarrow.float32()
    np.testing.assert_array_equal(arrow[table.names[1]].to_numpy(), table.values[:, 1])
    assert arrow["path"].to_pylist() == list(table.paths)


@pytest.mark.parametrize(("method", "package"), [("to_pandas", "pandas"), ("to_arrow", "pyarrow")])
def test_a_missing_library_is_named(
    table: FeatureTable, method: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: object, **options: object) -> object:
        if name == package:
            raise ImportError(name)
        return original(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=package) as caught:
        getattr(table, method)()
    assert "pip install 'genrescope[" in caught.value.hint


def test_files_that_fail_are_left_out_or_raised(files: list[Path]) -> None:
    left_out: list[str] = []
    table = feature_table(
        [files[0], "absent.wav"], on_failure=lambda name, error: left_out.append(f"{name} {error.code}")
    )
    assert len(table) == 1
    assert left_out == ["absent.wav audio_missing"]
    with pytest.raises(AudioError):
        feature_table([files[0], "absent.wav"])
    for sources in ([], ["absent.wav"]):
        with pytest.raises(DataError) as caught:
            feature_table(sources, on_failure=lambda name, error: None)
        assert caught.value.code == "dataset_empty"
