"""Features of audio segments: their specification, extraction and cache."""

from genrescope.features.cache import FEATURES_VERSION, FeatureCache
from genrescope.features.extraction import extract, extract_features
from genrescope.features.mapped import FeatureWriter, MappedFeatures
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

__all__ = [
    "EFFICIENTAT",
    "FEATURES",
    "FEATURES_VERSION",
    "MUSICNN",
    "PAPER_LOG_MEL",
    "PAPER_MEANS",
    "PAPER_SEQUENCE",
    "SPECTROGRAM_LOG_MEL",
    "FeatureCache",
    "FeatureSpec",
    "FeatureWriter",
    "MappedFeatures",
    "extract",
    "extract_features",
    "feature_dimension",
    "feature_names",
    "segment_frames",
]
