"""The notebook of the examples runs, and holds its outputs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def test_every_cell_of_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(NOTEBOOK.parent)  # as Jupyter does
    script = importlib.util.spec_from_file_location("run_notebook", ROOT / "scripts" / "run_notebook.py")
    assert script is not None
    assert script.loader is not None
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf8"))
    outputs = module.run_cells(notebook)
    kept = ["".join(cell["outputs"][0]["text"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # Not the numbers, which differ in their last digits between processors.
    assert [len(output.splitlines()) for output in outputs] == [len(output.splitlines()) for output in kept]
    assert "folk" in outputs[0]
    assert "not music" in outputs[0]
    assert "artist-grouped" in outputs[5]
    assert outputs[-1].startswith("README.md model.onnx\n")
