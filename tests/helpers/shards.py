"""Shards of teachers' outputs, of noise: what distillation needs, without teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genrescope.training.distillation.targets import TeacherTargets


def random_shard(folder: Path, number: int, rows: int = 12) -> TeacherTargets:
    """Write a shard of noise; return it."""
    generator = np.random.default_rng(number)
    outputs = [generator.normal(size=(rows, size)).astype(np.float16) for size in (384, 527, 200, 50)]
    spectrograms = generator.integers(0, 256, (rows, 128, 49), dtype=np.uint8)
    names = np.array([f"track {row}" for row in range(rows)])
    origin = np.array(["radio"] * rows)
    shard = TeacherTargets(
        spectrograms,
        *outputs,
        track=names,
        source=origin,
        kind=np.array(["music"] * rows),
        mixed_source=np.array([""] * rows),
        strength=np.zeros(rows, np.float16),
    )
    np.savez(folder / f"shard-{number:05}.npz", **shard._asdict())
    return shard
