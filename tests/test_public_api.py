"""Each package has one public API, and code outside a package uses nothing else of it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import genrescope

ROOT = Path(genrescope.__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
SINGLE_MODULES = {"errors", "types", "labels", "_version"}


def imported_modules(path: Path) -> set[str]:
    """Return the modules of genrescope that a file imports from, anywhere in it, with their full names."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {module for module in modules if module.startswith("genrescope.")}


def test_no_package_is_imported_from_outside_below_its_public_api() -> None:
    deep = []
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0]
        for module in imported_modules(path):
            _, package, *rest = module.split(".")
            if rest and package != own:
                deep.append(f"{path.relative_to(ROOT)} imports from {module}")
    assert deep == []


def test_imports_inside_functions_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "def f():\n    from genrescope.audio.loading import load_audio\n    import genrescope.web.app\n"
    )
    assert imported_modules(file) == {"genrescope.audio.loading", "genrescope.web.app"}


@pytest.mark.parametrize("name", ["genrescope", *(f"genrescope.{package}" for package in PACKAGES)])
def test_every_public_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__doc__
    assert len(set(package.__all__)) == len(package.__all__)
    for public in package.__all__:
        assert getattr(package, public) is not None
        assert public in dir(package)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        genrescope.nothing_of_the_kind  # noqa: B018
