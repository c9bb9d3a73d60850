"""The house itself: stairs go down only, and opening the front door is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import genrescope

ROOMS = Path(genrescope.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Lowest first; a room imports only from the lines above its own.
FLOORS = (
    "errors",
    "records config files levels paper style",
    "audioset filterbanks tables pictures gtzan replicas metrics document effects fetching "
    "efficientat imagenet hub headers worker crew inventory database patch containers",
    "decode",
    "audio segments sampling augment distort datasets splits calibrate spectrum student tags vocabulary",
    "features evaluate plots page",
    "survey shelves",
    "scorecard store classical networks backbones",
    "report models transfer",
    "export examples predict lessons",
    "task learner assembly distil",
    "fitting measure",
    "makers teaching",
    "tagging",
    "train batch listening printing hearing",
    "library",
    "watching",
    "librarian",
    "reproduce web",
    "cli",
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}


def room_files() -> dict[str, list[Path]]:
    """Return the files of each room: one file, or all of a package, which is one room."""
    rooms: dict[str, list[Path]] = {}
    for path in ROOMS.rglob("*.py"):
        if path.parent != ROOMS or path.stem not in ("__init__", "__main__"):
            rooms.setdefault(path.relative_to(ROOMS).parts[0].removesuffix(".py"), []).append(path)
    return rooms


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            rooms |= {(node.module or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "genrescope":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genrescope."):
            rooms.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("genrescope.")
            }
    return rooms & set(FLOOR_OF)


def test_every_room_has_a_floor() -> None:
    assert set(room_files()) == set(FLOOR_OF)


def test_stairs_go_down_only() -> None:
    climbs = [
        f"{path.relative_to(ROOMS)} imports {other}"
        for room, paths in room_files().items()
        for path in paths
        for other in imported_rooms(path) - ({room} if len(paths) > 1 else set())
        if FLOOR_OF[other] >= FLOOR_OF[room]
    ]
    assert climbs == []


def test_the_layering_test_sees_deferred_imports(tmp_path: Path) -> None:
    file = tmp_path / "room.py"
    file.write_text(
        "def f():\n    from genrescope import cli\n    import genrescope.train\n"
        "    from genrescope.models import Model\n    from . import batch\n    from .audio import load\n"
    )
    assert imported_rooms(file) == {"cli", "train", "models", "batch", "audio"}


def heavy_modules_after(statement: str) -> set[str]:
    """Return which heavy libraries a fresh interpreter has loaded after ``statement``."""
    heavy = "torch sklearn lightning matplotlib onnx librosa ray fastapi uvicorn onnxruntime av mutagen beets"
    code = f"import sys; {statement}; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert heavy_modules_after("import genrescope; genrescope.__version__") == set()


def test_a_classifier_needs_no_training_libraries(little_music: Path) -> None:
    song = next(little_music.rglob("*.wav"))
    statement = f"import genrescope; genrescope.Classifier.load().classify({str(song)!r})"
    assert heavy_modules_after(statement) == {"onnxruntime"}
    assert heavy_modules_after("import genrescope.cli, genrescope.tags") == set()


def test_files_and_functions_stay_small() -> None:
    long = []
    for path in (*ROOMS.rglob("*.py"), *ROOMS.rglob("web/static/*")):
        text = path.read_text(encoding="utf8")
        if text.count("\n") > 400:
            long.append(f"{path.name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text if path.suffix == ".py" else "")):
            if isinstance(node, Function) and (size := body_lines(node)) > 40:
                long.append(f"{path.name}: {node.name} has {size} lines")
    assert long == []


def body_lines(function: Function) -> int:
    """Count the lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
