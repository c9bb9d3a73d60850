"""A classifier of genres as an estimator of scikit-learn, for pipelines, cross-validation and searches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from genrescope import features, models
from genrescope.errors import ConfigError, missing_extra
from genrescope.features import PAPER_MEANS, FeatureSpec
from genrescope.inference import Classifier
from genrescope.types import Audio, Float64Array, FloatArray

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise missing_extra("train", "scikit-learn") from None

_AUDIO = (str, os.PathLike, bytes, Audio)
_LARGEST_FOLDS = 5


class GenreClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Logistic regression or a support vector machine on audio files or on a matrix of features.

    ``X`` is a sequence of audio files, whose features are computed, or a matrix of features, shape
    (tracks, features), which is taken as it is. Features of files are computed again at each call: for a
    search or cross-validation compute the matrix once, by `extract_features`.

    Parameters
    ----------
    classifier : {"logistic-regression", "svm"}
        On standardized features.
    features : {"embedding", "means"} or FeatureSpec
        Of audio files: the embedding of a model file, the paper's six means over the whole file, or a
        `FeatureSpec` of the kind ``vector``.
    model : str or PathLike
        The model file for embeddings, as of `Classifier.from_pretrained`. Such a network may have been
        exposed to the very files without their labels, see ``genrescope models show``.
    c : float
        Inverse strength of regularization.
    random_state : int
        Seed of the solver.

    Attributes
    ----------
    classes_ : ndarray, shape (classes,)
        The labels, sorted.
    n_features_in_ : int
        Number of columns of the matrix, or of the features of a file.

    Examples
    --------
    >>> from genrescope import GenreClassifier
    >>> classifier = GenreClassifier().fit(["a.mp3", "b.mp3", "c.mp3", "d.mp3"], ["jazz", "folk"] * 2)
    >>> classifier.predict(["e.mp3"])
    """

    def __init__(
        self,
        classifier: Literal["logistic-regression", "svm"] = "logistic-regression",
        *,
        features: Literal["embedding", "means"] | FeatureSpec = "embedding",
        model: str | os.PathLike[str] = models.DEFAULT,
        c: float = 1.0,
        random_state: int = 0,
    ) -> None:
        self.classifier = classifier
        self.features = features
        self.model = model
        self.c = c
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike | Sequence[object], y: npt.ArrayLike) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : sequence of str, PathLike, bytes or Audio; or array_like, shape (tracks, features)
            Audio files, or a matrix of features.
        y : array_like, shape (tracks,)
            The genre of each.

        Returns
        -------
        GenreClassifier
            Itself.

        Raises
        ------
        AudioError
            A file that cannot be used.
        ConfigError
            ``invalid_config``: an unknown ``classifier`` or ``features``.
        ValueError
            A matrix or labels that scikit-learn refuses.
        """
        matrix, labels = validate_data(self, self._matrix(X), y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, targets, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise ValueError("two classes or more are needed, y has one class")
        if self.classifier == "svm" and counts.min() < 2:
            raise ValueError("the SVM needs two tracks or more of each class: y has one of some class")
        pipeline = models.create_classical(
            self.classifier, c=self.c, seed=self.random_state, folds=min(_LARGEST_FOLDS, int(counts.min()))
        )
        self.pipeline_ = pipeline.fit(matrix, targets)
        return self

    def predict_proba(self, X: npt.ArrayLike | Sequence[object]) -> Float64Array:
        """Return the probability of each genre.

        Parameters
        ----------
        X : sequence of str, PathLike, bytes or Audio; or array_like, shape (tracks, features)
            As of `fit`; a classifier that was fitted to files takes a matrix of their features too.

        Returns
        -------
        ndarray, shape (tracks, classes)
            In the order of ``classes_``.

        Raises
        ------
        AudioError, ValueError
            As of `fit`.
        """
        check_is_fitted(self)
        matrix = validate_data(self, self._matrix(X), dtype=np.float64, reset=False)
        return np.asarray(self.pipeline_.predict_proba(matrix), np.float64)

    def predict(self, X: npt.ArrayLike | Sequence[object]) -> npt.NDArray[Any]:
        """Return the most probable genre of each track.

        Parameters
        ----------
        X : sequence of str, PathLike, bytes or Audio; or array_like, shape (tracks, features)
            As of `predict_proba`.

        Returns
        -------
        ndarray, shape (tracks,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        chosen: npt.NDArray[Any] = self.classes_[best]
        return chosen

    def extract_features(self, X: Sequence[object]) -> FloatArray:
        """Return the features of audio files as a matrix, which the other methods take in place of the files.

        Parameters
        ----------
        X : sequence of str, PathLike, bytes or Audio
            Audio files.

        Returns
        -------
        ndarray, shape (tracks, features), float32

        Raises
        ------
        AudioError
            A file that cannot be used.
        ConfigError
            ``invalid_config``: unknown ``features``.
        """
        return _file_features(list(X), self.features, self.model)

    def _matrix(self, X: Any) -> Any:
        """Return the features of audio files, or a matrix as it is, still to be validated."""
        return self.extract_features(X) if _are_files(X) else X


def _are_files(X: Any) -> bool:
    """Tell whether ``X`` is a sequence of audio files."""
    if isinstance(X, str | bytes) or not hasattr(X, "__len__") or len(X) == 0 or hasattr(X, "columns"):
        return False
    if getattr(X, "ndim", 1) != 1:
        return False
    return all(isinstance(one, _AUDIO) for one in X)


def _file_features(sources: Any, wanted: object, model: str | os.PathLike[str]) -> FloatArray:
    if wanted == "embedding":
        return Classifier.from_pretrained(model).embed_many(sources)
    spec = PAPER_MEANS if wanted == "means" else wanted
    if not isinstance(spec, FeatureSpec) or spec.kind != "vector":
        raise ConfigError(
            "invalid_config",
            f"features = {wanted!r}",
            "choose embedding, means, or a FeatureSpec of the kind vector",
        )
    return features.feature_table(sources, spec).values
