"""Install the wheel with each extra into an environment of its own, and try what the extra is for.

    python scripts/check_extras.py [EXTRA ...] [--wheel FILE] [--constraints constraints.txt]

Without names: the base installation (``base``) and all extras for users. Of each it is checked that
``genrescope --version`` runs, that the libraries can be imported, and that what the extra is for works
on ``examples/demo_music``. Then a table of installed sizes is printed. Environments are removed afterwards.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUSIC = ROOT / "examples" / "demo_music" / "music"
SONG = MUSIC / "Muldjord - Chaos God.mp3"
BASE = "base"

# Run as programs of their own, in the folder with the music.
_SERVE = """
import re, subprocess, sys, urllib.request
from pathlib import Path
command = [sys.executable, "-m", "genrescope", "serve", "--port", "0", "--workers", "1"]
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
    address = next(found[0] for line in server.stdout if (found := re.search("http://[^ ]+", line)))
    song = urllib.request.Request(f"{address}/v1/classify", data=Path("song.mp3").read_bytes())
    print(urllib.request.urlopen(song).read().decode())
    server.terminate()
"""
_WATCH = """
from genrescope.library import Library, Watcher
with Library("watch.db") as library, Watcher(library, ["music"]) as watcher:
    print(sum(1 for _ in watcher.scan()), "files are watched")
