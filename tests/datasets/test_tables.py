"""Tables of features: read as written, refused where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrescope import Classifier, training
from genrescope.datasets import load_dataset
from genrescope.datasets.tables import column_values, paper_means, read_table
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import evaluate_model
from genrescope.models import Model
from helpers import published_sets


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_values_labels_and_names(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "filename,tempo,label,rms\na.b.wav,1.5,pop,-2e3\nc,0,,1\n"))
    assert table.tracks == ("a.b", "c")
    assert table.labels == ("pop", "")
    assert table.columns == ("tempo", "rms")
    np.testing.assert_array_equal(table.values, [[1.5, -2000], [0, 1]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("track,tempo\na,1", "no column filename"),
        ("filename,tempo\na,1\nb,fast", "line 3: could not convert"),
        ("filename,tempo\na,nan", "line 2: a value that is not finite"),
        ("filename,tempo\na,", "line 2"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path / "t.csv", content))
    assert caught.value.code == "dataset_invalid"
    assert said in caught.value.message


def test_paper_means_are_found_by_name_not_by_position(tmp_path: Path) -> None:
    names = ["rolloff_mean", "zero_crossing_rate_mean", "chroma_stft_mean", "tempo"]
    names += ["spectral_bandwidth_mean", "spectral_centroid_mean"]
    names += [f"mfcc{number}_mean" for number in range(20, 0, -1)]
    values = ["4", "5", "1", "99", "3", "2", *map(str, range(20))]
    header = ",".join(["filename", *names])
    table = read_table(write(tmp_path / "t.csv", f"{header}\na,{','.join(values)}\n"))
    np.testing.assert_array_equal(paper_means(table), [[1, 2, 3, 4, 5, 9.5]])


def test_paper_means_name_what_is_missing(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "filename,rolloff_mean\na,1\n"))
    with pytest.raises(DataError, match="chroma_stft_mean"):
        paper_means(table)


def test_shared_table(gtzan: Path) -> None:
    table = read_table(gtzan / "features_30_sec.csv")
    means = paper_means(table)
    assert (len(table.tracks), means.shape) == (1000, (1000, 6))
    assert table.tracks[0] == "blues.00000"
    np.testing.assert_allclose(means[0, :2], [0.35008812, 1784.16585], rtol=1e-6)
    # Half the sampling rate bounds every frequency, one bounds every share.
    assert np.all((means[:, 1:4] > 0) & (means[:, 1:4] < 11_025))
    assert np.all((means[:, [0, 4]] > 0) & (means[:, [0, 4]] < 1))


def features_csv(root: Path, *, header: str = "filename,length,note,tempo,depth,group,fold,label") -> Path:
    """Write a table of two genres that differ in ``depth``."""
    generator = np.random.default_rng(0)
    rows = [header]
    for number in range(40):
        label = ("calm", "loud")[number % 2]
        depth = number % 2 + generator.normal(0, 0.1)
        rows.append(
            f"{number}.wav,661794,made up,{120 + number},{depth},a{number // 4},{number // 8},{label}"
        )
    return write(root / "features.csv", "\n".join(rows))


def test_texts_and_what_names_a_row_are_no_features(tmp_path: Path) -> None:
    table = read_table(features_csv(tmp_path))
    assert table.columns == ("tempo", "depth")
    np.testing.assert_array_equal(column_values(table, ["tempo"], tmp_path)[:2], [[120], [121]])
    found = load_dataset(tmp_path / "features.csv")
    assert found.tracks[1].group == "a0"
    assert set(found.official_splits) == {"fold"}


@pytest.mark.parametrize(("columns", "names"), [("all", ("tempo", "depth")), ('["depth"]', ("depth",))])
def test_a_model_is_trained_on_any_columns(tmp_path: Path, columns: str, names: tuple[str, ...]) -> None:
    found = load_dataset(features_csv(tmp_path))
    chosen = training.load_config(
        "logistic-regression", [f"data.columns={columns}", "split.protocol=given", "split.fold=1"]
    )
    run = training.train(found, chosen, tmp_path / "run")
    model = Model.read(run.model)
    assert (model.info.features.kind, model.info.features.features) == ("table", names)
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.accuracy.value == 1.0
    again = evaluate_model(model, found)
    assert again.tracks is not None
    assert again.tracks.accuracy.value == 1.0
    played = published_sets.play(tmp_path / "hiss.wav", 1, 0)
    with pytest.raises(ConfigError, match="not computed from audio"):
        Classifier(model).predict(played)


def test_columns_that_a_table_lacks_are_named(tmp_path: Path) -> None:
    found = load_dataset(features_csv(tmp_path))
    chosen = training.load_config("svm", ["data.columns=tempi,depth", "split.protocol=given"])
    with pytest.raises(DataError, match="is named tempi") as caught:
        training.train(found, chosen, tmp_path / "run")
    assert "'tempo'" in caught.value.hint


def test_columns_are_for_classifiers_of_tables_only(tmp_path: Path, little_music: Path) -> None:
    with pytest.raises(ConfigError, match="takes no tables"):
        training.load_config("cnn", ["data.columns=all"])
    chosen = training.load_config("svm", ["data.columns=all"])
    with pytest.raises(DataError, match="takes columns of a table"):
        training.train(load_dataset(little_music), chosen, tmp_path / "run")
