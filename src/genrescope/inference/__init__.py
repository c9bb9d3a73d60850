"""Classification of audio files."""

from genrescope.inference.classifier import Classifier

__all__ = ["Classifier"]
