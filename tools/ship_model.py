"""Put the model of a finished run into the package: describe it, name it, note its checksum.

Run: python tools/ship_model.py RUN NAME FILE SUMMARY
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from genrescope import export
from genrescope.files import write_whole
from genrescope.models import Model

MODELS = Path(__file__).parents[1] / "src" / "genrescope" / "data" / "models"
LICENCE = "MIT for the weights; trained on GTZAN, research data whose recordings have no copyright clearance"


def ship(run: Path, name: str, file: str, summary: str) -> None:
    """Write the model and its entry in the catalogue."""
    trained = run / "model.onnx"
    info = replace(Model.read(trained).info, name=Path(file).stem, licence=LICENCE)
    graph = export.redescribe(trained.read_bytes(), info)
    write_whole(MODELS / file, graph)
    entry = {"name": name, "file": file, "sha256": hashlib.sha256(graph).hexdigest(), "summary": summary}
    catalogue = MODELS / "catalogue.json"
    others = [one for one in json.loads(catalogue.read_text(encoding="utf8")) if one["name"] != name]
    write_whole(catalogue, json.dumps([entry, *others], indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    ship(Path(sys.argv[1]), *sys.argv[2:])
