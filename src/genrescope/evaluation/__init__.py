"""Metrics, calibration, and the evaluation of models on labeled music."""

from genrescope.evaluation.calibration import (
    MIN_ANSWERS,
    MIN_CALIBRATION_TRACKS,
    TEMPERATURE_RANGE,
    CalibrationBin,
    CalibrationReport,
    Threshold,
    fit_segment_temperature,
    select_threshold,
)
from genrescope.evaluation.evaluator import (
    average_by_track,
    evaluate_model,
    map_segments,
    predict_segments,
    summary_metrics,
)
from genrescope.evaluation.metrics import calibration_error
from genrescope.evaluation.overlap import exposure_notes
from genrescope.evaluation.results import LEAKY, Evaluation, Interval, LevelResult, evaluate_scores, mean_std

__all__ = [
    "LEAKY",
    "MIN_ANSWERS",
    "MIN_CALIBRATION_TRACKS",
    "TEMPERATURE_RANGE",
    "CalibrationBin",
    "CalibrationReport",
    "Evaluation",
    "Interval",
    "LevelResult",
    "Threshold",
    "average_by_track",
    "calibration_error",
    "evaluate_model",
    "evaluate_scores",
    "exposure_notes",
    "fit_segment_temperature",
    "map_segments",
    "mean_std",
    "predict_segments",
    "select_threshold",
    "summary_metrics",
]
