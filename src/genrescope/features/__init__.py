"""Features of audio segments: their specification, extraction and cache."""

from genrescope.features.cache import get_or_compute
from genrescope.features.extraction import (
    EFFICIENTAT,
    FEATURES,
    PAPER_LOG_MEL,
    PAPER_MEANS,
    PAPER_SEQUENCE,
    SPECTROGRAM_LOG_MEL,
    FeatureSpec,
    extract,
    feature_dimension,
    segment_frames,
)

__all__ = [
    "EFFICIENTAT",
    "FEATURES",
    "PAPER_LOG_MEL",
    "PAPER_MEANS",
    "PAPER_SEQUENCE",
    "SPECTROGRAM_LOG_MEL",
    "FeatureSpec",
    "extract",
    "feature_dimension",
    "get_or_compute",
    "segment_frames",
]
