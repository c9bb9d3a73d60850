"""What the code imports is what pyproject.toml declares, and the base installation needs nothing else."""

from __future__ import annotations

import ast
import functools
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEVELOPMENT = ("docs", "dev")
# Distributions whose modules have another name.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "mlflow": "mlflow-skinny"}
# Imported by a library that finds it by its name: torch.utils.tensorboard.
INDIRECT = {"tensorboard"}
# Packages whose modules may need an extra to be imported at all; a command imports them when it runs.
OPTIONAL_PACKAGES = {"beetsplug", "distributed", "models", "training", "web"}


class Import(NamedTuple):
    """An import of a module that is neither Python's nor ours."""

    package: str
    file: str
    line: int
    at_import: bool
    """Whether it happens when the file is imported."""


def canonical(name: str) -> str:
    """Return the name of a distribution as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(package: str) -> str:
    return canonical(DISTRIBUTIONS.get(package, package))


def named_packages(node: ast.AST) -> list[str]:
    """Return the top-level packages that a node imports, by a statement or by its name as a text."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
        text = ast.unparse(node.args[0])
        found = re.match(r"f?'(\w+)", text)
        return [found[1]] if found else []
    return []


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Yield the imports of a file, those for annotations only left out."""
    own = {"genrescope", "beetsplug"}

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_import = False
        for package in named_packages(node):
            if package not in sys.stdlib_module_names and package not in own:
                yield Import(package, file, getattr(node, "lineno", 0), at_import)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import)

    yield from visit(ast.parse(source), True)


@functools.cache
def all_imports() -> list[Import]:
    source = ROOT / "src"
    return [
        one
        for path in sorted(source.rglob("*.py"))
        for one in imports_of(path.read_text(encoding="utf8"), path.relative_to(source).as_posix())
    ]


def declared(requirements: list[str]) -> dict[str, str]:
    """Return the distributions of a list of requirements, and those of the extras that it includes."""
    found = {}
    for requirement in requirements:
        match = re.match(r"([\w.-]+)(?:\[([^\]]*)\])?", requirement)
        assert match, requirement
        if match[1] == "genrescope":
            for extra in match[2].split(","):
                found |= declared(EXTRAS[extra.strip()])
        else:
            found[canonical(match[1])] = requirement
    return found


BASE = declared(PROJECT["dependencies"])
OPTIONAL = {extra: declared(listed) for extra, listed in EXTRAS.items() if extra not in DEVELOPMENT}


def test_imports_of_all_kinds_are_found() -> None:
    source = "\n".join(
        [
            "from __future__ import annotations",
            "import os, scipy.signal",
            "from importlib import import_module",
            "from . import other",
            "if TYPE_CHECKING:",
            "    import pandas",
            "try:",
            "    import yaml",
            "except ImportError: pass",
            "def load(name):",
            "    from sklearn import svm",
            "    import_module('torch.nn')",
            "    import_module(f'mutagen.{name}')",
            "    import_module(name)",
        ]
    )
    found = {(one.package, one.at_import) for one in imports_of(source, "x.py")}
    assert found == {
        ("scipy", True), ("yaml", True), ("sklearn", False), ("torch", False), ("mutagen", False)
    }  # fmt: skip


def test_everything_imported_is_declared() -> None:
    known = set(BASE).union(*OPTIONAL.values())
    missing = [one for one in all_imports() if distribution(one.package) not in known]
    assert not missing


def test_everything_declared_is_imported() -> None:
    used = {distribution(one.package) for one in all_imports()} | INDIRECT
    unused = {name for listed in (BASE, *OPTIONAL.values()) for name in listed} - used
    assert not unused


def test_tools_of_developers_are_used_by_tests_scripts_or_checks() -> None:
    files = [
        path
        for pattern in (
            "tests/**/*.py",
            "scripts/*.py",
            "benchmarks/*.py",
            "Makefile",
            "mkdocs.yml",
            "docs/*.md",
        )
        for path in ROOT.glob(pattern)
        if path != Path(__file__)
    ]
    text = "\n".join(path.read_text(encoding="utf8") for path in files).replace("-", "_")
    # These are named by their modules, or by another program's settings.
    modules = {
        "import-linter": "lint-imports",
        "mkdocs-material": "name: material",
        "pytest-timeout": "mark.timeout",
        "pytest-xdist": "--numprocesses",
    }
    for extra in DEVELOPMENT:
        own = [one for one in EXTRAS[extra] if not one.startswith("genrescope[")]
        for name in declared(own):
            word = modules.get(name, name).replace("-", "_")
            assert word in text, f"{name} of the extra {extra} is used nowhere"


def test_only_packages_that_need_an_extra_anyway_import_its_libraries_at_once() -> None:
    wrong = [
        one
        for one in all_imports()
        if one.at_import
        and distribution(one.package) not in BASE
        and one.file.removeprefix("genrescope/").partition("/")[0] not in OPTIONAL_PACKAGES
    ]
    assert not wrong


def test_every_extra_is_explained() -> None:
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(EXTRAS)


def test_every_extra_for_users_is_tried_by_the_script_that_installs_it() -> None:
    module = runpy.run_path(str(ROOT / "scripts" / "check_extras.py"))
    assert set(module["CHECKS"]) == {*EXTRAS, "base"} - {"dev"}
    for extra, check in module["CHECKS"].items():
        own = declared(EXTRAS.get(extra, PROJECT["dependencies"]))
        assert {distribution(one) for one in check.modules.split()} & set(own), extra


def other_modules() -> set[str]:
    """Return the installed top-level modules that neither the base dependencies have nor what these need."""
    wanted, seen = set(BASE), set()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # Needed on other systems only, such as colorama.
        needed = [one for one in requirements if "extra ==" not in one]
        wanted |= {canonical(re.match(r"[\w.-]+", one)[0]) for one in needed} - seen  # type: ignore[index]
    return {
        module
        for module, names in metadata.packages_distributions().items()
        if not seen & {canonical(name) for name in names}
    } - {"genrescope", "beetsplug"}


_HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

MODULES = frozenset({modules})
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def hidden() -> str:
    """Python code that hides every installed module that the base installation would not have."""
    return _HIDE.replace("{modules}", repr(sorted(other_modules())))


def run_base(hidden: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", hidden + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf8")


def genrescope(hidden: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_base(hidden, "import genrescope.cli; genrescope.cli.run()", *arguments)


def test_the_base_installation_is_simulated_rightly(hidden: str) -> None:
    done = run_base(hidden, "import numpy, av, rich\nimport mutagen")
    assert "No module named 'mutagen'" in done.stderr


def test_all_modules_outside_of_the_optional_packages_import_with_the_base_alone(hidden: str) -> None:
    base = []
    for path in sorted((ROOT / "src" / "genrescope").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        if parts[1] not in OPTIONAL_PACKAGES | {"__main__"}:
            base.append(".".join(parts).removesuffix(".__init__"))
    assert len(base) > 100
    done = run_base(
        hidden, "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *base
    )
    assert done.returncode == 0, done.stderr


def test_help_and_classification_need_the_base_alone(hidden: str) -> None:
    done = genrescope(hidden, "--help")
    assert done.returncode == 0, done.stderr
    assert "classify" in done.stdout
    song = ROOT / "examples" / "demo_music" / "music" / "Muldjord - Chaos God.mp3"
    done = genrescope(hidden, "classify", str(song))
    assert '"genre": "metal"' in done.stdout, done.stderr


def test_every_command_explains_itself_with_the_base_alone(hidden: str) -> None:
    code = """
import contextlib, io
from typer.main import get_command
from genrescope.cli.main import app

def commands(command, words):
    yield words
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, [*words, name])

for words in commands(get_command(app), []):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            app([*words, "--help"])
        except SystemExit as ending:
            assert not ending.code, words
    assert "Usage" in text.getvalue(), words
    print(*words)
"""
    done = run_base(hidden, code)
    assert done.returncode == 0, done.stderr
    assert {"classify", "library scan", "train", "serve", "mcp"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [(["serve", "--port", "0"], "web"), (["train", "."], "train"), (["mcp", "."], "mcp")],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_of_an_extra_names_it(
    hidden: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    done = genrescope(hidden, *arguments)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'genrescope[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
