"""GenreClassifier: an estimator of scikit-learn, on matrices of features and on audio files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from genrescope import GenreClassifier, load_audio
from genrescope.errors import AudioError, ConfigError
from genrescope.features import PAPER_LOG_MEL, FeatureSpec

CHECKS = [
    pytest.param(estimator, check, id=f"{estimator.classifier}-{check.func.__name__}-{number}")
    for name in ("logistic-regression", "svm")
    for number, (estimator, check) in enumerate(estimator_checks_generator(GenreClassifier(name)))
    if check.func.__name__ != "check_array_api_input"  # needs SCIPY_ARRAY_API before SciPy is loaded
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
@pytest.mark.filterwarnings("default")  # the checks provoke warnings
def test_the_checks_of_scikit_learn_pass(estimator: GenreClassifier, check: object) -> None:
    assert callable(check)
    check(estimator)


@pytest.fixture(scope="module")
def files(little_music: Path) -> list[str]:
    return sorted(map(str, little_music.rglob("*.wav")))[::2]


@pytest.fixture(scope="module")
def labels(files: list[str]) -> list[str]:
    return [Path(file).name.split()[0] for file in files]


VECTOR = FeatureSpec("vector", features=("rms", "mfcc"), statistics=("mean",))


@pytest.mark.parametrize("features", ["embedding", "means", VECTOR])
def test_it_learns_from_audio_files(files: list[str], labels: list[str], features: object) -> None:
    classifier = GenreClassifier(features=features)  # type: ignore[arg-type]
    classifier.fit(files[1:-1], labels[1:-1])
    assert list(classifier.classes_) == ["drone", "hiss"]
    tested = [files[0], files[-1]]
    assert list(classifier.predict(tested)) == ["drone", "hiss"]
    np.testing.assert_allclose(classifier.predict_proba(tested).sum(axis=1), 1)
    assert classifier.score(tested, ["drone", "hiss"]) == 1
    # Their features give the same, and so do their bytes and their decoded audio.
    matrix = classifier.extract_features(tested)
    assert matrix.shape == (2, classifier.n_features_in_)
    expected = classifier.predict_proba(tested)
    np.testing.assert_array_equal(classifier.predict_proba(matrix), expected)
    np.testing.assert_array_equal(
        classifier.predict_proba([Path(tested[0]).read_bytes(), Path(tested[1])]), expected
    )
    np.testing.assert_array_equal(classifier.predict_proba(np.array(tested)), expected)
    assert classifier.predict([load_audio(tested[0])]) == ["drone"]


def test_files_in_tools_of_scikit_learn(files: list[str], labels: list[str]) -> None:
    classifier = GenreClassifier(features="means")
    groups = [str(Path(file).parent) for file in files]
    assert cross_val_score(classifier, files, labels, groups=groups, cv=GroupKFold(2)).mean() == 1
    search = GridSearchCV(classifier, {"c": [0.1, 1.0], "classifier": ["svm", "logistic-regression"]}, cv=2)
    assert search.fit(classifier.extract_features(files), labels).best_score_ == 1
    fitted = make_pipeline(classifier).fit(files, labels)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(files), fitted.predict(files))
    assert clone(classifier).get_params() == classifier.get_params()


def test_a_data_frame_of_features_keeps_its_columns(files: list[str], labels: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    matrix = GenreClassifier(features="means").extract_features(files)
    frame = pandas.DataFrame(matrix, columns=list("abcdef"))
    classifier = GenreClassifier().fit(frame, labels)
    assert list(classifier.feature_names_in_) == list("abcdef")
    assert classifier.score(frame, labels) == 1


def test_what_cannot_be_used_is_a_typed_error(files: list[str], labels: list[str]) -> None:
    with pytest.raises(AudioError) as caught:
        GenreClassifier().fit([*files[1:], "absent.wav"], labels)
    assert caught.value.code == "audio_missing"
    for features in ("mel", PAPER_LOG_MEL):
        with pytest.raises(ConfigError, match="features"):
            GenreClassifier(features=features).fit(files, labels)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no classifier"):
        GenreClassifier("forest").fit(np.eye(4), ["a", "b", "a", "b"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two tracks"):
        GenreClassifier("svm").fit(np.eye(3), ["a", "b", "a"])
    with pytest.raises(ValueError, match="features"):
        GenreClassifier(features="means").fit(np.eye(4), ["a", "b", "a", "b"]).predict(files)
