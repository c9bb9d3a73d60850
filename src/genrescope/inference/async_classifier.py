"""Classification from asyncio programs: a bounded number of threads, and of files that are open at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Self, TypeVar

from genrescope import audio, models
from genrescope.errors import ConfigError, DeviceError, GenrescopeError
from genrescope.inference.classifier import Classifier
from genrescope.types import Audio, FailedFile, FloatArray, Prediction

_Result = TypeVar("_Result")


class AsyncClassifier:
    """A classifier for asyncio programs: the event loop stays free while threads decode and classify.

    Decoding, features and the network release the interpreter's lock for most of their time, and a
    `Classifier` may be used by any number of threads, so that one model serves all of them. What is asked
    for beyond the number of threads waits without a thread of its own. A call that is canceled gives its
    place back as soon as its file is done: a thread cannot be stopped in the middle. Files of strangers
    belong into worker processes instead, which can be: see ``genrescope serve``.

    Parameters
    ----------
    classifier : Classifier
        What classifies.
    workers : int
        Threads: how many files are classified at the same time.

    Raises
    ------
    ConfigError
        ``invalid_argument``: fewer than one thread.

    Examples
    --------
    >>> async with AsyncClassifier.from_pretrained(workers=2) as classifier:
    ...     prediction = await classifier.predict("song.mp3")
    """

    def __init__(self, classifier: Classifier, *, workers: int = 2) -> None:
        if workers < 1:
            raise ConfigError("invalid_argument", f"workers = {workers}", "give at least one thread")
        self.classifier = classifier
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="genrescope")

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str] = models.DEFAULT,
        *,
        workers: int = 2,
        threshold: float | None = None,
        device: str = "cpu",
    ) -> Self:
        """Open a model.

        Parameters
        ----------
        name : str or PathLike
            As of `Classifier.from_pretrained`.
        workers : int
            Threads: how many files are classified at the same time.
        threshold : float, optional
            The score below which a result is uncertain; None: the model's own.
        device : {"cpu", "cuda", "auto"}
            As of `Classifier.from_pretrained`. What several threads ask a GPU for is computed as one batch:
            have at least one thread for each core, which decode.

        Raises
        ------
        ModelError, ConfigError, MissingDependencyError, DownloadError
            As of `Classifier.from_pretrained`.
        """
        return cls(Classifier.from_pretrained(name, threshold=threshold, device=device), workers=workers)

    async def predict(
        self,
        source: audio.Source | audio.Samples,
        *,
        sample_rate: int | None = None,
        timeline: bool = False,
        strict: bool = False,
        excerpts: bool = False,
        max_seconds: float | None = None,
        embedding: bool = False,
    ) -> Prediction:
        """Rank the genres of one piece of music.

        Parameters
        ----------
        source, sample_rate, timeline, strict, excerpts, max_seconds, embedding
            As of `Classifier.predict`.

        Raises
        ------
        AudioError, ConfigError
            As of `Classifier.predict`.
        """
        return await self._run(
            partial(
                self.classifier.predict,
                source,
                sample_rate=sample_rate,
                timeline=timeline,
                strict=strict,
                excerpts=excerpts,
                max_seconds=max_seconds,
                embedding=embedding,
            )
        )

    async def embed(
        self,
        source: audio.Source | audio.Samples,
        *,
        sample_rate: int | None = None,
        per_segment: bool = False,
        strict: bool = False,
        excerpts: bool = False,
    ) -> FloatArray:
        """Return the embedding of one piece of music.

        Parameters
        ----------
        source, sample_rate, per_segment, strict, excerpts
            As of `Classifier.embed`.

        Returns
        -------
        ndarray, float32
            As of `Classifier.embed`.

        Raises
        ------
        ModelError, AudioError, ConfigError
            As of `Classifier.embed`.
        """
        return await self._run(
            partial(
                self.classifier.embed,
                source,
                sample_rate=sample_rate,
                per_segment=per_segment,
                strict=strict,
                excerpts=excerpts,
            )
        )

    async def predict_many(
        self,
        paths: Iterable[audio.Source | Audio],
        *,
        timeline: bool = False,
        strict: bool = False,
        excerpts: bool = False,
    ) -> AsyncIterator[Prediction | FailedFile]:
        """Classify many files, several at a time: what fails becomes a row with the error.

        At most two files for each thread are taken from ``paths`` ahead of the row that is awaited.

        Parameters
        ----------
        paths : iterable of str, PathLike, bytes, binary file or Audio
            As of `Classifier.predict_many`.
        timeline, strict, excerpts : bool
            As of `Classifier.predict`.

        Yields
        ------
        Prediction or FailedFile
            One for each path, in order.

        Raises
        ------
        DeviceError
            ``device_failed``: the GPU failed, which no file is the cause of.
        """

        async def row(path: audio.Source | Audio) -> Prediction | FailedFile:
            try:
                return await self.predict(path, timeline=timeline, strict=strict, excerpts=excerpts)
            except DeviceError:
                raise
            except GenrescopeError as failure:
                return FailedFile(audio.source_name(path), **failure.to_dict())

        ahead: deque[asyncio.Task[Prediction | FailedFile]] = deque()
        try:
            for path in paths:
                ahead.append(asyncio.create_task(row(path)))
                if len(ahead) >= 2 * self._workers:
                    yield await ahead.popleft()
            while ahead:
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _run(self, function: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def aclose(self) -> None:
        """Wait for the files that are being classified, and end the threads."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
