"""Docstrings of public functions, methods and classes name every parameter and every error raised.

Checked in the source by ``ast``, because ruff's D417 accepts a docstring without a section of parameters, and
pydoclint asks for such sections even where one sentence names the parameters.

A parameter is named by an entry of a section of numpy style, such as ``path : Path``, or between backticks in
a sentence. A field of a data class or a pydantic model may also have a comment of its own or
``Field(description=...)``. A function that raises an error of `genrescope.errors` itself needs a section
``Raises``; one that passes on the error of a function it calls need not repeat it.

Exempt are functions whose parameters are documented elsewhere: commands of the command line (by the help of
their options), and methods that override one of a base class in this package that names them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import genrescope
from genrescope import errors

SOURCE = Path(genrescope.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.GenrescopeError)
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_docstrings_name_parameters_and_errors(path: Path) -> None:
    name = path.relative_to(SOURCE).as_posix()
    lines = path.read_text(encoding="utf8").splitlines()
    faults = list(faults_of(parsed(path).body, lines))
    assert not faults, f"{name}:\n" + "\n".join(faults)


def faults_of(body: list[ast.stmt], lines: list[str], owner: ast.ClassDef | None = None) -> Iterator[str]:
    """Yield what the docstrings of public definitions lack; ``owner`` is the class whose body it is."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from class_faults(node, lines)
            yield from faults_of(node.body, lines, node)
        elif isinstance(node, Function) and not node.name.startswith("_") and not is_exempt(node, owner):
            name = f"{owner.name}.{node.name}" if owner else node.name
            yield from text_faults(name, ast.get_docstring(node) or "", parameters(node), raises(node))


def class_faults(node: ast.ClassDef, lines: list[str]) -> Iterator[str]:
    """Yield which fields, and parameters of ``__init__``, a class does not document."""
    text = ast.get_docstring(node) or ""
    wanted: list[str] = []
    raised = False
    for item in node.body:
        if isinstance(item, Function) and item.name == "__init__":
            wanted += parameters(item)
            raised = raises(item)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and has_fields(node):
            name = item.target.id
            if not name.startswith("_") and name != "model_config" and not has_description(item, lines):
                wanted.append(name)
    yield from text_faults(node.name, text, wanted, raised)


def text_faults(name: str, text: str, wanted: list[str], raised: bool) -> Iterator[str]:
    missing = [parameter for parameter in wanted if not is_named(parameter, text)]
    if missing:
        yield f"  {name} does not name {', '.join(missing)}"
    if raised and not re.search(r"^Raises\n-{6}$", text, re.MULTILINE):
        yield f"  {name} raises an error, and has no section Raises"


def is_named(parameter: str, text: str) -> bool:
    entry = rf"^(\*{{0,2}}\w+, )*\*{{0,2}}{parameter}(, \*{{0,2}}\w+)*( : .*)?$"
    quoted = rf"`[^`\n]*\b{parameter}\b[^`\n]*`"
    return bool(re.search(entry, text, re.MULTILINE) or re.search(quoted, text))


def parameters(node: Function) -> list[str]:
    arguments = node.args
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        arguments.vararg,
        *arguments.kwonlyargs,
        arguments.kwarg,
    ]
    names = [argument.arg for argument in named if argument is not None]
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def is_option(argument: ast.arg) -> bool:
    annotation = argument.annotation
    return isinstance(annotation, ast.Subscript) and called(annotation.value) == "Annotated"


def raises(node: Function) -> bool:
    """Whether a function raises an error of this package itself, written out or made by a helper."""
    return any(
        isinstance(one, ast.Raise) and called(one.exc) in ERRORS | error_helpers() for one in own_nodes(node)
    )


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is within a function, but not within a function defined in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda):
            yield child
            yield from own_nodes(child)


def called(node: ast.expr | None) -> str:
    """Return the last name of what is called, such as ``write_failed`` of ``errors.write_failed(...)``."""
    target = node.func if isinstance(node, ast.Call) else node
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


def has_fields(node: ast.ClassDef) -> bool:
    """Whether the annotated names of a class are fields: of a data class, a named tuple, a pydantic model."""
    decorated = {called(decorator) for decorator in node.decorator_list}
    return "dataclass" in decorated or bool(
        {"NamedTuple", "TypedDict", "BaseModel"} & {called(base) for base in all_bases(node)}
    )


def has_description(item: ast.AnnAssign, lines: list[str]) -> bool:
    """Whether a field has a comment in its line or above it, or a description in its value or type."""
    described = any(
        keyword.arg == "description"
        for part in (item.value, item.annotation)
        if part is not None
        for call in ast.walk(part)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
    )
    above = lines[item.lineno - 2].strip()
    return described or above.startswith("#") or " # " in lines[item.lineno - 1]


def is_exempt(node: Function, owner: ast.ClassDef | None) -> bool:
    """Whether the parameters of a function are documented where this check does not look."""
    if {called(decorator) for decorator in node.decorator_list} & {"overload", "command", "callback"}:
        return True
    if node.name in commands() and owner is None:
        return True
    if owner is None:
        return False
    overridden = (
        ast.get_docstring(item) or ""
        for base in all_bases(owner)
        for item in getattr(classes().get(called(base)), "body", ())
        if isinstance(item, Function) and item.name == node.name
    )
    return any(all(is_named(parameter, text) for parameter in parameters(node)) for text in overridden)


def all_bases(node: ast.ClassDef) -> Iterator[ast.expr]:
    """Yield the bases of a class, and theirs, as far as they are classes of this package."""
    for base in node.bases:
        yield base
        # A class may have the name of its base in another library.
        if called(base) in classes() and called(base) != node.name:
            yield from all_bases(classes()[called(base)])


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf8"))


@cache
def classes() -> dict[str, ast.ClassDef]:
    """Return the classes of the package by name."""
    return {
        node.name: node for path in MODULES for node in parsed(path).body if isinstance(node, ast.ClassDef)
    }


@cache
def commands() -> set[str]:
    """Return the functions that ``cli/main.py`` makes commands of, whose options have help texts."""
    return {
        called(node.args[0])
        for node in ast.walk(parsed(SOURCE / "cli" / "main.py"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Call) and called(node.func) == "command"
    }


@cache
def error_helpers() -> set[str]:
    """Return the functions of the package that return an error to be raised."""
    return {
        node.name
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, Function) and node.returns is not None and called(node.returns) in ERRORS
    }


def test_the_check_finds_what_is_missing() -> None:
    source = '''
class Shape:
    """A shape with ``sides``."""

    def __init__(self, sides, color): ...

    def scale(self, factor, about):
        """Scale it.

        Parameters
        ----------
        factor : float
        """
        raise ConfigError("invalid_argument", "", "")

    def turn(self, degrees):
        """Turn it by ``degrees``."""

    def _move(self, by): ...
'''
    assert list(faults_of(ast.parse(source).body, source.splitlines())) == [
        "  Shape does not name color",
        "  Shape.scale does not name about",
        "  Shape.scale raises an error, and has no section Raises",
    ]
