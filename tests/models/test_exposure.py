"""What a network was exposed to without labels: written, read, and refused where it is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genrescope.errors import ModelError
from genrescope.models import UnlabeledExposure, backbone_exposures, write_exposures
from genrescope.models.exposure import exposures_from_json, read_exposures

ENTRY: dict[str, Any] = {"data": "Emotify", "tracks": 2, "hours": 0.5, "content": ["0123456789"]}


def test_an_entry_is_read_as_it_was_written() -> None:
    entry = UnlabeledExposure.from_json(ENTRY)
    assert entry == UnlabeledExposure("Emotify", 2, 0.5, ("0123456789",))
    assert entry.to_json() == ENTRY
    assert UnlabeledExposure.from_json({"data": "AudioSet"}) == UnlabeledExposure("AudioSet")
    unknown = UnlabeledExposure("AudioSet")
    assert UnlabeledExposure.from_json(unknown.to_json()) == unknown


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        "AudioSet",
        [[]],
        [{}],
        [{"tracks": 1}],
        [{**ENTRY, "more": 1}],
        *(
            [{**ENTRY, name: value}]
            for name, value in (
                ("data", ""),
                ("data", "\x1b[2J"),
                ("data", "x" * 10**5),
                ("data", 3),
                ("tracks", -1),
                ("tracks", True),
                ("tracks", 1.5),
                ("hours", -0.1),
                ("hours", float("nan")),
                ("hours", float("inf")),
                ("hours", 10**400),
                ("hours", "1"),
                ("content", "0123456789"),
                ("content", [1]),
                ("content", None),
            )
        ),
    ],
)
def test_what_is_no_list_of_entries_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match=r"entry|list|name|count|length"):
        exposures_from_json(values)


def test_entries_stand_beside_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "student.pt"
    assert read_exposures(weights) is None
    entries = (UnlabeledExposure("AudioSet"), UnlabeledExposure.from_json(ENTRY))
    write_exposures(entries, weights)
    assert read_exposures(weights) == entries
    assert backbone_exposures("student", weights=weights) == entries


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[" * 10**5, "\xff"])
def test_a_damaged_file_beside_the_weights_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "student.exposure.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError) as caught:
        backbone_exposures("student", weights=tmp_path / "student.pt")
    assert caught.value.code == "model_corrupt"


def test_what_backbones_of_the_catalog_were_trained_on_is_known() -> None:
    assert [one.data for one in backbone_exposures("mn04")] == ["AudioSet"]
    assert backbone_exposures("vgg16") == ()  # pictures
    packaged = backbone_exposures("student")
    assert [(one.tracks, len(one.content)) for one in packaged] == [(None, 0), (260, 260), (200, 200)]
