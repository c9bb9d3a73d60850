"""What a file sounds like, as features over time: for a look at one's data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genrescope import audio, features
from genrescope.features import FeatureSpec
from genrescope.reporting import figures
from genrescope.types import Audio, FloatArray

MOST_SECONDS = 600.0


def plot_features(path: Path) -> str:
    """Draw the features of a file's first ten minutes, as SVG.

    Raises
    ------
    AudioError
        The file cannot be decoded; see ``audio.load``.
    MissingDependencyError
        ``missing_dependency`` without matplotlib.
    """
    clip = audio.load_audio(path, sample_rate=22050, duration=MOST_SECONDS)
    drawn = {"waveform": clip.samples, "log_mel": _compute(clip, features.PAPER_LOG_MEL)}
    rows = _compute(clip, FeatureSpec("sequence", features=features.FEATURES)).T
    for name in features.FEATURES:
        drawn[name], rows = np.split(
            rows, [features.feature_dimension(FeatureSpec("sequence", features=(name,)))]
        )
    return figures.features_figure(drawn, clip.seconds, path.name)


def _compute(clip: Audio, spec: FeatureSpec) -> FloatArray:
    computed: FloatArray = features.extract(clip.samples[None], clip.sample_rate, spec)[0]
    return computed
