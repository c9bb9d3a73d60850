"""Time classification on Ray against the scan of a library, and follow its memory.

Run: python benchmarks/cluster.py compare DATASET... [--files N] [--folder FOLDER]
     python benchmarks/cluster.py memory (--rows N | --decodes N DATASET...) [--folder FOLDER]
     python benchmarks/cluster.py batches DATASET... [--files N] [--folder FOLDER]

DATASET is a folder of audio. ``compare`` writes files of 30 s that differ from each other, and classifies
them with a scan of two worker processes and on a cluster of this machine with two actors, in turn, and counts
the seconds of a core of all their processes, which depend less on what else the machine does. ``memory``
classifies rows on a cluster of two actors, with a stub in place of decoder and model (``--rows``) or for real
(``--decodes``), and prints the memory of all processes of the run as it goes on. ``batches`` repeats the run
with other numbers of files in a call of an actor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["OMP_NUM_THREADS"] = "1"
# The processes of Ray import this file too, for the stub.
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

from genrescope import audio
from genrescope.distributed import ActorOptions, ClusterOptions, classify_source
from genrescope.library import Library, LibraryEntry, ScanOptions

RATE, SECONDS = 22050, 30
WORKERS = 2


def create_stub(model: str, **options: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a handler that reads no file, and gives rows of the usual size."""
    scores = {f"genre {number}": round(0.3 / (number + 1), 4) for number in range(16)}
    styles = {f"style {number}": 0.2 for number in range(4)}

    def classify(job: dict[str, Any]) -> dict[str, Any]:
        if not job:
            return {}
        entry = LibraryEntry(
            path=job["path"], size=1, mtime_ns=1, model="0" * 64, model_name="stub", scanned=1.0,
            genre="genre 0", score=0.3, scores=scores, styles=styles, genre_set=("genre 0",), seconds=1.0,
        )  # fmt: skip
        return {"entry": entry.to_columns()}

    return classify


def build_files(data_sets: list[Path], folder: Path, count: int) -> list[Path]:
    """Write FLAC files that differ from each other, from clips that begin at other places; return all."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = [path for place in data_sets for path in sorted(audio.find_audio([place]))]
    files = [folder / f"{number:05}.flac" for number in range(count)]
    for number, path in enumerate(files):
        if path.exists():
            continue
        samples = audio.load_audio(clips[number % len(clips)], sample_rate=RATE).samples
        moved = np.roll(samples, 9973 * (number // len(clips) + 1))[: SECONDS * RATE]
        part = path.with_suffix(".part")
        soundfile.write(part, moved, RATE, format="FLAC")
        part.replace(path)
    return files


def processes(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, pending = [], [root]
    while pending:
        found.append(one := pending.pop())
        pending += parents.get(one, [])
    return found


def proportional_bytes(root: int) -> int:
    """Return the memory of a process and its descendants; what several share counts once."""
    total = 0
    for one in processes(root):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def core_seconds(root: int) -> dict[int, float]:
    """Return the seconds of a core that a process and each of its descendants have used."""
    found = {}
    for one in processes(root):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            found[one] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


@contextmanager
def counted_cores() -> Iterator[list[float]]:
    """Yield a list that holds, after the block, the seconds of a core of this process and its descendants.

    They are looked at four times a second: of a process that ends, the last moments are missed.
    """
    before = core_seconds(os.getpid())
    latest, result = dict(before), []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.25):
            latest.update(core_seconds(os.getpid()))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        ended.set()
        thread.join()
        latest.update(core_seconds(os.getpid()))
        result.append(sum(latest.values()) - sum(before.values()))


@contextmanager
def sampled(output: Path, interval: float) -> Iterator[list[tuple[float, int, int]]]:
    """Yield a list that is filled with seconds, parts written, and memory while the block runs."""
    samples: list[tuple[float, int, int]] = []
    ended = threading.Event()
    start = time.perf_counter()

    def sample() -> None:
        while not ended.wait(interval):
            parts = len(list(output.glob("part-*.parquet")))
            samples.append((time.perf_counter() - start, parts, proportional_bytes(os.getpid())))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def print_memory(samples: list[tuple[float, int, int]], rows: int) -> None:
    """Print memory in each tenth of the time."""
    length = samples[-1][0]
    print(f"{rows} rows in {length:.0f} s, {rows / length:.0f} a second")
    for tenth in range(10):
        own = [one for one in samples if tenth <= 10 * one[0] / length - 1e-9 < tenth + 1]
        if own:
            seconds, parts, _ = own[-1]
            mean, most = np.mean([one[2] for one in own]) / 1e6, max(one[2] for one in own) / 1e6
            print(f"  until {seconds:5.0f} s: {parts:4} parts, memory {mean:.0f} MB, at most {most:.0f} MB")


def follow_memory(options: argparse.Namespace, folder: Path) -> None:
    """Classify rows on a cluster, and print its memory."""
    manifest, output = folder / "tracks.csv", folder / "rows"
    shutil.rmtree(output, ignore_errors=True)
    if options.rows:
        paths = [f"/music/{number:07}.mp3" for number in range(options.rows)]
        # Under the name by which worker processes import it: here it is __main__.create_stub.
        import cluster

        actor = ActorOptions(target=cluster.create_stub)
    else:
        files = build_files(options.data, folder / "files", min(options.decodes, 2000))
        # The same audio under other names is decoded again: on a cluster nothing is recognized by content.
        paths = []
        for number in range(options.decodes):
            path = folder / "links" / f"{number:06}.flac"
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                os.link(files[number % len(files)], path)
            paths.append(str(path))
        actor = ActorOptions(excerpts=True)
    manifest.write_text("path\n" + "\n".join(paths))
    settings = ClusterOptions(actor=actor, address="local", concurrency=WORKERS)
    with sampled(output, 1.0) as samples:
        done = classify_source(str(manifest), str(output), settings)
    assert (done.rows, done.failed) == (len(paths), 0), done
    print_memory(samples, done.rows)


def time_scan(files: list[Path], folder: Path) -> float:
    """Return the files a second of a scan into a new database."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Library(Path(place) / "library.db") as library:
        start = time.perf_counter()
        results = library.scan([files[0].parent], ScanOptions(workers=WORKERS, excerpts=True))
        classified = sum(result.status == "classified" for result in results)
        seconds = time.perf_counter() - start
    # Some clips are silent, or there twice, so that a scan decodes one of them only.
    assert classified >= 0.99 * len(files), classified
    return len(files) / seconds


