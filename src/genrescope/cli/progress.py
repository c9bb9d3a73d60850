"""How far a command is: a bar on a terminal, a line every ten seconds elsewhere."""

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
from genrescope.cli.progress_options import JsonProgress, ProgressForm
from genrescope.library import ScanResult

SECONDS_BETWEEN_LINES = 10.0
_FILES = ("classified", "failed", "unchanged", "moved", "copied")


class ScanProgress:
    """Passes on what a scan yields, and shows how far it is, how fast, and what failed.

    Parameters
    ----------
    roots : list of Path
        What is scanned: counted beside the scan, to estimate the time left.
    console : Console
        Where it is shown.
    form : ProgressForm
        ``none`` shows nothing; what fails is then in the library alone.
    """

    def __init__(self, roots: list[Path], console: Console, form: ProgressForm = ProgressForm.auto) -> None:
        self.counts: Counter[str] = Counter()
        self._form = form
        self._json = JsonProgress("files") if form is ProgressForm.json else None
        self._roots = roots
        self._console = console
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None

    @property
    def files(self) -> int:
        """How many audio files were met."""
        return sum(self.counts[name] for name in _FILES)

    def track(self, scanned: Iterator[ScanResult]) -> Iterator[ScanResult]:
        """Yield what ``scanned``, the results of a scan, yields."""
        with self._shown():
            for result in scanned:
                self.counts[result.status] += 1
                if result.status == "unchanged" and result.error is not None:
                    self.counts["known errors"] += 1
                if self._form is ProgressForm.auto:
                    self._report(result)
                    self._advance(result)
                elif self._json is not None and result.status in _FILES:
                    self._json.update(self.files, None, self.counts["failed"])
                yield result
        if self._json is not None:
            self._json.update(self.files, self.files, self.counts["failed"], finished=True)

    def summary(self) -> str:
        """Return what came of it, in a few words."""
        seconds = time.monotonic() - self._started
        done = self.counts["classified"] + self.counts["failed"]
        speed = f", {done / seconds:.1f} files/s" if done else ""
        words = ", ".join(f"{self.counts[name]} {name}" for name in _FILES if self.counts[name]) or "no audio"
        aside = f"; {self.counts['skipped']} other files skipped" if self.counts["skipped"] else ""
        known = self.counts["known errors"]
        aside += (
            f"; {known} of the unchanged could not be read before (--retry-failed tries again)"
            if known
            else ""
        )
        closed = self.counts["unreadable"]
        aside += f"; {closed} folders may not be read" if closed else ""
        return f"{words} in {seconds:.0f} s{speed}{aside}"

    def _shown(self) -> AbstractContextManager[object]:
        # A log file gets a line now and then instead of a bar, which would fill it with control characters.
        if not self._console.is_terminal or self._form is not ProgressForm.auto:
            return nullcontext()
        words = "{task.completed} files, {task.fields[speed]} files/s, {task.fields[errors]} errors"
        self._bar = Progress(
            BarColumn(), TextColumn(words), TimeRemainingColumn(), TextColumn("left"), console=self._console
        )
        self._task = self._bar.add_task("", total=None, speed="-", errors=0)
        # Counting walks the folders a second time, in a thread beside the scan: the scan begins at once, and
        # the time left is shown as soon as the number is known.
        threading.Thread(target=self._count, daemon=True).start()
        return self._bar

    def _count(self) -> None:
        total = sum(entry.kind == "audio" for entry in audio.discover(self._roots))
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def _report(self, result: ScanResult) -> None:
        if result.status == "unreadable":
            self._print(f"{result.path}: this folder may not be read")
        if result.status == "failed" and result.entry is not None and result.entry.message is not None:
            self._print(result.entry.message)

    def _print(self, line: str) -> None:
        console = self._bar.console if self._bar else self._console
        console.print(escape(printable(line)), highlight=False, soft_wrap=True)

    def _advance(self, result: ScanResult) -> None:
        if result.status not in _FILES:
            return
        if self._bar is not None:
            speed = self.files / max(1e-3, time.monotonic() - self._started)
            self._bar.update(self._task, advance=1, speed=f"{speed:.1f}", errors=self.counts["failed"])
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._print(f"so far: {self.summary()}")
