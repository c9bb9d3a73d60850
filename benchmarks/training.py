"""Time one training step of every network: plain float32 against bfloat16 autocast with channels-last.

Run: python benchmarks/training.py [threads]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from genrescope.models import networks
from genrescope.training import trainer as fitting

BATCH, FRAMES, CLASSES = 64, 194, 10
STEPS = 5


def step(network: networks.Network, inputs: torch.Tensor, bfloat16: bool) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters())
    targets = torch.nn.functional.one_hot(torch.arange(BATCH) % CLASSES, CLASSES).float()

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = networks.smoothed_cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare(name: str) -> None:
    sequence = networks.NETWORK_FAMILIES[name].input == "sequence"
    inputs = torch.randn(BATCH, FRAMES, 40) if sequence else -80 * torch.rand(BATCH, 128, FRAMES)
    runs = []
    for bfloat16 in (False, True):
        torch.manual_seed(0)
        network = networks.build_network(
            name, features=inputs.shape[2 if sequence else 1], frames=FRAMES, classes=CLASSES, dropout=0.3
        )
        runs.append(
            step(network.to(memory_format=torch.channels_last) if bfloat16 else network, inputs, bfloat16)
        )
        runs[-1]()
    # In turn, so that a busy machine slows both alike.
    plain, fast = zip(*[(seconds(runs[0]), seconds(runs[1])) for _ in range(STEPS)], strict=True)
    ratio = statistics.median(slow / quick for slow, quick in zip(plain, fast, strict=True))
    times = "".join(f"{1000 * statistics.median(each):8.0f} ms" for each in (plain, fast))
    print(f"{name:10} {times} {ratio:8.2f}")


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    print(f"batch {BATCH}, {FRAMES} frames, {torch.get_num_threads()} threads")
    print(f"bfloat16 in hardware: {fitting.has_bfloat16()}")
    print(f"{'network':10} {'float32':>11} {'bf16, c-l':>11} {'ratio':>8}")
    for name in networks.NETWORK_FAMILIES:
        compare(name)


if __name__ == "__main__":
    main()
