"""Measure tracks a second on a GPU and on the CPU, with decoding in threads and in processes.

Run: python benchmarks/gpu.py AUDIO... [--model NAME] [--jobs N] [--repeat N] [--full]

AUDIO: files and folders; those that cannot be classified are left out first. All files are classified with
`--jobs` threads (`Classifier.predict_many`) and with as many worker processes (`GenreActor`), on the CPU and,
where onnxruntime-gpu finds one, on a GPU: tracks a second, the ratio to the CPU with threads, and the largest
difference of a score. Before that, log-mel by torch against NumPy, and what it takes to send segments to the
process that scores. The name of the card is printed, or that there is none.

Five minutes are enough for 16 cores and --repeat 100 with the music of examples/demo_music.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnxruntime

from genrescope import Classifier, audio, features, load_audio, models
from genrescope.distributed import ActorOptions, GenreActor
from genrescope.distributed.scoring import RemoteScorer, ScoringServer
from genrescope.errors import MissingDependencyError
from genrescope.inference import BatchedModel
from genrescope.models import Model, device_log_mel
from genrescope.types import FloatArray, Prediction

Scores = dict[str, dict[str, float]]
SEGMENTS = 4  # of a request, as of a file that is classified in full
ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", nargs="+", type=Path)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=1, help="how often each file is classified")
    parser.add_argument("--full", action="store_true", help="all of every track, in place of excerpts")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, onnxruntime {onnxruntime.__version__}")
    cpu = models.load_model(options.model)
    gpu = open_gpu(options.model)
    files = usable(cpu, audio.audio_files(options.audio))
    compare_features(cpu, gpu, files)
    measure_transfer(cpu, files)
    compare_devices(options, ("cpu",) if gpu is None else ("cpu", "cuda"), [str(path) for path in files])


def open_gpu(name: str) -> Model | None:
    """Open the model on the GPU, and print which it is; None where there is none."""
    try:
        model = models.load_model(name, device="cuda")
    except MissingDependencyError as reason:
        print(f"no GPU is measured: {reason}")
        return None
    log_mel = device_log_mel(model.info, model.device)
    print(f"GPU: {card()}; log-mel on it: {'yes, by torch' if log_mel else 'no, by NumPy'}")
    return model


def card() -> str:
    try:
        import torch

        return torch.cuda.get_device_name()
    except (ImportError, RuntimeError, AssertionError):
        return "its name is not known without torch for CUDA"


def usable(model: Model, paths: Iterable[Path]) -> list[Path]:
    rows = Classifier(model).predict_many(paths, excerpts=True)
    files = [Path(row.path) for row in rows if isinstance(row, Prediction)]
    if not files:
        raise SystemExit("none of the files can be classified")
    return files


def segments_of(model: Model, files: list[Path]) -> FloatArray:
    """Return the first segments of the files, at most 64."""
    info = model.info
    size = round(info.segment_seconds * info.features.sample_rate)
    clips = [load_audio(path, sample_rate=info.features.sample_rate).samples for path in files[:16]]
    starts = range(0, SEGMENTS * size, size)
    return np.stack([np.resize(clip[first : first + size], size) for clip in clips for first in starts
                     if first < len(clip)])  # fmt: skip


def milliseconds(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median time of each, which are timed in turn."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def largest(one: FloatArray, other: FloatArray) -> float:
    return float(np.abs(one - other).max(initial=0))


def compare_features(cpu: Model, gpu: Model | None, files: list[Path]) -> None:
    spec, samples = cpu.info.features, segments_of(cpu, files)
    by_torch = device_log_mel(cpu.info, "cpu")
    if by_torch is None:
        print("log-mel by torch: not for this model, or torch is not installed")
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = samples[:SEGMENTS]
    timed = {
        "NumPy": lambda: features.extract(batch, spec.sample_rate, spec),
        "torch": lambda: by_torch(batch),
    }
    on_gpu = None if gpu is None else device_log_mel(gpu.info, gpu.device)
    if on_gpu is not None:
        timed["torch on the GPU"] = lambda: on_gpu(batch)
    found = milliseconds(timed)
    expected = cpu.predict(features.extract(samples, spec.sample_rate, spec)).scores
    print(f"log-mel of {len(batch)} segments, one thread; differences over {len(samples)} segments:")
    for name, value in found.items():
        log_mel = {"torch": by_torch, "torch on the GPU": on_gpu}.get(name)
        print(f"  {name}: {value:.2f} ms, {found['NumPy'] / value:.2f} times as fast as NumPy", end="")
        if log_mel is not None:
            computed = log_mel(samples)
            decibels = largest(computed, features.extract(samples, spec.sample_rate, spec))
            scores = largest(cpu.predict(computed).scores, expected)
            print(f"; largest difference {decibels:.1e} of log-mel, {scores:.1e} of a score", end="")
        print()
    torch.set_num_threads(threads)


def measure_transfer(cpu: Model, files: list[Path]) -> None:
    """Time a request over the connection of worker processes, against the same without it."""
    batched = BatchedModel(cpu)
    server = ScoringServer(batched)
    scorer = RemoteScorer(cpu, **server.address)
    samples = segments_of(cpu, files)[:SEGMENTS]
    sent = "samples" if batched.takes_samples else "features"
    found = milliseconds(
        {"here": lambda: batched.predict(samples), "sent": lambda: scorer.predict(samples),
         "decode": lambda: load_audio(files[0], sample_rate=cpu.info.features.sample_rate)}
    )  # fmt: skip
    seconds = load_audio(files[0]).seconds
    decoding = found["decode"] * len(samples) * cpu.info.segment_seconds / seconds
    print(
        f"{len(samples)} segments scored on the CPU: {found['here']:.1f} ms in the same process,"
        f" {found['sent']:.1f} ms over a connection ({sent}); decoding as many seconds of {files[0].name}:"
        f" {decoding:.1f} ms"
    )
    server.close()


def compare_devices(options: argparse.Namespace, devices: tuple[str, ...], files: list[str]) -> None:
    paths, excerpts = files * options.repeat, not options.full
    rates: dict[tuple[str, str], float] = {}
    expected: Scores = {}
    print(f"{len(paths)} tracks, {'in excerpts' if excerpts else 'in full'}:")
    for device in devices:
        for kind, classify in (("threads", in_threads), ("processes", in_processes)):
            rate, scores = classify(options, device, paths, excerpts)
            rates[kind, device] = rate
            expected = expected or scores
            difference = max(
                abs(scores[path][genre] - score) for path in scores for genre, score in expected[path].items()
            )
            print(
                f"  {device}, {options.jobs} {kind}: {rate:.2f} tracks a second,"
                f" {rate / rates['threads', 'cpu']:.2f} of the CPU's with threads;"
                f" largest difference of a score {difference:.1e}"
            )


def in_threads(
    options: argparse.Namespace, device: str, paths: list[str], excerpts: bool
) -> tuple[float, Scores]:
    classifier = Classifier.from_pretrained(options.model, device=device)
    list(classifier.predict_many(paths[:4], excerpts=excerpts))  # what is loaded and planned once
    start = time.perf_counter()
    rows = list(classifier.predict_many(paths, excerpts=excerpts, threads=options.jobs))
    rate = len(paths) / (time.perf_counter() - start)
    return rate, {row.path: row.scores for row in rows if isinstance(row, Prediction)}


def in_processes(
    options: argparse.Namespace, device: str, paths: list[str], excerpts: bool
) -> tuple[float, Scores]:
    actor = GenreActor(
        ActorOptions(model=options.model, device=device, processes=options.jobs, excerpts=excerpts)
    )
    list(actor.classify((paths * options.jobs)[: 2 * options.jobs]))
    start = time.perf_counter()
    rows = [entry for entry, _ in actor.classify(paths)]
    rate = len(paths) / (time.perf_counter() - start)
    actor.close()
    return rate, {row.path: dict(row.scores or {}) for row in rows}


if __name__ == "__main__":
    main()
