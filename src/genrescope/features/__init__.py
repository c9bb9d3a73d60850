"""Features of audio segments: their specification, extraction and cache."""

from genrescope.features.cache import FEATURES_VERSION, FeatureCache
from genrescope.features.custom import check_custom, custom_rows, register_feature
from genrescope.features.extraction import extract, extract_features
from genrescope.features.filterbanks import hann_window, mel_bank, slaney_mel_edges
from genrescope.features.fingerprint import (
    FINGERPRINT_SPEC,
    Fingerprint,
    FingerprintBuilder,
    SegmentFingerprint,
    bands_at_speed,
    fingerprint_audio,
    fingerprint_log_mel,
    fingerprint_stream,
    hash_peaks,
)
from genrescope.features.mapped import FeatureWriter, MappedFeatures
from genrescope.features.spec import (
    EFFICIENTAT,
    FEATURES,
    MUSICNN,
    PAPER_LOG_MEL,
    PAPER_MEANS,
    PAPER_SEQUENCE,
    SPECTROGRAM_LOG_MEL,
    STATISTICS,
    FeatureSpec,
    feature_dimension,
    feature_names,
    samples_spec,
    segment_frames,
)
from genrescope.features.table import FeatureTable, feature_table

__all__ = [
    "EFFICIENTAT",
    "FEATURES",
    "FEATURES_VERSION",
    "FINGERPRINT_SPEC",
    "MUSICNN",
    "PAPER_LOG_MEL",
    "PAPER_MEANS",
    "PAPER_SEQUENCE",
    "SPECTROGRAM_LOG_MEL",
    "STATISTICS",
    "FeatureCache",
    "FeatureSpec",
    "FeatureTable",
    "FeatureWriter",
    "Fingerprint",
    "FingerprintBuilder",
    "MappedFeatures",
    "SegmentFingerprint",
    "bands_at_speed",
    "check_custom",
    "custom_rows",
    "extract",
    "extract_features",
    "feature_dimension",
    "feature_names",
    "feature_table",
    "fingerprint_audio",
    "fingerprint_log_mel",
    "fingerprint_stream",
    "hann_window",
    "hash_peaks",
    "mel_bank",
    "register_feature",
    "samples_spec",
    "segment_frames",
    "slaney_mel_edges",
]
