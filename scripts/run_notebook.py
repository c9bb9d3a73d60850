"""Run the code cells of a notebook, in this process and without Jupyter, and write their outputs into it.

Run: python scripts/run_notebook.py examples/quickstart.ipynb

What a cell prints, and the value of an expression that is its last line, become its outputs, as text.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def run_cells(notebook: dict[str, Any]) -> list[str]:
    """Run all code cells in one namespace, and return the output of each.

    Parameters
    ----------
    notebook : dict
        Read from JSON, of nbformat 4.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            outputs.append(_run("".join(cell["source"]), cell["id"], namespace))
    return outputs


def _run(source: str, name: str, namespace: dict[str, Any]) -> str:
    """Run one cell, and return what it prints and the value of its last expression."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, name, "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            if value is not None:
                print(value)
    return printed.getvalue()


def main() -> None:
    """Write the outputs into a notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args().notebook
    notebook = json.loads(path.read_text(encoding="utf8"))
    outputs = run_cells(notebook)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, output) in enumerate(zip(cells, outputs, strict=True), 1):
        cell["execution_count"] = number
        stream = {"name": "stdout", "output_type": "stream", "text": output.splitlines(keepends=True)}
        cell["outputs"] = [stream] if output else []
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
