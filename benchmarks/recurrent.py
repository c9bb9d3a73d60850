"""Time one training step of the recurrent networks with and without recurrent batch normalization.

Run: python benchmarks/recurrent.py [--threads N] [--steps N] [--batch-size N] [--frames N]

The inputs are random. The ratio is the median over pairs of steps made one after the other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from genrescope import models

CLASSES = 10
# Features of a frame, or mel bands.
WIDTHS = {"lstm": 40, "crnn": 128, "parallel": 128}


def step(network: models.Network, inputs: torch.Tensor) -> Callable[[], float]:
    """Return a function that makes one training step and returns its time in seconds."""
    optimizer = torch.optim.AdamW(network.parameters())
    targets = torch.nn.functional.one_hot(torch.arange(len(inputs)) % CLASSES, CLASSES).float()

    def run() -> float:
        started = time.perf_counter()
        models.smoothed_cross_entropy(network(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - started

    return run


def compare(name: str, batch_size: int, frames: int, steps: int) -> None:
    """Print the times of the network ``name``, and their ratio."""
    size = (frames, WIDTHS[name]) if name == "lstm" else (WIDTHS[name], frames)
    inputs = torch.randn(batch_size, *size)
    runs = []
    for options in (models.NetworkOptions(), models.NetworkOptions(recurrent_normalization="batch")):
        torch.manual_seed(0)
        network = models.build_network(
            name, features=WIDTHS[name], frames=frames, classes=CLASSES, dropout=0.3, options=options
        )
        runs.append(step(network, inputs))
        runs[-1]()
    # Alternately, so that load of the machine slows both alike.
    without, with_it = zip(*[(runs[0](), runs[1]()) for _ in range(steps)], strict=True)
    ratio = statistics.median(slow / quick for quick, slow in zip(without, with_it, strict=True))
    times = "".join(f"{1000 * statistics.median(each):8.0f} ms" for each in (without, with_it))
    print(f"{name:10} {times} {ratio:8.2f}")


def main() -> None:
    """Read the options, and compare all recurrent networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=7, help="training steps to time")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--frames", type=int, default=194)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"batches of {options.batch_size}, {options.frames} frames, {torch.get_num_threads()} threads")
    print(f"{'network':10} {'without':>11} {'with':>11} {'ratio':>8}")
    for name in WIDTHS:
        compare(name, options.batch_size, options.frames, options.steps)


if __name__ == "__main__":
    main()
