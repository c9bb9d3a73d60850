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
    check_task,
    evaluate_model,
    map_segments,
    predict_segments,
    summary_metrics,
)
from genrescope.evaluation.metrics import calibration_error
from genrescope.evaluation.multilabel import (
    HierarchicalMetrics,
    LabelLevelResult,
    LabelMetrics,
    ThresholdF1,
    fit_label_temperature,
    select_label_thresholds,
)
from genrescope.evaluation.overlap import exposure_notes
from genrescope.evaluation.predictions import Predictions, pool_predictions, track_predictions
from genrescope.evaluation.ranking import ranking_precision
from genrescope.evaluation.results import (
    LEAKY,
    Evaluation,
    Interval,
    LevelResult,
    ScoredRows,
    evaluate_label_scores,
    evaluate_scores,
    mean_std,
)

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
    "HierarchicalMetrics",
    "Interval",
    "LabelLevelResult",
    "LabelMetrics",
    "LevelResult",
    "ModelSummary",
    "PairedDifference",
    "Predictions",
    "ScoredRows",
    "Threshold",
    "ThresholdF1",
    "align_rows",
    "average_by_track",
    "calibration_error",
    "cautions",
    "check_task",
    "compare_predictions",
    "evaluate_label_scores",
    "evaluate_model",
    "evaluate_scores",
    "exposure_notes",
    "fit_label_temperature",
    "fit_segment_temperature",
    "holm",
    "map_segments",
    "mcnemar_exact",
    "mean_std",
    "pool_predictions",
    "predict_segments",
    "ranking_precision",
    "select_label_thresholds",
    "select_threshold",
    "summary_metrics",
    "track_predictions",
]
