"""Measure the server over the loopback interface, against `Classifier` in one process on the same clips.

Run: python benchmarks/serve.py CLIP... [--workers N] [--requests N] [--overload N] [--soak N]

Prints requests per second and latency (p50, p99) with 1, 8 and 64 clients; then the status codes and latency
of an overloaded server, and whether it recovers; with ``--soak``, memory, open files and processes after that
many valid and invalid uploads. Clients and server share the machine.
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
Response = tuple[int, float]  # status code, seconds


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


async def post(client: httpx2.AsyncClient, content: bytes, path: str = ADDRESS) -> Response:
    start = time.perf_counter()
    response = await client.post(path, content=content)
    return response.status_code, time.perf_counter() - start


async def send_all(
    address: str, contents: list[bytes], clients: int, *, pause: float = 0
) -> tuple[list[Response], float]:
    """Send all contents from that many clients at once; return the responses and the seconds that it took.

    A client whose request was rejected waits for ``pause`` seconds before its next one.
    """
    limits = httpx2.Limits(max_connections=clients)
    pending = iter(contents)
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits) as client:

        async def run_client() -> list[Response]:
            responses = []
            for content in pending:
                responses.append(await post(client, content))
                await asyncio.sleep(pause if responses[-1][0] in (429, 503) else 0)
            return responses

        start = time.perf_counter()
        responses = await asyncio.gather(*(run_client() for _ in range(clients)))
        return [response for part in responses for response in part], time.perf_counter() - start


def percentile(responses: list[Response], share: float) -> float:
    """Return a percentile of the latencies, in milliseconds (nearest rank)."""
    times = sorted(seconds for _, seconds in responses)
    return 1000 * times[min(len(times) - 1, int(share * len(times)))]


def summary(responses: list[Response], seconds: float) -> str:
    statuses = ", ".join(
        f"{status}: {count}" for status, count in sorted(Counter(a[0] for a in responses).items())
    )
    speed = f"{len(responses) / seconds:6.1f} requests/s"
    times = f"p50 {percentile(responses, 0.5):7.1f} ms, p99 {percentile(responses, 0.99):7.1f} ms"
    return f"{speed}, {times}; {statuses}"


def sequential_rate(clips: list[bytes], number: int) -> float:
    classifier = Classifier.from_pretrained()
    classifier.predict(clips[0])
    start = time.perf_counter()
    for index in range(number):
        classifier.predict(clips[index % len(clips)])
    return number / (time.perf_counter() - start)


def measure_throughput(clips: list[bytes], workers: int, number: int, temporary: str) -> None:
    contents = [clips[index % len(clips)] for index in range(number)]
    options = ("--workers", str(workers), "--rate-limit", "0", "--max-queue", "128")
    with serving(temporary, *options) as (address, _):
        asyncio.run(send_all(address, contents[: 4 * workers], workers))
        for clients in CLIENTS:
            alone = sequential_rate(clips, number // 2)
            responses, seconds = asyncio.run(send_all(address, contents, clients))
            print(f"{clients:3} clients: {summary(responses, seconds)}")
            print(f"  one process {alone:.1f} requests/s, ratio {len(responses) / seconds / alone:.2f}")


def measure_overload(clips: list[bytes], workers: int, requests: int, temporary: str) -> None:
    with serving(temporary, "--workers", str(workers), "--rate-limit", "0", "--max-queue", "4") as (
        address,
        _,
    ):
        asyncio.run(send_all(address, clips[:1] * 4, 1))
        responses, seconds = asyncio.run(send_all(address, clips[:1] * requests, 64, pause=1))
        rejected = [response for response in responses if response[0] == 503]
        print(f"overload, 64 clients, queue of 4: {summary(responses, seconds)}")
        if rejected:
            latency = f"p50 {percentile(rejected, 0.5):.1f} ms, p99 {percentile(rejected, 0.99):.1f} ms"
            print(f"  rejected alone: {len(rejected)}, {latency}")
        print(f"  afterwards: {summary(*asyncio.run(send_all(address, clips[:1] * 10, 1)))}")
    with serving(temporary, "--workers", str(workers)) as (address, _):
        responses, seconds = asyncio.run(send_all(address, clips[:1] * 100, 4))
        print(f"one client beyond its rate limit: {summary(responses, seconds)}")


def random_upload(clip: bytes, generator: random.Random) -> bytes:
    """Return a clip whole, cut off, with damaged bytes, or an upload that is no audio, empty or too large."""
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
        return bytes(3 * 2**20)  # more than the limit of this server
    return clip


def memory(pid: int) -> float:
    """Return the resident megabytes of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for thread in threads for child in thread.read_text().split())


def resources(pid: int, temporary: str) -> dict[str, Any]:
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


async def soak_round(address: str, contents: list[bytes], disconnects: int) -> list[Response]:
    for _ in range(disconnects):
        await disconnect(address, contents[0])
    return (await send_all(address, contents, 8))[0]


def soak(clips: list[bytes], workers: int, number: int, temporary: str) -> None:
    generator = random.Random(0)
    options = ("--workers", str(workers), "--rate-limit", "0", "--max-upload-mb", "2", "--max-queue", "32")
    with serving(temporary, *options) as (address, pid):
        for part in range(5):
            contents = [random_upload(generator.choice(clips), generator) for _ in range(number // 5)]
            responses = asyncio.run(soak_round(address, contents, number // 50))
            time.sleep(1)
            counts = dict(sorted(Counter(status for status, _ in responses).items()))
            print(f"  after {(part + 1) * number // 5}: {counts}, {resources(pid, temporary)}")
        workers_before = children(pid)
    remaining = [worker for worker in workers_before if Path(f"/proc/{worker}").exists()]
    print(f"  after the server ended: processes {remaining}, temporary files {os.listdir(temporary)}")  # noqa: PTH208


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, help="audio files to upload")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--requests", type=int, default=200, help="requests with each number of clients")
    parser.add_argument("--overload", type=int, default=1000, help="requests to the overloaded server")
    parser.add_argument("--soak", type=int, default=0, help="uploads of the soak test; 0: no soak test")
    options = parser.parse_args()
    clips = [path.read_bytes() for path in options.clips]
    size = statistics.mean(map(len, clips)) / 1000
    print(f"{len(clips)} clips of {size:.0f} kB, {options.workers} workers, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as temporary:
        measure_throughput(clips, options.workers, options.requests, temporary)
        measure_overload(clips, options.workers, options.overload, temporary)
        if options.soak:
            print(f"soak: {options.soak} uploads, two thirds of them invalid, and others disconnected")
            soak(clips, options.workers, options.soak, temporary)


if __name__ == "__main__":
    main()
