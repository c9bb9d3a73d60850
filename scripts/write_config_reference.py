"""Write the reference page of all training settings from their definitions.

Run: python scripts/write_config_reference.py
"""

from __future__ import annotations

from pathlib import Path

from genrescope.training import config_reference

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

if __name__ == "__main__":
    PAGE.write_text(config_reference(), encoding="utf8")
