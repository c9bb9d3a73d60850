"""Kill a training run at random points, resume it, and compare the result with that of a run left alone.

    python scripts/kill_training.py DATASET [--kills 20] [--seed 0]

Each trial starts a run in a process of its own, kills it (SIGKILL) after a random share of the time that
the first run took, resumes it, and compares ``model.onnx``, ``curves.json`` and ``evaluation.json`` byte for
byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from genrescope import datasets, training

SETTINGS = (
    "data.segment_seconds=1.0",
    "data.hop_seconds=0",
    "split.protocol=artist-grouped",
    "split.folds=4",
    "split.validation_fraction=0.2",
    "train.epochs=6",
    "train.batch_size=8",
    "train.precision=float32",
    "train.threads=1",
)
RESULTS = ("model.onnx", "curves.json", "evaluation.json")


def start(dataset: Path, folder: Path) -> int:
    """Start a run in a child process, which has all libraries imported already."""
    child = os.fork()
    if child:
        return child
    try:
        training.train(datasets.load_dataset(dataset), training.load_config("cnn", list(SETTINGS)), folder)
    except BaseException as failure:
        print(repr(failure), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def results(folder: Path) -> list[bytes]:
    """Return what a finished run left."""
    return [(folder / name).read_bytes() for name in RESULTS]


def main() -> int:
    """Run the trials and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    points = random.Random(options.seed)
    unequal = 0
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        os.waitpid(start(options.dataset, Path(scratch) / "whole"), 0)
        seconds = time.monotonic() - began
        whole = results(Path(scratch) / "whole")
        for trial in range(options.kills):
            folder = Path(scratch) / f"run {trial}"
            # The first trials fall before the first checkpoint, the others anywhere.
            share = points.random() * (0.25 if trial < options.kills // 4 else 1.0)
            child = start(options.dataset, folder)
            time.sleep(share * seconds)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            checkpoint = any((folder / "checkpoints").glob("*.ckpt"))
            finished = (folder / "evaluation.json").exists()
            if not finished:
                os.waitpid(start(options.dataset, folder), 0)
            equal = results(folder) == whole
            unequal += not equal
            print(f"{trial + 1}: killed at {share:.0%}, {checkpoint=}, {finished=}, {equal=}", flush=True)
    print(f"{options.kills - unequal} of {options.kills} equal to the run left alone ({seconds:.1f} s)")
    return int(unequal > 0)


if __name__ == "__main__":
    sys.exit(main())
