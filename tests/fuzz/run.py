"""Classify any number of damaged files: ``python tests/fuzz/run.py --count 10000 --seed 1 --workers 2``.

Every file is classified in a worker process, in full and in excerpts. A worker that crashes, or takes too
long for one file, is replaced. Exit status 1 if a promise was broken; ``--save FOLDER`` keeps such files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.harness import BandModel, Outcome, broken, check, damaged_file, summary
from fuzz.seeds import seeds

PATIENCE_SECONDS = 300.0


def classify_share(log: Path, model: str, seed: int, numbers: list[int]) -> None:
    """Check the files of these numbers, and write a line before and after each."""
    from genrescope import Classifier

    classifier = Classifier(BandModel()) if model == "bands" else Classifier.from_pretrained(model)
    files = seeds()
    path = log.with_suffix(".audio")
    with log.open("a", buffering=1) as lines:
        for number in numbers:
            lines.write(json.dumps({"begun": number}) + "\n")
            outcome = check(classifier, files, seed, number, path)
            lines.write(json.dumps(outcome.to_dict()) + "\n")
    path.unlink(missing_ok=True)


class Share:
    """The files of one worker, and the worker that is at them."""

    def __init__(self, log: Path, model: str, seed: int, numbers: list[int]) -> None:
        self.log, self.model, self.seed, self.left = log, model, seed, numbers
        self.log.touch()
        self.outcomes: list[Outcome] = []
        self.failed_starts = 0
        self.process = self._start()

    def _start(self) -> BaseProcess:
        self.log.write_text("")
        arguments = (self.log, self.model, self.seed, self.left)
        process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
        process.start()
        return process

    def is_done(self) -> bool:
        """Return whether all files are checked; replace a worker that crashed or hangs."""
        # Asked again while other workers are busy: the outcomes are in already.
        if not self.left:
            return True
        hangs = time.time() - self.log.stat().st_mtime > PATIENCE_SECONDS
        if self.process.is_alive() and not hangs:
            return False
        self.process.kill()
        self.process.join()
        rows = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.outcomes += [Outcome(**row) for row in rows if "begun" not in row]
        if rows and "begun" in rows[-1]:
            what = "hung" if hangs else "crashed"
            self.outcomes.append(Outcome(rows[-1]["begun"], "", {"full": what}))
        elif not rows and self.left:
            self.failed_starts += 1
            if self.failed_starts == 3:
                raise SystemExit("a worker could not start: run with --workers 0 to see why")
        checked = {outcome.number for outcome in self.outcomes}
        self.left = [number for number in self.left if number not in checked]
        if self.left:
            self.process = self._start()
        return not self.left


def work(*arguments: Any) -> None:
    """Call `classify_share` in a worker process, without the decoders' own lines on stderr."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    classify_share(*arguments)


def run(options: argparse.Namespace) -> list[Outcome]:
    """Check all files, in this process or in workers."""
    numbers = list(range(options.first, options.first + options.count))
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder, f"{place}.jsonl") for place in range(max(1, options.workers))]
        if not options.workers:
            classify_share(logs[0], options.model, options.seed, numbers)
            rows = [json.loads(line) for line in logs[0].read_text().splitlines()]
            return [Outcome(**row) for row in rows if "begun" not in row]
        shares = [
            Share(log, options.model, options.seed, numbers[place :: len(logs)])
            for place, log in enumerate(logs)
        ]
        while sum(not share.is_done() for share in shares):
            time.sleep(0.5)
    outcomes = [outcome for share in shares for outcome in share.outcomes]
    if sorted(outcome.number for outcome in outcomes) != numbers:
        raise SystemExit(f"{len(outcomes)} outcomes of {len(numbers)} files: an error of this program")
    return outcomes


def main() -> int:
    """Run, print the summary, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="0: in this process")
    parser.add_argument("--model", default="bands", help="a stand-in by default; or a model's name or path")
    parser.add_argument("--save", type=Path, help="folder for files that break a promise")
    options = parser.parse_args()
    begun = time.perf_counter()
    outcomes = run(options)
    bad = broken(outcomes) + [outcome for outcome in outcomes if outcome.is_slow]
    files = seeds() if bad and options.save else {}
    for outcome in bad:
        print(f"{outcome.number} {outcome.form} {outcome.modes} {outcome.seconds}\n{outcome.details}")
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)
            name, content = damaged_file(files, options.seed, outcome.number)
            (options.save / f"{options.seed}-{outcome.number}-{name}").write_bytes(content)
    print(summary(outcomes))
    print(f"{time.perf_counter() - begun:.0f} s with {options.workers} workers")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
