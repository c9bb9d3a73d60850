"""The end of a run in Ray Data: tasks that write parts, and what they wrote in all. It imports Ray."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow
import pyarrow.compute
from ray.data import Datasink

from genrescope.distributed.results import ResultStore

# Rows written, errors among them, bytes fetched, requests, and the size of the files these are of.
Counts = tuple[int, int, int, int, int]


class PartSink(Datasink[Counts]):
    """Writes parts of a number of rows.

    Parameters
    ----------
    store : ResultStore
        Where to write.
    rows_per_file : int
        Rows of a part, at least, but for the last one.

    Attributes
    ----------
    counts : tuple of int
        When the run is done: rows, errors, bytes fetched, requests, and bytes of the files.
    """

    def __init__(self, store: ResultStore, rows_per_file: int) -> None:
        self._store = store
        self._rows_per_file = rows_per_file
        self.counts: Counts = (0, 0, 0, 0, 0)

    # Any: Ray's blocks and contexts have no public types.
    def write(self, blocks: Iterable[Any], ctx: Any) -> Counts:
        """Write a part.

        Parameters
        ----------
        blocks : iterable of pyarrow.Table
        ctx : TaskContext
            Not used.
        """
        tables = [block for block in blocks if block.num_rows]
        if not tables:
            return 0, 0, 0, 0, 0
        rows = pyarrow.concat_tables(tables)
        self._store.write(rows)
        remote = rows.filter(pyarrow.compute.is_valid(rows["bytes_read"]))
        sums = [pyarrow.compute.sum(remote[name]).as_py() or 0 for name in ("bytes_read", "requests", "size")]
        return rows.num_rows, rows.num_rows - rows["error"].null_count, *sums

    def on_write_complete(self, write_result: Any) -> None:
        """Add up what the tasks returned.

        Parameters
        ----------
        write_result : WriteResult
        """
        returned = [counts for counts in write_result.write_returns if counts is not None]
        self.counts = tuple(map(sum, zip(*returned, strict=True))) if returned else self.counts  # type: ignore[assignment]

    @property
    def min_rows_per_write(self) -> int:
        """Rows that a task gets."""
        return self._rows_per_file
