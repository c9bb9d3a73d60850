"""Metrics, calibration, and the evaluation of models on labeled music."""

from genrescope.evaluation.calibration import (
    MIN_ANSWERS,
    CalibrationBin,
    CalibrationReport,
    Threshold,
    fit_segment_temperature,
    select_threshold,
)
from genrescope.evaluation.evaluator import (
    evaluate_model,
    predict_segments,
    predict_tracks,
    summary_metrics,
)
from genrescope.evaluation.results import LEAKY, Evaluation, Interval, LevelResult, evaluate_scores, mean_std

__all__ = [
    "LEAKY",
    "MIN_ANSWERS",
    "CalibrationBin",
    "CalibrationReport",
    "Evaluation",
    "Interval",
    "LevelResult",
    "Threshold",
    "evaluate_model",
    "evaluate_scores",
    "fit_segment_temperature",
    "mean_std",
    "predict_segments",
    "predict_tracks",
    "select_threshold",
    "summary_metrics",
]
