"""Features of audio segments: their specification, extraction and cache."""

from genrescope.features.cache import FeatureCache
from genrescope.features.extraction import extract, extract_features
from genrescope.features.spec import (
    EFFICIENTAT,
    FEATURES,
    MUSICNN,
    PAPER_LOG_MEL,
    PAPER_MEANS,
    PAPER_SEQUENCE,
    SPECTROGRAM_LOG_MEL,
    FeatureSpec,
    feature_dimension,
    feature_names,
    segment_frames,
)
from genrescope.features.table import FeatureTable, feature_table

__all__ = [
    "EFFICIENTAT",
    "FEATURES",
    "MUSICNN",
    "PAPER_LOG_MEL",
    "PAPER_MEANS",
    "PAPER_SEQUENCE",
    "SPECTROGRAM_LOG_MEL",
    "FeatureCache",
    "FeatureSpec",
    "FeatureTable",
    "extract",
    "extract_features",
    "feature_dimension",
    "feature_names",
    "feature_table",
    "segment_frames",
]