"""
_PANDAS = """
from genrescope.features import feature_table
print(len(feature_table(["song.mp3"]).to_pandas()) > 0)
"""
_MIRDATA = """
import mirdata
print("gtzan_genre" in mirdata.list_datasets())
"""
_BEETS = "plugins: genrescope\nlibrary: beets.db\ndirectory: imported\n"


@dataclass(frozen=True)
class Check:
    """How an extra is tried.

    Attributes
    ----------
    modules : str
        What must be importable.
    commands : tuple of str
        Command lines of programs of the environment, or ``python:`` and code. They run in a folder with
        ``song.mp3``, ``music`` (the demo music) and ``tracks.csv``, which gives each file one of two labels.
    shown : str
        What the last of them must print.
    """

    modules: str
    commands: tuple[str, ...]
    shown: str


_SCAN = "genrescope library scan music --db library.db --quiet"
_VALUES = (
    "split.protocol=segment-random",
    "data.segment_seconds=3",
    "data.hop_seconds=0",
    "augment.crops_per_track=0",
)
_TRAIN = " --set ".join(("genrescope train tracks.csv --run-dir run", *_VALUES))
_EPOCH = f"{_TRAIN} --config cnn --set train.epochs=1"

CHECKS = {
    "base": Check(
        "numpy scipy av onnxruntime",
        (
            "genrescope classify song.mp3",
            _SCAN,
            "genrescope audit music",
            "genrescope library list --db library.db",
        ),
        '"genre": "metal"',
    ),
    "tags": Check("mutagen", (_SCAN, "genrescope library tag --db library.db"), "files in all"),
    "beets": Check(
        "beets mutagen", ("beet -c beets.yaml import -qA music", "beet -c beets.yaml genrescope -p"), ""
    ),
    "watch": Check("watchdog", (f"python:{_WATCH}",), "9 files are watched"),
    "web": Check("fastapi uvicorn prometheus_client", (f"python:{_SERVE}",), '"genre": "metal"'),
    "mcp": Check("mcp mcp_types mutagen", ("genrescope mcp music",), ""),
    "parquet": Check(
        "pyarrow", (_SCAN, "genrescope library export --db library.db -f parquet -o rows.parquet"), ""
    ),
    "pandas": Check("pandas", (f"python:{_PANDAS}",), "True"),
    "mirdata": Check("mirdata", (f"python:{_MIRDATA}",), "True"),
    "ray": Check(
        "ray pyarrow fsspec", ("genrescope cluster classify music --output rows --concurrency 1",), "9"
    ),
    "train": Check(
        "torch lightning sklearn skl2onnx onnx matplotlib safetensors",
        (f"{_TRAIN} --config logistic-regression", "genrescope classify song.mp3 -m run/model.onnx"),
        '"genre"',
    ),
    "tensorboard": Check("tensorboard", (f"{_EPOCH} --logger tensorboard",), "accuracy"),
    "mlflow": Check("mlflow", (f"{_EPOCH} --logger mlflow",), "accuracy"),
    "wandb": Check("wandb", (f"{_EPOCH} --logger wandb",), "accuracy"),
    "tune": Check("optuna", ("genrescope tune --help",), "--storage"),
    "hub": Check("huggingface_hub transformers", ("genrescope models list",), "default"),
    "all": Check(
        "torch mutagen fastapi mcp watchdog pandas pyarrow optuna beets",
        ("genrescope classify song.mp3",),
        '"metal"',
    ),
    "docs": Check("mkdocs material mkdocstrings", ("mkdocs --version",), "mkdocs"),
}


class CheckError(Exception):
    """A program of an environment failed, or did not print what it must."""


def main() -> None:
    """Check the extras that the command line names, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extras", nargs="*", choices=[*CHECKS, []], metavar="EXTRA", help=" ".join(CHECKS))
    parser.add_argument("--wheel", type=Path, help="Without it, the wheel is built here.")
    parser.add_argument("--constraints", type=Path, help="Versions for pip.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="check-extras-") as name:
        folder = Path(name)
        wheel = options.wheel or _build(folder)
        sizes, failed = {}, []
        for extra in options.extras or [*CHECKS]:
            try:
                sizes[extra] = check(extra, wheel.resolve(), options.constraints, folder / "env")
                print(f"{extra}: works, {sizes[extra] / 1e6:.0f} MB", flush=True)
            except CheckError as failure:
                failed.append(extra)
                print(f"{extra}: {failure}", flush=True)
    base = sizes.get(BASE)
    print("\n| extra | MB installed | more than the base |\n|---|---|---|")
    for extra, size in sizes.items():
        more = "" if base is None or extra == BASE else f"{(size - base) / 1e6:.0f}"
        print(f"| `{extra}` | {size / 1e6:.0f} | {more} |")
    if failed:
        raise SystemExit(f"\nfailed: {', '.join(failed)}")


def check(extra: str, wheel: Path, constraints: Path | None, folder: Path) -> int:
    """Install an extra, try it, and return how many bytes its environment has, without pip.

    Parameters
    ----------
    extra : str
        A key of ``CHECKS``.
    wheel : Path
    constraints : Path, optional
        Versions for pip.
    folder : Path
        Where the environment is made; it is removed afterwards.

    Raises
    ------
    CheckError
        Something does not work; with its output.
    """
    venv.create(folder, with_pip=True)
    try:
        before = _bytes(folder)
        programs = folder / ("Scripts" if os.name == "nt" else "bin")
        limits = ["--constraint", str(constraints.resolve())] if constraints else []
        wanted = str(wheel) if extra == BASE else f"{wheel}[{extra}]"
        run([programs / "python", "-m", "pip", "install", "--quiet", *limits, wanted], folder)
        size = _bytes(folder) - before
        _try(CHECKS[extra], programs, folder / "work")
        return size
    finally:
        shutil.rmtree(folder)


def _try(check: Check, programs: Path, folder: Path) -> None:
    shutil.copytree(MUSIC, folder / "music")
    shutil.copy(SONG, folder / "song.mp3")
    (folder / "beets.yaml").write_text(_BEETS, encoding="utf8")
    with (folder / "tracks.csv").open("w", encoding="utf8", newline="") as stream:
        rows = [(f"music/{path.name}", "ab"[place % 2]) for place, path in enumerate(sorted(MUSIC.iterdir()))]
        csv.writer(stream).writerows([("path", "label"), *rows])
    shown = run([programs / "genrescope", "--version"], folder)
    assert shown.startswith("genrescope "), shown
    imports = ", ".join(check.modules.split())
    run([programs / "python", "-c", f"import genrescope, {imports}; print(genrescope.__file__)"], folder)
    for command in check.commands:
        kind, _, code = command.partition(":")
        program, *arguments = command.split()
        shown = run(
            [programs / "python", "-c", code] if kind == "python" else [programs / program, *arguments],
            folder,
        )
    if check.shown not in shown:
        raise CheckError(f"{check.commands[-1]}: printed no {check.shown!r}:\n{shown}")


def run(command: list[str | Path], folder: Path) -> str:
    """Run a program without standard input, and return what it printed; end with its output if it fails.

    Parameters
    ----------
    command : list of str or Path
    folder : Path
        Where it runs, and keeps its data.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "GENRESCOPE_CONFIG": "none",
        "GENRESCOPE_DATA": str(folder),
        "GENRESCOPE_CACHE": str(folder / "cache"),
        "BEETSDIR": str(folder),
        "WANDB_MODE": "offline",
    }
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf8",
        env=environment,
        cwd=folder,
    )
    if done.returncode:
        raise CheckError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def _build(folder: Path) -> Path:
    run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main()
