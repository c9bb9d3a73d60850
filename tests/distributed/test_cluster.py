"""Runs on a Ray cluster of three nodes: each file has one row, whatever is killed.

Ray and its drivers run in processes of their own, so that they can be killed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrescope.library import LibraryEntry, read_parquet
from helpers import sounds

pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(map(str, (SOURCE, TESTS))),
    "OMP_NUM_THREADS": "1",
    # Ray's workers have the lowest priority otherwise: beside other programs they hardly run.
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Nodes:
    """The cluster, in a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "helpers" / "cluster_nodes.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        self.address = self._answer("address").split()[1]

    def remove(self) -> None:
        """Kill a node."""
        assert self.process.stdin
        self.process.stdin.write("remove\n")
        self.process.stdin.flush()
        self._answer("removed")

    def _answer(self, word: str) -> str:
        assert self.process.stdout
        return next(line for line in self.process.stdout if line.startswith(word))

    def close(self) -> None:
        """End all nodes."""
        self.process.communicate()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Return a cluster of three nodes with a core each."""
    nodes = Nodes()
    yield nodes
    nodes.close()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "genrescope", *arguments], capture_output=True, text=True, env=ENVIRONMENT
    )


def rows(folder: Path) -> list[LibraryEntry]:
    """Return the rows of all parts."""
    return [
        entry for part in folder.glob("*.parquet") for part_rows in read_parquet(part) for entry in part_rows
    ]


def test_rows_of_a_cluster_are_those_of_classify(nodes: Nodes, tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    sounds.write(music / "noise.flac", sounds.noise(4, 22050), 22050, kind="FLAC", coding="PCM_16")
    sounds.write(music / "silent.wav", sounds.noise(2, 8000) * 0, 8000, kind="WAV", coding="PCM_16")
    (music / "text.mp3").write_text("no music")
    listed = run("classify", str(music), "--excerpts", "--format", "jsonl")
    output = tmp_path / "rows"
    command = ("cluster", "classify", str(music), "--output", str(output), "--address", nodes.address)
    done = run(*command, "--batch-rows", "2", "--workers-per-core", "2")
    assert done.returncode == 1, done.stderr
    assert "3 files classified, 2 of them failed, 0 were there" in done.stderr
    found = [json.dumps(entry.to_dict(), ensure_ascii=False) for entry in rows(output)]
    assert sorted(found) == sorted(listed.stdout.splitlines())
    imported = run("library", "import", str(output), "--db", str(tmp_path / "library.db"))
    assert "3 of 3 rows" in imported.stderr


def test_killed_drivers_and_nodes_lose_and_double_nothing(nodes: Nodes, tmp_path: Path) -> None:
    paths = [f"/music/{number:03}.mp3" for number in range(60)] + [
        "/music/crash-always.mp3",
        "/music/fail.mp3",
    ]
    manifest, output, log = tmp_path / "tracks.csv", tmp_path / "rows", tmp_path / "log"
    # A path that comes twice has one row.
    manifest.write_text("path\n" + "\n".join([*paths, paths[3]]))
    command = [sys.executable, str(TESTS / "helpers" / "cluster_driver.py"), str(manifest), str(output)]
    command += [nodes.address, str(log)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def wait_for_parts(driver: subprocess.Popen[str], count: int) -> None:
        while len(list(output.glob("*.parquet"))) < count:
            assert driver.poll() is None, "it ended before it was killed"
            time.sleep(0.02)

    first = start()
    wait_for_parts(first, random.Random(time.time_ns()).randint(1, 8))
    first.kill()
    first.communicate()
    before = Counter(entry.path for entry in rows(output))
    calls = len(log.read_text().splitlines())
    assert 0 < len(before) < len(paths)
    second = start()
    wait_for_parts(second, len(before) // 2 + 4)
    nodes.remove()
    answer, _ = second.communicate()
    assert second.returncode == 0
    assert Counter(entry.path for entry in rows(output)) == Counter(paths)
    errors = {entry.path: entry.error for entry in rows(output) if entry.error}
    assert errors == {"/music/crash-always.mp3": "worker_crashed", "/music/fail.mp3": "audio_silent"}
    assert f"known {len(before)}" in answer or len(before) < int(answer.split()[-1])
    # What was written is not classified again.
    assert not set(log.read_text().splitlines()[calls:]) & set(before) - {"/music/crash-always.mp3"}
