"""Changes to audio and spectrograms that leave the genre as it is."""

from genrescope.augmentation.effects import gain, limit, mix
from genrescope.augmentation.random_effects import apply_random_effects
from genrescope.augmentation.spectrogram import mixup, random_eq, random_lowpass, spec_augment

__all__ = [
    "apply_random_effects",
    "gain",
    "limit",
    "mix",
    "mixup",
    "random_eq",
    "random_lowpass",
    "spec_augment",
]
