"""Put a trained model into the package: set its name and license, and add it to the catalog.

Run: python scripts/add_bundled_model.py model RUN NAME FILE SUMMARY      a whole model file
     python scripts/add_bundled_model.py head RUN NAME SUMMARY        the head of a frozen model, no backbone
     python scripts/add_bundled_model.py student RUN                      the weights of a student
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from genrescope import models
from genrescope.models import STUDENT_FILE, Model
from genrescope.utils import package_data, sha256_bytes, write_atomic

LICENSE = "MIT for the weights; trained on GTZAN, research data whose recordings have no copyright clearance"


def add_model(run: Path, name: str, file: str, summary: str) -> None:
    """Write the model and its entry in the catalog."""
    trained = run / "model.onnx"
    info = replace(Model.read(trained).info, name=Path(file).stem, license=LICENSE)
    graph = models.with_metadata(trained.read_bytes(), info)
    write_atomic(package_data("models", file), graph)
    add_to_catalog({"name": name, "file": file, "sha256": sha256_bytes(graph), "summary": summary})


def ship_head(run: Path, name: str, summary: str) -> None:
    """Write the head of a frozen model and its entry in the catalog."""
    model = Model.read(run / "model.onnx")
    head = models.extract_head(model, (run / "model.onnx").read_bytes())
    content = replace(head, info=replace(head.info, name=name, license=LICENSE)).to_bytes()
    file = f"{name}-head.npz"
    write_atomic(package_data("models", file), content)
    add_to_catalog(
        {
            "name": name,
            "file": f"{name}.onnx",
            "sha256": sha256_bytes(content),
            "summary": summary,
            "head": file,
        }
    )


def ship_student(run: Path) -> None:
    """Copy the weights of a student."""
    shutil.copyfile(run / STUDENT_FILE, package_data("models", STUDENT_FILE))


def add_to_catalog(entry: dict[str, str]) -> None:
    """Add an entry to the catalog, or replace the one of its name; the default is first."""
    catalog = package_data("models", "catalog.json")
    entries = [
        item for item in json.loads(catalog.read_text(encoding="utf8")) if item["name"] != entry["name"]
    ]
    entries = sorted([entry, *entries], key=lambda item: (item["name"] != "default", item["name"]))
    write_atomic(catalog, json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["model", run, name, file, summary]:
            add_model(Path(run), name, file, summary)
        case ["head", run, name, summary]:
            ship_head(Path(run), name, summary)
        case ["student", run]:
            ship_student(Path(run))
        case _:
            sys.exit(__doc__)
