"""One classifier for many threads, and for asyncio programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile

from genrescope import AsyncClassifier, Classifier
from genrescope.errors import AudioError, ConfigError
from genrescope.types import FailedFile, Prediction
from helpers.small_data import RATE, drone, hiss
from helpers.sounds import LOSSY, noise, tone


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return files of several formats and rates, one of which is damaged."""
    folder = tmp_path_factory.mktemp("songs")
    paths = []
    for number in range(4):
        paths += [folder / f"{number}.wav", folder / f"{number}.flac"]
        soundfile.write(paths[-2], drone(4.0, number), RATE)
        soundfile.write(paths[-1], hiss(5.0, number), RATE)
    for name, write in LOSSY.items():
        paths.append(folder / f"other.{name.split('-')[0]}")
        write(paths[-1], tone(3.0, 48000, channels=2) + noise(3.0, 48000, channels=2), 48000)
    paths.append(folder / "damaged.mp3")
    paths[-1].write_bytes(b"no music")
    return paths


def row(result: Prediction | FailedFile) -> dict[str, Any]:
    return result.to_dict()


@pytest.mark.parametrize("model", ["little", "default"])
def test_many_threads_get_the_rows_of_one(model: str, songs: list[Path], little_model: Path) -> None:
    classifier = Classifier.from_pretrained(little_model if model == "little" else "default")
    expected = [row(one) for one in classifier.predict_many(songs, timeline=True)]
    start = threading.Barrier(6)

    def work(first: int) -> list[dict[str, Any]]:
        order = [*songs[first:], *songs[:first]]
        start.wait()
        found = [row(one) for one in classifier.predict_many(order, timeline=True)]
        return found[len(songs) - first :] + found[: len(songs) - first]

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(work, range(6)):
            assert found == expected


def test_asyncio_gets_the_same_rows_in_order(songs: list[Path], little_model: Path) -> None:
    plain = Classifier.from_pretrained(little_model)
    expected = [row(one) for one in plain.predict_many(songs)]
    vector = plain.embed(songs[0]) if plain.model.info.embedding_size else None

    async def main() -> None:
        async with AsyncClassifier(plain, workers=3) as classifier:
            assert [row(one) async for one in classifier.predict_many(songs)] == expected
            both = await asyncio.gather(*(classifier.predict(path) for path in songs[:4]))
            assert [row(one) for one in both] == expected[:4]
            with pytest.raises(AudioError, match=r"damaged\.mp3"):
                await classifier.predict(songs[-1])
            if vector is not None:
                assert (await classifier.embed(songs[0]) == vector).all()

    asyncio.run(main())


class Gate(Classifier):
    """A classifier that counts its calls, and waits until it is told to go on."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.most = 0
        self._lock = threading.Lock()

    def predict(self, source: Any, **options: Any) -> Prediction:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.opened.wait()
        with self._lock:
            self.running -= 1
        return Prediction(path=str(source), scores={"a": 1.0}, seconds=1.0, model="gate")


def test_no_more_files_at_a_time_than_threads() -> None:
    gate = Gate()
    taken: list[str] = []

    def paths() -> Iterator[str]:
        for number in range(20):
            taken.append(str(number))
            yield taken[-1]

    async def main() -> list[str]:
        async with AsyncClassifier(gate, workers=2) as classifier:
            rows = classifier.predict_many(paths())
            first = asyncio.ensure_future(anext(rows))
            await asyncio.to_thread(gate.begun.acquire)
            await asyncio.to_thread(gate.begun.acquire)
            assert len(taken) == 4  # two for each thread
            gate.opened.set()
            return [(await first).path, *[one.path async for one in rows]]

    assert asyncio.run(main()) == [str(number) for number in range(20)]
    assert gate.most == 2


def test_a_canceled_call_keeps_its_place_until_its_file_is_done() -> None:
    gate = Gate()

    async def main() -> None:
        async with AsyncClassifier(gate, workers=1) as classifier:
            call = asyncio.create_task(classifier.predict("one"))
            await asyncio.to_thread(gate.begun.acquire)
            call.cancel()
            other = asyncio.create_task(classifier.predict("two"))
            await asyncio.sleep(0)
            assert gate.running == 1
            gate.opened.set()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await other).path == "two"

    asyncio.run(main())
    assert gate.most == 1


def test_a_pool_without_threads_is_refused(little_model: Path) -> None:
    with pytest.raises(ConfigError, match="workers = 0"):
        AsyncClassifier.from_pretrained(little_model, workers=0)
