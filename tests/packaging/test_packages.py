"""What is in the packages: the wheel, and the source distribution that gives the same wheel."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("build", reason="build is not installed")
pytest.importorskip("hatchling", reason="hatchling is not installed")


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build a package without a network: what builds it is installed."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        f"--{kind}",
        "--outdir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} <= {"genrescope", "beetsplug"} | {
        name.split("/")[0] for name in names if ".dist-info" in name
    }
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert source == {name for name in names if ".dist-info/" not in name}
    assert "genrescope/py.typed" in names
    assert "genrescope/models/data/genres-1.onnx" in names
    # The example of the page, with its attribution.
    assert {"genrescope/web/example/example.mp3", "genrescope/web/example/README.md"} <= set(names)
    # One installation downloads it: 12 MB is the limit of the default model alone.
    assert wheel.stat().st_size < 30_000_000


def test_the_source_distribution_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    package = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(package) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("genrescope-*")
    other = build(source, "wheel", tmp_path / "wheel")
    assert contents(other) == contents(wheel)


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_extras_and_addresses_are_in_the_metadata(unpacked: Path) -> None:
    (file,) = unpacked.glob("*.dist-info/METADATA")
    metadata = HeaderParser().parsestr(file.read_text(encoding="utf8"))
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    assert set(metadata.get_all("Provides-Extra")) == set(stated["optional-dependencies"])
    assert len(metadata.get_all("Project-URL")) == len(stated["urls"])
    assert metadata["License-Expression"] == "MIT"


def test_the_unpacked_wheel_classifies(unpacked: Path) -> None:
    song = ROOT / "examples" / "demo_music" / "music" / "Muldjord - Chaos God.mp3"
    # Not from the source folder, which an editable installation puts on the path.
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r});"
        f"sys.argv = ['genrescope', 'classify', {str(song)!r}];"
        "import genrescope.cli; assert genrescope.__file__.startswith(sys.path[0]), genrescope.__file__;"
        "genrescope.cli.run()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=unpacked
    )
    assert '"genre": "metal"' in done.stdout, done.stderr


def test_the_unpacked_wheel_serves_the_page_and_its_example(unpacked: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r});"
        "import genrescope; assert genrescope.__file__.startswith(sys.path[0]), genrescope.__file__;"
        "from genrescope.web.app import create_app; from starlette.testclient import TestClient;"
        "client = TestClient(create_app(), base_url='http://127.0.0.1:8000');"
        "paths = ('/', '/static/app.js', '/static/charts.js', '/static/base.css', '/static/example.mp3');"
        "print(*(client.get(path).status_code for path in paths))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=unpacked
    )
    assert done.stdout.split() == ["200"] * 5, done.stderr


def test_the_extra_for_all_is_all_that_users_choose_from() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"][
        "optional-dependencies"
    ]
    (everything,) = extras["all"]
    chosen = set(everything.removeprefix("genrescope[").removesuffix("]").split(","))
    assert chosen <= set(extras)
    # Loggers, readers of data sets and clusters are chosen by who has them; the rest is for developers.
    assert set(extras) - chosen <= {"all", "dev", "docs", "tensorboard", "mlflow", "wandb", "mirdata", "ray"}
