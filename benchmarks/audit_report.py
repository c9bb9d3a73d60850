"""Time and memory of an audit that is resumed, and of its reports, for many synthetic tracks.

    python benchmarks/audit_report.py --tracks 20000

No sound is decoded: files of a few bytes, and a journal that knows each of them, with a finding for every
second track. What is measured is all but the examination of files, which takes place in worker processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from genrescope.audit import AuditOptions, FileFacts, FileResult, Finding, Span, audit
from genrescope.audit.journal import Journal
from genrescope.cli.audit_page import write_page

KINDS = ("clipping", "silence", "zero_run", "hum", "truncated", "upsampled")
SPANS = 40


def synthetic_result(number: int) -> FileResult:
    """Return what a worker could have found out about a file; one in 20 is a copy of the one before it."""
    same = number - 1 if number % 20 == 19 else number
    facts = FileFacts(
        size=4_000_000 + number,
        sha256=f"{number:064x}",
        sample_hash=f"{same:064x}",
        seconds=180.0 + number % 120,
        sample_rate=44_100,
        channels=2,
        codec="mp3",
        artist=f"Artist {number // 40}",
        album=f"Album {number // 12}",
        extra={"fingerprint": f"fingerprints/{number:08}.npy"},
    )
    if number % 2:
        return FileResult(facts)
    spans = tuple(Span(4.0 * place, 4.0 * place + 0.25) for place in range(SPANS))
    kind = KINDS[number // 2 % len(KINDS)]
    message = f"the sound is interrupted by exact zeros {SPANS} times, for up to {number % 500} ms"
    evidence = {"interruptions": SPANS, "longest_seconds": 0.25, "level_db": -20.0 - number % 40}
    return FileResult(
        facts, (Finding(kind, 0.1 + number % 80 / 100, message, spans=spans, evidence=evidence),)
    )


def peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="write the reports into this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        music, journal_path = Path(folder) / "music", Path(folder) / "journal.jsonl"
        with Journal(journal_path, {}) as journal:
            for number in range(arguments.tracks):
                file = music / f"artist {number // 40}" / f"track {number:06}.mp3"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"ID3")
                status = file.stat()
                journal.add(str(file), status.st_size, status.st_mtime_ns, synthetic_result(number))
        before, started = peak_megabytes(), time.perf_counter()
        result = audit(music, AuditOptions(unlabeled=True, journal=journal_path))
        audited = time.perf_counter()
        measured = {
            "tracks": result.report.tracks,
            "findings": len(result.report.findings),
            "audit_seconds": round(audited - started, 1),
            "audit_megabytes": round(peak_megabytes() - before, 1),
        }
        out = arguments.keep or Path(folder)
        result.report.write_json(out / "findings.json")
        result.report.write_csv(out / "findings.csv")
        page = out / "page.html"
        write_page(page, result.report, result.collection.tracks, title="Audit", pictures=0, workers=1)
        measured |= {
            "reports_seconds": round(time.perf_counter() - audited, 1),
            "all_megabytes": round(peak_megabytes() - before, 1),
            "page_megabytes": round(page.stat().st_size / 1e6, 1),
            "json_megabytes": round((out / "findings.json").stat().st_size / 1e6, 1),
        }
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