def time_cluster(files: list[Path], folder: Path, batch_rows: int) -> tuple[float, float]:
    """Return the files a second on a cluster: of the whole run, and without the start of Ray."""
    import ray

    with tempfile.TemporaryDirectory(dir=folder) as place:
        start = time.perf_counter()
        ray.init(address="local", num_cpus=WORKERS, log_to_driver=False, configure_logging=False)
        started = time.perf_counter()
        try:
            options = ClusterOptions(
                actor=ActorOptions(excerpts=True), concurrency=WORKERS, batch_rows=batch_rows
            )
            done = classify_source(str(files[0].parent), f"{place}/rows", options)
        finally:
            ended = time.perf_counter()
            ray.shutdown()
    assert done.rows == len(files), done
    return len(files) / (ended - start), len(files) / (ended - started)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Print the files a second of a scan and of a cluster."""
    files = build_files(options.data, folder / "files", options.files)
    ratios, of_cores = [], []
    for turn in range(options.turns):
        with counted_cores() as scan_cores:
            scan = time_scan(files, folder)
        with counted_cores() as cluster_cores:
            whole, running = time_cluster(files, folder, 32)
        ratios.append(whole / scan)
        of_cores.append(scan_cores[0] / cluster_cores[0])
        print(
            f"turn {turn + 1}: {len(files)} files: scan {scan:.2f} a second, cluster {whole:.2f}"
            f" ({whole / scan:.3f} of the scan; {running:.2f} without the start of Ray);"
            f" scan {scan_cores[0]:.1f} s of a core, cluster {cluster_cores[0]:.1f} ({of_cores[-1]:.3f})",
            flush=True,
        )
    print(
        f"cluster / scan, median of {len(ratios)}: {np.median(ratios):.3f};"
        f" seconds of a core, scan / cluster: {np.median(of_cores):.3f}"
    )


def batches(options: argparse.Namespace, folder: Path) -> None:
    """Print the files a second for some sizes of a batch."""
    files = build_files(options.data, folder / "files", options.files)
    for batch_rows in (1, 4, 8, 16, 32, 64, 128):
        whole, running = time_cluster(files, folder, batch_rows)
        print(f"{batch_rows} files in a call: {whole:.2f} files a second ({running:.2f} without the start)")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["compare", "memory", "batches"])
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--decodes", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "genrescope-cluster")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    {"compare": compare, "memory": follow_memory, "batches": batches}[options.action](options, options.folder)


if __name__ == "__main__":
    main()
