"""Importing the package is cheap: large libraries are loaded when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def heavy_modules_after(statement: str) -> set[str]:
    """Return which heavy libraries a fresh interpreter has loaded after ``statement``."""
    heavy = (
        "torch sklearn lightning matplotlib onnx librosa ray fastapi uvicorn"
        " onnxruntime av mutagen beets jinja2 pandas pyarrow huggingface_hub transformers"
    )
    code = f"import sys; {statement}; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert heavy_modules_after("import genrescope; genrescope.__version__") == set()


def test_packages_are_reachable_by_one_dot_and_light_themselves() -> None:
    names = "datasets.load_dataset, genrescope.features.extract, genrescope.evaluation.evaluate_model"
    assert heavy_modules_after(f"import genrescope; genrescope.{names}, genrescope.training.train") == set()


def test_a_classifier_needs_no_training_libraries(little_music: Path) -> None:
    song = next(little_music.rglob("*.wav"))
    statement = f"import genrescope; genrescope.Classifier.from_pretrained().predict({str(song)!r})"
    assert heavy_modules_after(statement) == {"onnxruntime"}
    assert heavy_modules_after("import genrescope.cli.main, genrescope.tagging") == set()


def test_only_reports_load_the_template_engine() -> None:
    use = "genrescope.reporting.format_clock(1.0), genrescope.reporting.style_sheet()"
    assert heavy_modules_after(f"import genrescope.cli.output, genrescope.reporting; {use}") == set()
