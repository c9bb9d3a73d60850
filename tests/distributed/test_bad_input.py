"""What cannot be done is told in one clear line, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from genrescope.cli.main import app
from genrescope.distributed import ClusterOptions, ClusterResult
from genrescope.distributed.run import _check_gpus, check_address
from genrescope.errors import ClusterError, ConfigError, GenrescopeError

pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (["--address", "127.0.0.1:9"], "cluster_unreachable", "127.0.0.1:9: no cluster can be reached"),
        (["--address", "ray://127.0.0.1:9"], "cluster_unreachable", "no cluster"),
        (["--address", "ftp://x"], "invalid_argument", "no address"),
        (["--output", "taken/rows"], "write_failed", "taken"),
        (["--output", "taken"], "invalid_argument", "not a folder"),
        (["--model", "nothing"], "model_not_found", "nothing"),
        (["--column", "song"], "invalid_argument", "no column 'song'"),
        (["--output", "strange://x"], "invalid_argument", "strange"),
    ],
)
def test_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: str, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    Path("tracks.csv").write_text("path\na.mp3\n")
    command = ["cluster", "classify", "tracks.csv", "--output", "rows", *options]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, GenrescopeError), result.output
    assert result.exception.code == code
    assert part in result.exception.message
    assert "\n" not in result.exception.message
    assert not list(tmp_path.rglob("*.parquet"))


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_address(None)
    check_address("auto")
    for address in ("nowhere", "ray://", "http://x:1", "x:port"):
        with pytest.raises(ConfigError):
            check_address(address)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ClusterError):
        check_address(None)


def test_gpus_that_the_cluster_does_not_have() -> None:
    _check_gpus(0.25, 1.0)
    with pytest.raises(ConfigError, match=r"0\.25 GPUs for each actor, and the cluster has 0"):
        _check_gpus(0.25, 0.0)


@pytest.mark.parametrize(
    ("options", "device"),
    [([], "cpu"), (["--num-gpus", "0.25"], "cuda"), (["--num-gpus", "1", "--device", "auto"], "auto")],
)
def test_a_gpu_that_is_reserved_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], device: str
) -> None:
    asked: list[ClusterOptions] = []

    def classify_source(source: str, destination: str, chosen: ClusterOptions) -> ClusterResult:
        asked.append(chosen)
        return ClusterResult(1, 0, 0, 0, 0, 0)

    monkeypatch.setattr("genrescope.distributed.classify_source", classify_source)
    command = ["cluster", "classify", str(tmp_path), "--output", "rows", "--processes", "3", *options]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (asked[0].actor.device, asked[0].actor.processes) == (device, 3)
