"""A pool of worker processes with a time and memory limit for each task."""

from genrescope.workers.pool import WorkerPool, WorkerSpec

__all__ = [
    "WorkerPool",
    "WorkerSpec",
]
