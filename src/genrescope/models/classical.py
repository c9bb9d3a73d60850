"""The paper's baselines: logistic regression and a support vector machine on standardized means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from genrescope.errors import ConfigError, missing_extra
from genrescope.types import BoolArray, Float64Array, FloatArray, IntArray


class FittedClassifier(Protocol):
    """What is used of a classifier of vectors once it is fitted."""

    def predict_proba(self, inputs: FloatArray, /) -> FloatArray:
        """Return probabilities (segments, classes) of ``inputs``, features (segments, features)."""


class ClassicalPipeline(FittedClassifier, Protocol):
    """What is used of a scikit-learn pipeline.

    Attributes
    ----------
    steps : list of (str, object)
        Names and estimators.
    """

    steps: list[tuple[str, Any]]

    def fit(self, inputs: FloatArray, targets: IntArray, /, **options: Any) -> ClassicalPipeline:
        """Fit it to ``inputs``, (segments, features), and ``targets``; ``options`` are of its steps."""


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


@dataclass(frozen=True, eq=False)
class LabelRegression:
    """A logistic regression of each class by itself, on standardized features.

    Attributes
    ----------
    mean, deviation : ndarray, shape (features,), float32
        Of the training segments.
    weights : ndarray, shape (classes, features), float32
    biases : ndarray, shape (classes,), float32
    """

    mean: FloatArray
    deviation: FloatArray
    weights: FloatArray
    biases: FloatArray

    def logits(self, inputs: FloatArray) -> FloatArray:
        """Return what the sigmoid of each class is taken of, shape (segments, classes), of ``inputs``."""
        standard = (np.asarray(inputs, np.float32) - self.mean) / self.deviation
        logits: FloatArray = (standard @ self.weights.T + self.biases).astype(np.float32)
        return logits

    def predict_proba(self, inputs: FloatArray, /) -> FloatArray:
        """Return probabilities (segments, classes) of ``inputs``, features (segments, features)."""
        logits = np.clip(self.logits(inputs), -80, 80)
        probabilities: FloatArray = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return probabilities

    def to_onnx(self) -> Any:
        """Return the same as an ONNX graph, as `classical_to_onnx` returns it."""
        from onnx import TensorProto, helper, numpy_helper

        constants = {
            name: np.asarray(getattr(self, name), np.float32)
            for name in ("mean", "deviation", "weights", "biases")
        }
        nodes = [
            helper.make_node("Sub", ["features", "mean"], ["centered"]),
            helper.make_node("Div", ["centered", "deviation"], ["standard"]),
            helper.make_node("Gemm", ["standard", "weights", "biases"], ["logits"], transB=1),
            helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        ]
        ports = (("features", len(self.mean)), ("probabilities", len(self.biases)))
        inputs, outputs = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["segments", size]) for name, size in ports
        )
        graph = helper.make_graph(
            nodes,
            "regression",
            [inputs],
            [outputs],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def fit_label_regression(
    inputs: FloatArray, values: FloatArray, judged: BoolArray, *, c: float, seed: int, balanced: bool = False
) -> LabelRegression:
    """Fit a logistic regression of each class on standardized features.

    Parameters
    ----------
    inputs : ndarray, shape (segments, features), float32
        Features of the training segments.
    values : ndarray, shape (segments, classes)
        Probability of each class; a segment counts for and against it in these shares.
    judged : ndarray of bool, shape (segments, classes)
        Whether it is known; a segment is left out of the regressions of the other classes.
    c : float
        Inverse strength of regularization.
    seed : int
        Of the solver.
    balanced : bool
        Whether segments that are of a class weigh as much together as those that are not.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: scikit-learn is not installed.
    """
    wide = np.asarray(inputs, np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    standard = (wide - mean) / deviation
    weights, biases = fit_linear_labels(standard, values, judged, c=c, seed=seed, balanced=balanced)
    return LabelRegression(mean.astype(np.float32), deviation.astype(np.float32), weights, biases)


def fit_linear_labels(
    inputs: npt.NDArray[Any],
    values: FloatArray,
    judged: BoolArray,
    *,
    c: float,
    seed: int,
    balanced: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Fit a linear layer whose sigmoid gives the probability of each class.

    Parameters
    ----------
    inputs : ndarray, shape (segments, features)
        Of the training segments.
    values, judged : ndarray, shape (segments, classes)
        As of `fit_label_regression`.
    c : float
        Inverse strength of regularization.
    seed : int
        Of the solver.
    balanced : bool
        Whether segments that are of a class weigh as much together as those that are not.

    Returns
    -------
    weights : ndarray, shape (classes, features), float32
    biases : ndarray, shape (classes,), float32

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise missing_extra("train", "scikit-learn") from None
    weights = np.zeros((values.shape[1], inputs.shape[1]), np.float32)
    biases = np.zeros(values.shape[1], np.float32)
    for column in range(values.shape[1]):
        rows = np.flatnonzero(judged[:, column])
        share = values[rows, column].astype(np.float64)
        # A share of 0.7 is a segment of weight 0.7 that is of the class, and one of 0.3 that is not.
        places = np.concatenate([rows[share > 0], rows[share < 1]])
        positive = np.concatenate([np.ones((share > 0).sum(), int), np.zeros((share < 1).sum(), int)])
        amounts = np.concatenate([share[share > 0], 1 - share[share < 1]])
        if not 0 < positive.sum() < len(positive):
            # Nothing tells the class apart: the logit of its share, with one more segment of either kind.
            biases[column] = np.log((share.sum() + 1) / (len(share) - share.sum() + 1))
            continue
        regression = LogisticRegression(
            C=c, class_weight="balanced" if balanced else None, max_iter=5000, random_state=seed
        )
        regression.fit(inputs[places], positive, sample_weight=amounts)
        weights[column], biases[column] = regression.coef_[0], regression.intercept_[0]
    return weights, biases


def fit_classical(
    name: str,
    inputs: FloatArray,
    targets: IntArray,
    *,
    c: float,
    seed: int,
    balanced: bool = False,
    sample_weight: Float64Array | None = None,
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
        Of the solver, and of the folds on which the sigmoids of the SVM are fitted.
    balanced : bool
        Whether segments are weighted so that each genre counts as much as any other, also for the sigmoids.
    sample_weight : ndarray, shape (segments,), optional
        How much each segment counts besides.

    Raises
    ------
    ConfigError
        ``invalid_config``: no classifier of that name.
    MissingDependencyError
        ``missing_dependency``: scikit-learn is not installed.
    """
    pipeline = create_classical(name, c=c, seed=seed)
    # Weights of segments and not of classes, because the sigmoids know only of these.
    weights = sample_weight
    if balanced:
        from sklearn.utils.class_weight import compute_sample_weight

        equal = compute_sample_weight("balanced", targets)
        weights = equal if sample_weight is None else equal * sample_weight
    weighted = {} if weights is None else {f"{pipeline.steps[-1][0]}__sample_weight": weights}
    return pipeline.fit(np.asarray(inputs, np.float32), targets, **weighted)


def fit_linear(
    embeddings: FloatArray,
    targets: IntArray,
    *,
    c: float,
    seed: int,
    sample_weight: Float64Array | None = None,
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
    sample_weight : ndarray, shape (segments,), optional
        How much each segment counts.

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
    regression.fit(embeddings, targets, sample_weight=sample_weight)
    weights, biases = regression.coef_, regression.intercept_
    if len(weights) == 1:  # two classes: one logit, which a softmax needs twice
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    return weights.astype(np.float32), biases.astype(np.float32)


def classical_to_onnx(pipeline: FittedClassifier, features: int) -> Any:
    """Convert a fitted pipeline to an ONNX graph of one input and one output.

    Parameters
    ----------
    pipeline : Pipeline
        As `fit_classical` or `fit_label_regression` returns it.
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
    if isinstance(pipeline, LabelRegression):
        return pipeline.to_onnx()
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
