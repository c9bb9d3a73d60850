"""Classify damaged files, in full and in excerpts, and say what became of each."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.mutation import mutate
from genrescope import Classifier
from genrescope.errors import GenrescopeError
from genrescope.features import FeatureSpec
from genrescope.models import ModelInfo, ModelOutput
from genrescope.types import FloatArray, Prediction

# Excerpts are slower than the whole file where they take more than this many times as long, and this much.
SLOWER, SLOWER_SECONDS = 3.0, 0.3
ANSWERED = "answered"


class BandModel:
    """A stand-in for a model: the scores of a segment are a softmax of its spectrum in four bands.

    What is not finite in the features is not finite in its scores, and its segments are short, so that files
    of a few seconds are classified in excerpts.
    """

    name = "bands"
    device = "cpu"
    info = ModelInfo(
        name="bands",
        classes=("low", "middle", "high", "highest"),
        features=FeatureSpec("log_mel", sample_rate=22_050, n_fft=1024, hop_length=512, n_mels=64),
        segment_seconds=1.0,
        hop_seconds=1.0,
    )

    def predict(self, features: FloatArray) -> ModelOutput:
        bands = features.reshape(len(features), 4, -1).mean(axis=2).astype(np.float64)
        powers = np.exp(bands / 10 - (bands / 10).max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        nothing = np.zeros((len(features), 0), np.float32)
        return ModelOutput(scores, nothing, nothing, nothing)


@dataclass
class Outcome:
    """What became of one file.

    Attributes
    ----------
    number : int
        With the seed, it determines the file.
    form : str
        Name of the file that was damaged.
    modes : dict of str to str
        ``full`` and ``excerpts``: ``answered``, the code of a typed error, or ``foreign`` or ``not finite``.
    seconds : dict of str to float
        How long each took.
    details : str
        Traceback of a foreign exception.
    """

    number: int
    form: str
    modes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    details: str = ""

    @property
    def is_slow(self) -> bool:
        """Whether excerpts took too long; what is short is timed too badly to tell."""
        full, excerpts = self.seconds.get("full", 0.0), self.seconds.get("excerpts", 0.0)
        return excerpts > SLOWER * full and excerpts - full > SLOWER_SECONDS

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def damaged_file(files: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Return the form and content of one damaged file, determined by ``seed`` and ``number``."""
    random = Random(seed * 1_000_003 + number)
    names = sorted(files)
    name = names[number % len(names)]
    return name, mutate(files[name], files[random.choice(names)], random)


def check(classifier: Classifier, files: dict[str, bytes], seed: int, number: int, path: Path) -> Outcome:
    """Write a damaged file to ``path``, and classify it in both modes."""
    form, content = damaged_file(files, seed, number)
    path.write_bytes(content)
    outcome = Outcome(number, form)
    for mode in ("full", "excerpts"):
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                answer = classifier.predict(path, timeline=True, excerpts=mode == "excerpts")
            outcome.modes[mode] = ANSWERED if is_sound(answer) else "not finite"
            outcome.flags = list(answer.flags)
        except GenrescopeError as failure:
            outcome.modes[mode] = failure.code
        except Exception:
            outcome.modes[mode] = "foreign"
            outcome.details = traceback.format_exc()
        outcome.seconds[mode] = time.perf_counter() - begun
    return outcome


def is_sound(answer: Prediction) -> bool:
    """Return whether all numbers of an answer are finite, and its scores sum to one."""
    assert answer.timeline is not None
    total = sum(answer.scores.values())
    finite = math.isfinite(answer.seconds) and bool(np.isfinite(answer.timeline.scores).all())
    return finite and abs(total - 1) < 1e-3


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the counts of a run as lines of text."""
    lines = [f"{len(outcomes)} files"]
    for mode in ("full", "excerpts"):
        counts = Counter(outcome.modes.get(mode, "not reached") for outcome in outcomes)
        lines.append(f"{mode}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    flags = Counter(flag for outcome in outcomes for flag in outcome.flags)
    lines.append("flags: " + ", ".join(f"{count} {flag}" for flag, count in flags.most_common()))
    slowest = max((max(o.seconds.values(), default=0.0) for o in outcomes), default=0.0)
    lines.append(
        f"foreign exceptions: {len(with_mode(outcomes, 'foreign'))}, "
        f"not finite: {len(with_mode(outcomes, 'not finite'))}, "
        f"crashed or hung: {len(with_mode(outcomes, 'crashed')) + len(with_mode(outcomes, 'hung'))}, "
        f"excerpts slower than {SLOWER:g} times full: {sum(o.is_slow for o in outcomes)}, "
        f"longest: {slowest:.1f} s"
    )
    return "\n".join(lines)


def with_mode(outcomes: Iterable[Outcome], what: str) -> list[Outcome]:
    """Return the outcomes that are ``what`` in one of the modes."""
    return [outcome for outcome in outcomes if what in outcome.modes.values()]


def broken(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes that break a promise, except the one about time."""
    bad = {"foreign", "not finite", "crashed", "hung"}
    return [outcome for outcome in outcomes if bad & set(outcome.modes.values())]
