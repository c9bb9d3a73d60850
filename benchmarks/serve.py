"""Measure the server on loopback, against the same clips through `Classifier` in one process.

Run: python benchmarks/serve.py CLIP... [--workers 2] [--requests 200] [--soak 1000]

Prints requests a second, p50 and p99 at 1, 8 and 64 clients; then what an overloaded server answers, how
fast, and whether it recovers; with ``--soak``, memory, open files and processes after so many good and broken
uploads. Clients and server share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from genrescope import Classifier

CLIENTS = (1, 8, 64)
ADDRESS = "/v1/classify"
Answer = tuple[int, float]


@contextlib.contextmanager
def serving(temporary: str, *options: str) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "genrescope", "serve", "--port", "0", *options]
    environment = os.environ | {"TMPDIR": temporary}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process.stderr.readline().split(" at ")[1].split()[0], process.pid
        finally:
            process.terminate()
            process.stderr.read()


async def post(client: httpx2.AsyncClient, content: bytes, path: str = ADDRESS) -> Answer:
    start = time.perf_counter()
    response = await client.post(path, content=content)
    return response.status_code, time.perf_counter() - start


async def load(
    address: str, contents: list[bytes], clients: int, *, pause: float = 0
) -> tuple[list[Answer], float]:
    """Send all contents from so many clients at a time; return the answers and the seconds that it took.

    A client that was refused waits for ``pause`` seconds before its next request.
    """
    limits = httpx2.Limits(max_connections=clients)
    waiting = iter(contents)
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits) as client:

        async def one() -> list[Answer]:
            answers = []
            for content in waiting:
                answers.append(await post(client, content))
                await asyncio.sleep(pause if answers[-1][0] in (429, 503) else 0)
            return answers

        start = time.perf_counter()
        answers = await asyncio.gather(*(one() for _ in range(clients)))
        return [answer for part in answers for answer in part], time.perf_counter() - start


def percentile(answers: list[Answer], share: float) -> float:
    """Return a percentile of the answers' times, in milliseconds (nearest rank)."""
    times = sorted(seconds for _, seconds in answers)
    return 1000 * times[min(len(times) - 1, int(share * len(times)))]


def summary(answers: list[Answer], seconds: float) -> str:
    statuses = ", ".join(
        f"{status}: {count}" for status, count in sorted(Counter(a[0] for a in answers).items())
    )
    speed = f"{len(answers) / seconds:6.1f} a second"
    times = f"p50 {percentile(answers, 0.5):7.1f} ms, p99 {percentile(answers, 0.99):7.1f} ms"
    return f"{speed}, {times}; {statuses}"


def sequential_rate(clips: list[bytes], number: int) -> float:
    classifier = Classifier.from_pretrained()
    classifier.predict(clips[0])
    start = time.perf_counter()
    for place in range(number):
        classifier.predict(clips[place % len(clips)])
    return number / (time.perf_counter() - start)


def measure_throughput(clips: list[bytes], workers: int, number: int, temporary: str) -> None:
    contents = [clips[place % len(clips)] for place in range(number)]
    options = ("--workers", str(workers), "--rate-limit", "0", "--max-queue", "128")
    with serving(temporary, *options) as (address, _):
        asyncio.run(load(address, contents[: 4 * workers], workers))
        for clients in CLIENTS:
            alone = sequential_rate(clips, number // 2)
            answers, seconds = asyncio.run(load(address, contents, clients))
            print(f"{clients:3} clients: {summary(answers, seconds)}")
            print(f"  one process {alone:.1f} a second, ratio {len(answers) / seconds / alone:.2f}")


def measure_overload(clips: list[bytes], workers: int, temporary: str) -> None:
    with serving(temporary, "--workers", str(workers), "--rate-limit", "0", "--max-queue", "4") as (
        address,
        _,
    ):
        asyncio.run(load(address, clips[:1] * 4, 1))
        answers, seconds = asyncio.run(load(address, clips[:1] * 1000, 64, pause=1))
        refused = [answer for answer in answers if answer[0] == 503]
        print(f"overload, 64 clients at a queue of 4: {summary(answers, seconds)}")
        if refused:
            worst = f"p50 {percentile(refused, 0.5):.1f} ms, p99 {percentile(refused, 0.99):.1f} ms"
            print(f"  refusals alone: {len(refused)}, {worst}")
        print(f"  right after: {summary(*asyncio.run(load(address, clips[:1] * 10, 1)))}")
    with serving(temporary, "--workers", str(workers)) as (address, _):
        answers, seconds = asyncio.run(load(address, clips[:1] * 100, 4))
        print(f"one client beyond its rate limit: {summary(answers, seconds)}")


def broken(clip: bytes, generator: random.Random) -> bytes:
    """Return a clip as clients may send it: whole, cut, damaged, not audio, empty, or too large."""
    kind = generator.randrange(6)
    if kind == 0:
        return clip[: generator.randrange(len(clip))]
    if kind == 1:
        damaged = bytearray(clip)
        for _ in range(200):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        return bytes(damaged)
    if kind == 2:
        return generator.randbytes(generator.randrange(1, 100_000))
    if kind == 3:
        return b""
    if kind == 4:
        return bytes(3 * 2**20)  # more than this server takes
    return clip


def memory(pid: int) -> float:
    """Return the resident megabytes of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for thread in threads for child in thread.read_text().split())


def state(pid: int, temporary: str) -> dict[str, Any]:
    workers = children(pid)
    return {
        "server MB": round(memory(pid)),
        "workers MB": [round(memory(worker)) for worker in workers],
        "open files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "temporary files": sorted(path.name for path in Path(temporary).iterdir()),
    }


async def disconnect(address: str, clip: bytes) -> None:
    """Begin an upload and close the connection."""
    host, port = address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {ADDRESS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(clip)}\r\n\r\n"
    writer.write(head.encode() + clip[: len(clip) // 2])
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def soak_round(address: str, contents: list[bytes], disconnects: int) -> list[Answer]:
    for _ in range(disconnects):
        await disconnect(address, contents[0])
    return (await load(address, contents, 8))[0]


def soak(clips: list[bytes], workers: int, number: int, temporary: str) -> None:
    generator = random.Random(0)
    options = ("--workers", str(workers), "--rate-limit", "0", "--max-upload-mb", "2", "--max-queue", "32")
    with serving(temporary, *options) as (address, pid):
        for part in range(5):
            contents = [broken(generator.choice(clips), generator) for _ in range(number // 5)]
            answers = asyncio.run(soak_round(address, contents, number // 50))
            time.sleep(1)
            counts = dict(sorted(Counter(status for status, _ in answers).items()))
            print(f"  after {(part + 1) * number // 5}: {counts}, {state(pid, temporary)}")
        workers_then = children(pid)
    left = [worker for worker in workers_then if Path(f"/proc/{worker}").exists()]
    print(f"  after the end: processes {left}, temporary files {os.listdir(temporary)}")  # noqa: PTH208


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--soak", type=int, default=0)
    options = parser.parse_args()
    clips = [path.read_bytes() for path in options.clips]
    size = statistics.mean(map(len, clips)) / 1000
    print(f"{len(clips)} clips of {size:.0f} kB, {options.workers} workers, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as temporary:
        measure_throughput(clips, options.workers, options.requests, temporary)
        measure_overload(clips, options.workers, temporary)
        if options.soak:
            print(f"soak: {options.soak} uploads, two in three of them broken, and others disconnected")
            soak(clips, options.workers, options.soak, temporary)


if __name__ == "__main__":
    main()
