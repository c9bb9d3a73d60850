"""A pool of worker processes with a time and memory limit for each task."""

from genrescope.workers.batch import run_jobs
from genrescope.workers.jobs import Job
from genrescope.workers.pool import WorkerPool, WorkerSpec

__all__ = [
    "Job",
    "WorkerPool",
    "WorkerSpec",
    "run_jobs",
]
