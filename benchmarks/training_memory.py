"""Measure the memory that training needs on a data set that is larger than memory.

Run: python benchmarks/training_memory.py [--tracks N] [--seconds N] [--epochs N] [--folder DIR]

The features of synthetic songs are written by the class that training writes them with, under the name by
which `genrescope.training.train` looks for them; from there on everything is as in `genrescope train`. With
``--decode N`` the same is done with N songs that are written as WAV files, decoded and analyzed, and nothing
is prepared. Prints the largest memory of this process: all of it, and without the pages of mapped files,
which the system can take back at any time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from genrescope import audio, datasets, features, training
from genrescope.datasets import Dataset
from genrescope.datasets.feature_files import FeatureFile
from genrescope.features import FeatureWriter, MappedFeatures
from genrescope.training.builders import create_builder
from genrescope.types import FloatArray, Track

GENRES = ("bright", "dark", "even", "peaked")
RATE = 22050


class PeakMemory(threading.Thread):
    """Samples this process's memory until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.all = self.own = 0
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Sample the memory, fifty times a second."""
        while not self._stop_event.wait(0.02):
            resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
            self.all = max(self.all, resident * 4096)
            self.own = max(self.own, (resident - shared) * 4096)

    def stop(self) -> None:
        """End the sampling."""
        self._stop_event.set()
        self.join()


def spectrum(genre: int, bands: int) -> FloatArray:
    """Return a mean spectrum in dB, another one for each genre."""
    place = np.linspace(0, 1, bands, dtype=np.float32)
    shapes = (30 * place, -30 * place, 0 * place, 20 * np.exp(-((place - 0.5) ** 2) / 0.02))
    return (shapes[genre] - 40).astype(np.float32)


def synthetic_features(
    folder: Path, store: Path, count: int, seconds: float, config: training.Config
) -> Dataset:
    """Write features of songs that do not exist, and the index that training finds them by."""
    spec = create_builder(config).feature_spec()
    columns = 1 + int(seconds * RATE) // spec.hop_length
    tracks = []
    for number in range(count):
        path = folder / f"{number:05}.wav"
        path.write_bytes(b"")
        genre = GENRES[number % len(GENRES)]
        tracks.append(Track(f"{genre} {number:05}", path, genre, f"artist {number // 8}"))
    dataset = Dataset("synthetic", tuple(tracks), GENRES)
    data = config.data
    options = [data.segment_seconds, data.hop_seconds, data.segments_per_track, False]
    file = FeatureFile.of(store, dataset.tracks, spec, options)
    starts, weights = audio.segment_grid(
        (columns - 1) * spec.hop_length / RATE, seconds=data.segment_seconds, hop_seconds=None
    )
    last = columns - features.segment_frames(spec, data.segment_seconds)
    starts, weights = (part[: data.segments_per_track or None] for part in (starts, weights))
    grid = (np.minimum(np.round(starts * RATE / spec.hop_length).astype(np.int64), last), weights)
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 6, (spec.n_mels, columns + 1000)).astype(np.float32)
    with FeatureWriter(file.path, memory_limit=0) as writer:
        for number in range(count):
            shift = int(generator.integers(1000))
            level = spectrum(number % len(GENRES), spec.n_mels)[:, None]
            writer.append(noise[:, shift : shift + columns] + level)
        written = writer.finish()
    assert isinstance(written, MappedFeatures)
    file.save_index(dataset.tracks, written, [grid] * count, [])
    print(f"features: {file.path.stat().st_size / 1e9:.1f} GB, {columns} columns of {spec.n_mels} a song")
    return dataset


def synthetic_audio(folder: Path, count: int, seconds: float) -> Dataset:
    """Write songs of noise, colored by genre."""
    generator = np.random.default_rng(0)
    for number in range(count):
        genre = number % 2
        path = folder / GENRES[genre] / f"artist {number // 8}" / f"{number:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = generator.normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
        soundfile.write(path, sound if genre else np.diff(sound, append=np.float32(0)), RATE)
    return datasets.load_dataset(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=240.0, help="length of a song")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--crops", type=int, default=1, help="crops of each song in an epoch")
    parser.add_argument("--segments", type=int, default=4, help="of each song, to validate and test on")
    parser.add_argument("--decode", type=int, default=0, help="write and decode so many songs instead")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--memory-limit-mb", type=int, default=64, help="of features, with --decode")
    parser.add_argument("--folder", type=Path, help="where the files go for the time being")
    options = parser.parse_args()
    config = training.load_config(
        "cnn",
        [
            f"train.epochs={options.epochs}",
            f"augment.crops_per_track={options.crops}",
            f"data.segments_per_track={options.segments}",
            "split.protocol=artist-grouped",
        ],
    )
    folder = Path(tempfile.mkdtemp(prefix="training-memory-", dir=options.folder))
    memory = PeakMemory()
    memory.start()
    try:
        started = time.perf_counter()
        music = folder / "music"
        music.mkdir()
        if options.decode:
            dataset = synthetic_audio(music, options.decode, options.seconds)
        else:
            dataset = synthetic_features(
                music, folder / "cache" / "datasets", options.tracks, options.seconds, config
            )
        prepared = time.perf_counter()
        print(f"{len(dataset.tracks)} songs of {options.seconds:g} s prepared in {prepared - started:.0f} s")
        run = training.train(
            dataset,
            config,
            folder / "run",
            cache=folder / "cache",
            device="cpu",
            memory_limit=options.memory_limit_mb << 20,
            workers=options.workers,
        )
        print(f"trained and evaluated in {time.perf_counter() - prepared:.0f} s")
        print(f"test accuracy {run.evaluation.levels[0].accuracy.value:.3f}")
        kept = list((folder / "cache" / "datasets").glob("*.npy"))
        print(f"mapped file: {sum(file.stat().st_size for file in kept) / 1e9:.2f} GB")
    finally:
        memory.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"largest memory: {memory.all / 1e9:.2f} GB, without mapped files {memory.own / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
