"""Time and memory of the audit's search for near-duplicates, and the cost of its fingerprints.

Run: python benchmarks/audit.py search [--tracks 1000 10000 100000] [--threads 2]
     python benchmarks/audit.py fingerprint [AUDIO FILE ...]
     python benchmarks/audit.py scan [AUDIO FILE ...]

``search``: synthetic fingerprints of 30 s, bars of repeated notes, of which at least as many pairs agree by
chance as of music. One track in a hundred has a copy with a quarter of its peaks replaced, another start, and
one in two another speed. Each size runs in a process of its own; memory is its peak beyond what the packed
fingerprints took before the search.

``fingerprint``: CPU time of decoding files at their own rate, of decoding and fingerprinting them, and of all
measurements of the audit without and with fingerprints; without files, one is synthesized as MP3.

``scan``: CPU time of classifying files, in full and in excerpts, without and with the fingerprint that a scan
of a library keeps; without files, one of four minutes is synthesized.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import base64
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from genrescope import Classifier, audio
from genrescope.audit import examine_file, find_near_duplicates
from genrescope.audit.near_duplicates import FINGERPRINT, FingerprintExtractor, PackedFingerprints
from genrescope.features import Fingerprint

SECONDS, FRAMES_PER_SECOND, PEAKS_PER_SECOND = 30.0, 24.125, 9.6
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
TEMPOS, DRUMS = (80, 90, 100, 110, 120, 125, 128, 140), (3.0, 8.0, 52.0, 68.0, 90.0, 112.0)
# Semitones from 110 Hz, in mel bands: a fourth of a band apart at first, then two.
PITCHES = np.unique(np.concatenate([np.arange(2.0, 30.0, 0.6), np.arange(30.0, 100.0, 1.6)]))
# A piece plays more on its beats.
ACCENTS = np.array([6, 1, 2, 1] * 4) / 40
COPY_SHARE, REPLACED_SHARE = 0.01, 0.25
RUNS = 9


def synthesize(generator: np.random.Generator) -> Fingerprint:
    """Synthesize the peaks of a piece: drums and notes of a scale, in bars that are repeated with changes."""
    tempo = generator.choice(TEMPOS) if generator.random() < 0.5 else generator.uniform(70, 170)
    step = 60 / tempo / 4 * FRAMES_PER_SECOND
    bar = 16 * step
    bars = int(np.ceil(SECONDS * FRAMES_PER_SECOND / bar))
    notes = max(round(PEAKS_PER_SECOND * bar / FRAMES_PER_SECOND), 1)
    scale = generator.choice(PITCHES, generator.integers(3, 12))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        drum = generator.random(count) < drums
        bands = np.where(drum, generator.choice(DRUMS, count), generator.choice(scale, count))
        return generator.choice(16, count, p=ACCENTS), bands

    drums, changes = generator.uniform(0, 0.8), generator.uniform(0.1, 0.8)
    steps, bands = (np.tile(values, (bars, 1)) for values in draw(notes))
    changed = generator.random((bars, notes)) < changes
    steps[changed], bands[changed] = draw(int(changed.sum()))
    frames = steps * step + np.arange(bars)[:, np.newaxis] * bar + generator.normal(0, 0.25, steps.shape)
    return arranged(bands.ravel() + generator.normal(0, 0.2, bands.size), frames.ravel(), SECONDS)


def arranged(bands: np.ndarray, frames: np.ndarray, seconds: float) -> Fingerprint:
    inside = (frames >= 0) & (frames < seconds * FRAMES_PER_SECOND) & (bands >= 0.5) & (bands < 126.5)
    order = np.argsort(frames[inside], kind="stable")
    return Fingerprint(
        bands[inside][order].astype(np.float32), frames[inside][order].astype(np.float32), seconds
    )


def copied(original: Fingerprint, generator: np.random.Generator) -> Fingerprint:
    """Return a bad copy: peaks replaced, moved a little, up to 5 s cut off, every other one 3 % faster."""
    copy = original.at_speed(1.03) if generator.random() < 0.5 else original
    n = len(copy)
    bands, frames = copy.bands + generator.normal(0, 0.2, n), copy.frames + generator.normal(0, 0.3, n)
    replaced = generator.random(n) < REPLACED_SHARE
    bands[replaced] = generator.uniform(1, 125, replaced.sum())
    start = generator.uniform(0, 5) * FRAMES_PER_SECOND
    return arranged(bands, frames - start, copy.seconds - start / FRAMES_PER_SECOND)


def packed(fingerprint: Fingerprint) -> str:
    return base64.b64encode(fingerprint.pack()).decode()


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def search(tracks: int, threads: int) -> None:
    """Time the search among so many tracks, and print one row of the table."""
    generator = np.random.default_rng(0)
    copies = round(tracks * COPY_SHARE)
    originals = [synthesize(generator) for _ in range(tracks - copies)]
    texts = [packed(one) for one in originals]
    texts += [packed(copied(originals[number], generator)) for number in range(copies)]
    del originals
    before, wall, cpu = megabytes(), time.perf_counter(), time.process_time()
    found = find_near_duplicates(PackedFingerprints(texts, base64.b64decode), threads=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    planted = sum(one.second == one.first + tracks - copies for one in found)
    print(
        f"{tracks:>8,} {wall:>8.1f} {cpu:>8.1f} {megabytes() - before:>8.0f} {before:>8.0f}"
        f"   {planted}/{copies} {len(found) - planted:>6}",
        flush=True,
    )


def scan(paths: list[str]) -> None:
    """Print how much longer files take to classify with a fingerprint."""
    classifier = Classifier.from_pretrained()
    audio.import_decoders()
    with tempfile.TemporaryDirectory() as folder:
        paths = paths or [synthesized_mp3(folder, seconds=240)]
        ratios = []
        print("milliseconds of CPU time for a file, and ratios")
        for path in paths:
            row = []
            for excerpts in (False, True):
                tasks = [
                    partial(classifier.predict, path, excerpts=excerpts, fingerprint=keep)
                    for keep in (False, True)
                ]
                without, kept = least_times(tasks)
                row += [without, kept, kept / without]
            ratios.append((row[2], row[5]))
            print(
                "  ".join(f"{1000 * a:>7.0f} {1000 * b:>7.0f} {c:>6.3f}" for a, b, c in (row[:3], row[3:])),
                Path(path).name,
                flush=True,
            )
        medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
        print(f"median ratios: {medians[0]:.3f} in full, {medians[1]:.3f} in excerpts")


def least_times(tasks: list[Callable[[], object]]) -> list[float]:
    """Return the least CPU times of some runs, in turns."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(RUNS):
        for task, taken in zip(tasks, seconds, strict=True):
            start = time.process_time()
            task()
            taken.append(time.process_time() - start)
    return [min(taken) for taken in seconds]


