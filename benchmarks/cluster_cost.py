"""Measure what a track costs, and compute time and price of very many tracks on a cluster from it.

Run: python benchmarks/cluster_cost.py DATASET... [--tracks N] [--of 73e6] [--folder FOLDER] [further options]

DATASET is a folder of labeled audio, of which tracks of 3 to 6 minutes are made as by benchmarks/library.py.
Of each, in MP3, FLAC, M4A and Ogg Vorbis, are measured: seconds of a core for decoding alone and for an
answer, in full and in excerpts, and which share of its bytes an answer in excerpts fetches from an object
store, in how many requests. Everything else is an assumption, has an option, and is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"

import fsspec
import numpy as np

from genrescope import Classifier, features
from genrescope.distributed.storage import open_remote

sys.path.insert(0, str(Path(__file__).parent))
from library import FORMATS, build_tracks, cpu_seconds, decode


@dataclass(frozen=True)
class TrackCost:
    """What one track costs, on the average of a format.

    Attributes
    ----------
    decode, full, excerpts : float
        Seconds of a core: decoding all of it, an answer from all of it, an answer from excerpts.
    computing : float
        Seconds of a core of these for features and network, which a GPU could do; the rest is decoding.
    megabytes : float
        What is fetched from an object store for an answer from excerpts.
    share : float
        That, of the file.
    requests : float
        In how many requests.
    """

    decode: float
    full: float
    excerpts: float
    computing: float
    megabytes: float
    share: float
    requests: float


def core_seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the least seconds of a core of some calls."""
    return min(cpu_seconds(call) for _ in range(repeats))


class Timed:
    """Counts the seconds of a core that calls of a function take.

    Parameters
    ----------
    function : callable
        What is called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function."""
        start = time.process_time()
        try:
            return self.function(*arguments, **named)
        finally:
            self.seconds += time.process_time() - start


def computing_seconds(classifier: Classifier, path: Path) -> float:
    """Return the seconds of a core that features and network take of an answer from excerpts."""
    extract, predict = Timed(features.extract), Timed(type(classifier.model).predict)
    with (
        mock.patch.object(features, "extract", extract),
        mock.patch.object(
            type(classifier.model), "predict", lambda *given, **named: predict(*given, **named)
        ),
    ):
        classifier.predict(path, excerpts=True)
    return extract.seconds + predict.seconds


def measure(path: Path, classifier: Classifier) -> TrackCost:
    """Measure one track."""
    uri = f"memory://music/{path.name}"
    content = path.read_bytes()
    fsspec.filesystem("memory").pipe_file(uri, content)
    remote = open_remote(uri)
    classifier.predict(remote.reader, excerpts=True)
    return TrackCost(
        decode=core_seconds(lambda: decode(path)),
        full=core_seconds(lambda: classifier.predict(path)),
        excerpts=core_seconds(lambda: classifier.predict(path, excerpts=True)),
        computing=min(computing_seconds(classifier, path) for _ in range(3)),
        megabytes=remote.reader.bytes_read / 1e6,
        share=remote.reader.bytes_read / len(content),
        requests=remote.reader.requests + 1,
    )


def mean(costs: list[TrackCost]) -> TrackCost:
    """Return the mean of costs."""
    names = [one.name for one in fields(TrackCost)]
    return TrackCost(**{name: float(np.mean([getattr(cost, name) for cost in costs])) for name in names})


def print_costs(costs: dict[str, TrackCost]) -> None:
    """Print what tracks of each format cost."""
    print("one track of 3 to 6 minutes; s: seconds of a core")
    print("format  decoding   in full  excerpts  of these features, network  fetched        requests")
    for name, cost in costs.items():
        print(
            f"{name:6} {cost.decode:8.3f} s {cost.full:7.3f} s {cost.excerpts:7.3f} s"
            f" {cost.computing:9.3f} s ({cost.computing / cost.excerpts:4.0%})"
            f" {cost.megabytes:12.2f} MB ({cost.share:4.0%}) {cost.requests:6.1f}"
        )


def print_estimates(cost: TrackCost, options: argparse.Namespace) -> None:
    """Print hours and prices for clusters of some sizes."""
    tracks, seconds = options.of, cost.excerpts / options.efficiency
    core_hours = tracks * seconds / 3600
    waiting = cost.requests * options.latency
    print(
        f"\n{tracks:.3g} tracks in excerpts: {seconds:.3f} s of a core each, of which Ray takes"
        f" {1 - options.efficiency:.0%}; {core_hours:.0f} core hours,"
        f" {core_hours * options.core_price:.0f} dollars"
    )
    print(
        f"fetched: {tracks * cost.megabytes / 1e6:.0f} TB in {tracks * cost.requests:.3g} requests,"
        f" {tracks * cost.requests * options.request_price:.0f} dollars"
    )
    print(
        f"a worker waits {waiting:.2f} s for a track: {1 + waiting / seconds:.1f} for each core keep it busy"
    )
    print("cores  tracks a second  hours   network")
    for cores in options.cores:
        rate = cores / seconds
        megabits = rate * cost.megabytes * 8
        print(f"{cores:5} {rate:16.0f} {tracks / rate / 3600:6.1f} {megabits / 1000:8.2f} Gbit/s")
    left = (cost.excerpts - cost.computing) / options.efficiency
    saved = tracks * (seconds - left) / 3600 * options.core_price
    busy = tracks * cost.computing / options.gpu_speedup / 3600
    print(
        f"with GPUs that compute features and network {options.gpu_speedup:g} times as fast as a core:"
        f" {left:.3f} s of a core for a track, {saved:.0f} dollars of cores saved,"
        f" {busy * options.gpu_price:.0f} dollars for {busy:.0f} GPU hours;"
        f" one GPU serves {options.gpu_speedup * left / cost.computing:.0f} cores"
    )


def main() -> None:
    """Measure, and print the estimates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--tracks", type=int, default=16)
    parser.add_argument("--of", type=float, default=73e6, help="tracks to estimate for")
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 64, 512, 4096])
    parser.add_argument(
        "--efficiency", type=float, default=1.0, help="cluster / scan of benchmarks/cluster.py compare"
    )
    parser.add_argument("--latency", type=float, default=0.05, help="seconds of a request (assumed)")
    parser.add_argument("--core-price", type=float, default=0.04, help="dollars an hour (assumed)")
    parser.add_argument("--gpu-price", type=float, default=1.0, help="dollars an hour (assumed)")
    parser.add_argument("--request-price", type=float, default=4e-7, help="dollars (assumed)")
    parser.add_argument("--gpu-speedup", type=float, default=50.0, help="of features and network (assumed)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "genrescope-tracks")
    options = parser.parse_args()
    classifier = Classifier.from_pretrained()
    costs: dict[str, list[TrackCost]] = {name: [] for name in FORMATS}
    for path in build_tracks(options.data, options.folder, options.tracks):
        costs[path.suffix.lstrip(".")].append(measure(path, classifier))
    means = {name: mean(found) for name, found in costs.items() if found}
    means["all"] = mean(list(means.values()))
    print_costs(means)
    print("\nassumed:", ", ".join(f"{name} {getattr(options, name):g}" for name in (
        "efficiency", "latency", "core_price", "gpu_price", "request_price", "gpu_speedup"
    )))  # fmt: skip
    print_estimates(means["all"], options)


if __name__ == "__main__":
    main()
