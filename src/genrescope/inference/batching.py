"""A model on a GPU, for many threads: segments of several files are computed as one batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from genrescope import features, models
from genrescope.models import Model, ModelOutput
from genrescope.types import FloatArray

# Segments of a batch: two tracks in excerpts. An H100 computes the default model on 4 segments in 3.3 ms and
# on 32 in 4.5, so that 8 are more than the cores around a GPU decode; a larger model needs no more to keep
# it busy, and memory grows with them.
MAX_SEGMENTS = 8


class SegmentScorer(Protocol):
    """What scores the segments of a file in place of a model."""

    def predict(self, samples: FloatArray) -> ModelOutput:
        """Score segments.

        Parameters
        ----------
        samples : ndarray, shape (segments, n), float32
            At the rate of the model.
        """


class BatchedModel:
    """A model whose callers share batches: what arrives while a batch is computed makes the next one.

    There is no thread of its own, and no time to wait for company. Whoever finds the device free computes
    what waits, up to a batch, and hands everyone their rows; those who come meanwhile wait. So a single
    caller is never held up, many callers get large batches, and each has one request here at most, which
    bounds the memory. Nothing has to be closed: a caller that waits becomes the one that computes.

    Log-mel is computed on the device, by torch; what torch cannot compute here is computed by NumPy in the
    caller's thread.

    Parameters
    ----------
    model : Model
        On any device.
    max_segments : int
        Of a batch. A request of more is computed alone, in batches of so many.
    """

    def __init__(self, model: Model, *, max_segments: int = MAX_SEGMENTS) -> None:
        self.model = model
        self._log_mel = models.device_log_mel(model.info, model.device)
        self._max_segments = max_segments
        self._waiting: deque[_Request] = deque()
        self._busy = False
        self._changed = threading.Condition()

    @property
    def takes_samples(self) -> bool:
        """Whether the inputs are samples, and not features that the caller has computed."""
        return self._log_mel is not None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the inputs of one segment."""
        info = self.model.info
        if self.takes_samples:
            return (round(info.segment_seconds * info.features.sample_rate),)
        return self.model.input_shape

    def predict(self, samples: FloatArray) -> ModelOutput:
        """Score segments.

        Parameters
        ----------
        samples : ndarray, shape (segments, n), float32
            At the rate of the model.

        Raises
        ------
        ModelError, DeviceError
            As of `Model.predict`.
        """
        return self.predict_inputs(prepare_inputs(self.model, samples, takes_samples=self.takes_samples))

    def predict_inputs(self, inputs: FloatArray) -> ModelOutput:
        """Score inputs as `prepare_inputs` returns them, together with what other threads wait for.

        Parameters
        ----------
        inputs : ndarray, float32
            Samples or features, the first axis segments.

        Raises
        ------
        ModelError, DeviceError
            As of `Model.predict`.
        """
        request = _Request(inputs)
        with self._changed:
            self._waiting.append(request)
            self._changed.wait_for(lambda: request.is_done or not self._busy)
            if request.is_done:
                return request.result()
            self._busy = True
        try:
            # More than once where more than a batch waits before this request.
            while not request.is_done:
                self._score_next()
        finally:
            with self._changed:
                self._busy = False
                if not request.is_done:  # such as by Ctrl-C in this thread: nobody waits for it
                    self._waiting = deque(other for other in self._waiting if other is not request)
                self._changed.notify_all()
        return request.result()

    def _score_next(self) -> None:
        """Compute the next batch, and wake those whose rows are there."""
        batch = self._take()
        try:
            self._score_batch(batch)
        finally:
            with self._changed:
                self._waiting.extendleft(one for one in reversed(batch) if not one.is_done)
                self._changed.notify_all()

    def _take(self) -> list[_Request]:
        """Take the requests that came first, as many as a batch holds, and at least one."""
        with self._changed:
            batch = [self._waiting.popleft()]
            size = len(batch[0].inputs)
            while self._waiting and size + len(self._waiting[0].inputs) <= self._max_segments:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].inputs)
        return batch

    def _score_batch(self, batch: Sequence[_Request]) -> None:
        if len(batch) > 1:
            try:
                outputs = self._score(np.concatenate([one.inputs for one in batch]))
            except Exception:
                # One of them may be at fault, or the memory be enough for each alone.
                pass
            else:
                ends = np.cumsum([len(one.inputs) for one in batch])[:-1]
                parts = zip(*(np.split(output, ends) for output in outputs), strict=True)
                for one, part in zip(batch, parts, strict=True):
                    one.output = ModelOutput(*part)
                return
        for one in batch:
            try:
                one.output = self._score(one.inputs)
            except Exception as failure:  # whatever it is, the caller whose segments these are is to get it
                one.failure = failure

    def _score(self, inputs: FloatArray) -> ModelOutput:
        found = inputs if self._log_mel is None else self._log_mel(inputs)
        step = self._max_segments
        parts = [
            self._score_padded(found[first : first + step]) for first in range(0, max(1, len(found)), step)
        ]
        return ModelOutput(*(np.concatenate(outputs) for outputs in zip(*parts, strict=True)))

    def _score_padded(self, inputs: FloatArray) -> ModelOutput:
        # Always one size: onnxruntime lets cuDNN plan all convolutions again, which takes two seconds,
        # whenever the size is another than that of the batch before.
        segments = len(inputs)
        padding = np.repeat(inputs[-1:], self._max_segments - segments, axis=0)
        inputs = np.concatenate([inputs, padding])
        return ModelOutput(*(output[:segments] for output in self.model.predict(inputs)))


def prepare_inputs(model: Model, samples: FloatArray, *, takes_samples: bool) -> FloatArray:
    """Return what `BatchedModel.predict_inputs` is given for segments.

    Parameters
    ----------
    model : Model
        Its description counts, and not its device.
    samples : ndarray, shape (segments, n), float32
        At the rate of the model.
    takes_samples : bool
        As of `BatchedModel`.
    """
    spec = model.info.features
    return samples if takes_samples else features.extract(samples, spec.sample_rate, spec)


class _Request:
    """Segments that a thread waits for: their outputs, or the error."""

    def __init__(self, inputs: FloatArray) -> None:
        self.inputs = inputs
        self.output: ModelOutput | None = None
        self.failure: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.output is not None or self.failure is not None

    def result(self) -> ModelOutput:
        if self.output is not None:
            return self.output
        assert self.failure is not None
        raise self.failure
