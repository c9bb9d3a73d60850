"""A scan as a person sees it: a bar on a terminal, a line now and then elsewhere, and what came of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from genrescope import audio
from genrescope.cli.output import printable
from genrescope.library import ScanResult

SECONDS_BETWEEN_LINES = 10.0
_FILES = ("classified", "failed", "unchanged", "moved", "copied")


class ScanProgress:
    """Passes on what a scan yields, and says how it goes, how fast, and what failed.

    Parameters
    ----------
    roots : list of Path
        What is scanned: counted beside the scan, to tell how long it will take.
    console : Console
    """

    def __init__(self, roots: list[Path], console: Console) -> None:
        self.counts: Counter[str] = Counter()
        self._roots = roots
        self._console = console
        self._begun = self._last_line = time.monotonic()
        self._bar: Progress | None = None

    @property
    def files(self) -> int:
        """How many audio files were met."""
        return sum(self.counts[name] for name in _FILES)

    def track(self, scanned: Iterator[ScanResult]) -> Iterator[ScanResult]:
        """Yield what ``scanned`` yields."""
        with self._shown():
            for one in scanned:
                self.counts[one.status] += 1
                if one.status == "unchanged" and one.row is not None and one.row["error"] is not None:
                    self.counts["known errors"] += 1
                self._tell(one)
                self._advance(one)
                yield one

    def summary(self) -> str:
        """Return what came of it, in a few words."""
        seconds = time.monotonic() - self._begun
        done = self.counts["classified"] + self.counts["failed"]
        speed = f", {done / seconds:.1f} files/s" if done else ""
        words = ", ".join(f"{self.counts[name]} {name}" for name in _FILES if self.counts[name]) or "no audio"
        aside = f"; {self.counts['other']} other files passed over" if self.counts["other"] else ""
        known = self.counts["known errors"]
        aside += f"; {known} of the unchanged could not be read before (--retry tries again)" if known else ""
        closed = self.counts["unreadable"]
        aside += f"; {closed} folders may not be read" if closed else ""
        return f"{words} in {seconds:.0f} s{speed}{aside}"

    def _shown(self) -> AbstractContextManager[object]:
        if not self._console.is_terminal:
            return nullcontext()
        words = "{task.completed} files, {task.fields[speed]} files/s, {task.fields[errors]} errors"
        self._bar = Progress(
            BarColumn(), TextColumn(words), TimeRemainingColumn(), TextColumn("left"), console=self._console
        )
        self._task = self._bar.add_task("", total=None, speed="-", errors=0)
        threading.Thread(target=self._count, daemon=True).start()
        return self._bar

    def _count(self) -> None:
        total = sum(entry.kind == "audio" for entry in audio.discover(self._roots))
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def _tell(self, one: ScanResult) -> None:
        if one.status == "unreadable":
            self._print(f"{one.path}: this folder may not be read")
        if one.status == "failed" and one.row is not None:
            self._print(one.row["message"])

    def _print(self, line: str) -> None:
        console = self._bar.console if self._bar else self._console
        console.print(escape(printable(line)), highlight=False, soft_wrap=True)

    def _advance(self, one: ScanResult) -> None:
        if one.status not in _FILES:
            return
        if self._bar is not None:
            speed = self.files / max(1e-3, time.monotonic() - self._begun)
            self._bar.update(self._task, advance=1, speed=f"{speed:.1f}", errors=self.counts["failed"])
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._print(f"so far: {self.summary()}")
