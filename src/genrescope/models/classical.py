"""The paper's baselines: logistic regression and a support vector machine on standardized means."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np

from genrescope.errors import ConfigError, missing_extra
from genrescope.types import FloatArray, IntArray


class ClassicalPipeline(Protocol):
    """What is used of a scikit-learn pipeline."""

    def fit(self, inputs: FloatArray, targets: IntArray, /) -> ClassicalPipeline:
        """Fit it to ``inputs``, features (segments, features), and ``targets``; return itself."""

    def predict_proba(self, inputs: FloatArray, /) -> FloatArray:
        """Return probabilities (segments, classes) of ``inputs``, features (segments, features)."""


def create_classical(name: str, *, c: float, seed: int, folds: int = 5) -> ClassicalPipeline:
    """Return an unfitted scikit-learn pipeline: standardization, then the classifier.

    Parameters
    ----------
    name : {"logistic-regression", "svm"}
        The classifier.
    c : float
        Inverse strength of regularization.
    seed : int
        Of the solver.
    folds : int
        Number of folds on which the sigmoids of the SVM are fitted.

    Raises
    ------
    ConfigError
        ``invalid_config``: no classifier of that name.
    MissingDependencyError
        ``missing_dependency``: scikit-learn is not installed.
    """
    try:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC
    except ImportError:
        raise missing_extra("train", "scikit-learn") from None
    if name == "logistic-regression":
        classifier = LogisticRegression(C=c, max_iter=5000, random_state=seed)
    elif name == "svm":
        # An SVM has distances, not probabilities: sigmoids (Platt, 1999) turn one into the other.
        classifier = CalibratedClassifierCV(SVC(C=c, random_state=seed), cv=folds, ensemble=False)
    else:
        raise ConfigError(
            "invalid_config",
            f"no classifier is named {name!r}",
            "choose logistic-regression or svm",
        )
    pipeline: ClassicalPipeline = make_pipeline(StandardScaler(), classifier)
    return pipeline


def fit_classical(
    name: str, inputs: FloatArray, targets: IntArray, *, c: float, seed: int
) -> ClassicalPipeline:
    """Fit a scikit-learn pipeline: standardization on these inputs only, then the classifier.

    Parameters
    ----------
    name : {"logistic-regression", "svm"}
        The classifier.
    inputs : ndarray, shape (segments, features), float32
        Features of the training segments.
    targets : ndarray of int, shape (segments,)
        Index of the genre of each.
    c : float
        Inverse strength of regularization.
    seed : int
        Of the solver.

    Raises
    ------
    ConfigError
        ``invalid_config``: no classifier of that name.
    MissingDependencyError
        ``missing_dependency``: scikit-learn is not installed.
    """
    return create_classical(name, c=c, seed=seed).fit(np.asarray(inputs, np.float32), targets)


def fit_linear(
    embeddings: FloatArray, targets: IntArray, *, c: float, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Fit a class-balanced logistic regression on embeddings as they are.

    Parameters
    ----------
    embeddings : ndarray, shape (segments, features), float32
        Of the training segments.
    targets : ndarray of int, shape (segments,)
        Index of the genre of each.
    c : float
        Inverse strength of regularization.
    seed : int
        Of the solver.

    Returns
    -------
    weights : ndarray, shape (classes, features), float32
    biases : ndarray, shape (classes,), float32
        Of a linear layer whose softmax gives the probabilities.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency`` without scikit-learn.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise missing_extra("train", "scikit-learn") from None
    regression = LogisticRegression(C=c, class_weight="balanced", max_iter=5000, random_state=seed)
    regression.fit(embeddings, targets)
    weights, biases = regression.coef_, regression.intercept_
    if len(weights) == 1:  # two classes: one logit, which a softmax needs twice
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    return weights.astype(np.float32), biases.astype(np.float32)


def classical_to_onnx(pipeline: ClassicalPipeline, features: int) -> Any:
    """Convert a fitted pipeline to an ONNX graph of one input and one output.

    Parameters
    ----------
    pipeline : Pipeline
        As `fit_classical` returns it.
    features : int
        Length of a feature vector.

    Returns
    -------
    onnx.ModelProto
        ``features`` (segments, features) -> ``probabilities`` (segments, classes).

    Raises
    ------
    MissingDependencyError
        ``missing_dependency`` without skl2onnx.
    """
    try:
        from skl2onnx import to_onnx as convert
        from skl2onnx.common.data_types import FloatTensorType
    except ImportError:
        raise missing_extra("train", "skl2onnx") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside skl2onnx, nothing a user could act on
        graph = convert(
            pipeline,
            initial_types=[("features", FloatTensorType([None, features]))],
            options={id(pipeline): {"zipmap": False}},
            target_opset={"": 17, "ai.onnx.ml": 3},
        )
    return _only_scores(graph)


def _only_scores(graph: Any) -> Any:
    """Drop the output of predicted labels, which skl2onnx adds to every classifier."""
    outputs = graph.graph.output
    (scores,) = [output for output in outputs if output.name == "probabilities"]
    kept = type(scores)()
    kept.CopyFrom(scores)
    del outputs[:]
    outputs.append(kept)
    return graph
