"""Time one training step of every network: float32 against bfloat16 autocast with channels-last memory.

Run: python benchmarks/training.py [--threads N] [--steps N] [--batch-size N]

The inputs are random.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from genrescope import models
from genrescope.training import trainer

FRAMES, CLASSES = 194, 10


def step(network: models.Network, inputs: torch.Tensor, bfloat16: bool) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters())
    targets = torch.nn.functional.one_hot(torch.arange(len(inputs)) % CLASSES, CLASSES).float()

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = models.smoothed_cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare(name: str, batch_size: int, steps: int) -> None:
    sequence = models.NETWORK_FAMILIES[name].input == "sequence"
    inputs = torch.randn(batch_size, FRAMES, 40) if sequence else -80 * torch.rand(batch_size, 128, FRAMES)
    runs = []
    for bfloat16 in (False, True):
        torch.manual_seed(0)
        network = models.build_network(
            name, features=inputs.shape[2 if sequence else 1], frames=FRAMES, classes=CLASSES, dropout=0.3
        )
        runs.append(
            step(network.to(memory_format=torch.channels_last) if bfloat16 else network, inputs, bfloat16)
        )
        runs[-1]()
    # Alternately, so that load of the machine slows both alike.
    float32, bfloat16 = zip(*[(seconds(runs[0]), seconds(runs[1])) for _ in range(steps)], strict=True)
    ratio = statistics.median(slow / quick for slow, quick in zip(float32, bfloat16, strict=True))
    times = "".join(f"{1000 * statistics.median(each):8.0f} ms" for each in (float32, bfloat16))
    print(f"{name:10} {times} {ratio:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=5, help="training steps to time")
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"batches of {options.batch_size}, {FRAMES} frames, {torch.get_num_threads()} threads")
    print(f"bfloat16 in hardware: {trainer.has_bfloat16()}")
    print(f"{'network':10} {'float32':>11} {'bfloat16':>11} {'ratio':>8}")
    for name in models.NETWORK_FAMILIES:
        compare(name, options.batch_size, options.steps)


if __name__ == "__main__":
    main()