class Times(NamedTuple):
    """CPU seconds for one file."""

    decoding: float
    with_fingerprint: float
    audit: float
    audit_with_fingerprint: float


def measure(path: str) -> Times:
    """Return the least CPU times of some runs, in turns."""

    def decode(extract: bool) -> None:
        with audio.AudioFile(path) as file:
            extractor = FingerprintExtractor(path, file.info) if extract else None
            with file.stream() as stream:
                for block in stream:
                    if extractor is not None:
                        extractor.add(block)
            if extractor is not None:
                extractor.result()

    tasks: list[Callable[[], object]] = [
        lambda: decode(False),
        lambda: decode(True),
        lambda: examine_file(path),
        lambda: examine_file(path, {FINGERPRINT: FingerprintExtractor}),
    ]
    return Times(*least_times(tasks))


def synthesized_mp3(folder: str, seconds: int = 60) -> str:
    rate = 44_100
    axis = np.arange(rate * seconds) / rate
    chord = sum(np.sin(2 * np.pi * 110 * ratio * axis) / ratio for ratio in (1, 2, 2.5, 3, 4, 5, 7))
    noise = np.random.default_rng(0).standard_normal((len(axis), 2))
    path = f"{folder}/music.mp3"
    soundfile.write(path, 0.1 * (chord * np.exp(-4 * (axis % 0.5)))[:, np.newaxis] + 0.02 * noise, rate)
    return path


def fingerprint(paths: list[str]) -> None:
    """Print what fingerprints cost for each file."""
    audio.import_decoders()
    with tempfile.TemporaryDirectory() as folder:
        paths = paths or [synthesized_mp3(folder)]
        ratios = []
        print("milliseconds of CPU time for a minute of sound, and ratios")
        print(f"{'decode':>8} {'+ print':>8} {'ratio':>6} {'audit':>8} {'+ print':>8} {'ratio':>6}")
        for path in paths:
            times = measure(path)
            minutes = (audio.info(path).seconds or 60) / 60
            shown = [1000 * one / minutes for one in times]
            ratios.append((shown[1] / shown[0], shown[3] / shown[2]))
            print(
                f"{shown[0]:>8.0f} {shown[1]:>8.0f} {ratios[-1][0]:>6.2f}"
                f" {shown[2]:>8.0f} {shown[3]:>8.0f} {ratios[-1][1]:>6.2f}  {Path(path).name}",
                flush=True,
            )
        medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
        print(
            f"median ratios: {medians[0]:.2f} of decoding, {medians[1]:.2f} of the audit's own measurements"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    searching = commands.add_parser("search")
    searching.add_argument("--tracks", type=int, nargs="*", default=SIZES)
    searching.add_argument("--threads", type=int, default=2)
    searching.add_argument("--one", type=int, help=argparse.SUPPRESS)
    for name in ("fingerprint", "scan"):
        commands.add_parser(name).add_argument("paths", nargs="*")
    options = parser.parse_args()
    if options.command == "fingerprint":
        fingerprint(options.paths)
    elif options.command == "scan":
        scan(options.paths)
    elif options.one:
        search(options.one, options.threads)
    else:
        print(f"{'tracks':>8} {'wall s':>8} {'CPU s':>8} {'MB':>8} {'before':>8}   planted  other")
        for size in options.tracks:
            subprocess.run(
                [sys.executable, __file__, "search", "--one", str(size), "--threads", str(options.threads)],
                check=True,
            )


if __name__ == "__main__":
    main()
