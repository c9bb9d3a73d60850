"""Classification of audio files."""

from genrescope.inference.batch import predict_many
from genrescope.inference.classifier import Classifier

__all__ = [
    "Classifier",
    "predict_many",
]
