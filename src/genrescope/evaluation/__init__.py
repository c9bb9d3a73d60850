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
from genrescope.evaluation.comparison import (
    ALPHA,
    Comparison,
    ModelSummary,
    PairedDifference,
    align_rows,
    cautions,
    compare_predictions,
    holm,
    mcnemar_exact,
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
from genrescope.evaluation.predictions import Predictions, pool_predictions, track_predictions
from genrescope.evaluation.results import LEAKY, Evaluation, Interval, LevelResult, evaluate_scores, mean_std

__all__ = [
    "ALPHA",
    "LEAKY",
    "MIN_ANSWERS",
    "MIN_CALIBRATION_TRACKS",
    "TEMPERATURE_RANGE",
    "CalibrationBin",
    "CalibrationReport",
    "Comparison",
    "Evaluation",
    "Interval",
    "LevelResult",
    "ModelSummary",
    "PairedDifference",
    "Predictions",
    "Threshold",
    "align_rows",
    "average_by_track",
    "calibration_error",
    "cautions",
    "compare_predictions",
    "evaluate_model",
    "evaluate_scores",
    "exposure_notes",
    "fit_segment_temperature",
    "holm",
    "map_segments",
    "mcnemar_exact",
    "mean_std",
    "pool_predictions",
    "predict_segments",
    "select_threshold",
    "summary_metrics",
    "track_predictions",
]
