"""Write the JSON schemas of src/genrescope/schemas from the types that are printed and written.

Run: python scripts/write_schemas.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from genrescope.audit import Finding
from genrescope.evaluation import Comparison, Evaluation
from genrescope.schemas import SCHEMAS

FOLDER = Path(__file__).resolve().parents[1] / "src" / "genrescope" / "schemas"
Schema = dict[str, Any]

PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SCORES: Schema = {"type": "object", "additionalProperties": PROBABILITY}
COUNTS: Schema = {"type": "object", "additionalProperties": COUNT}


def described(schema: Schema, description: str) -> Schema:
    """Return a schema with what its value means."""
    return schema | {"description": description}


def optional(schema: Schema, description: str) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def listed(schema: Schema, description: str) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema, "description": description}


def record(properties: Schema, *, maybe: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that has these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in maybe],
        "additionalProperties": False,
    }


ERROR = record(
    {
        "code": described(TEXT, "What kind of error; see the page of error codes."),
        "message": described(TEXT, "What happened, and where."),
        "hint": described(TEXT, "What to do about it."),
    }
)
FAILED = record({"path": described(TEXT, "Of the file."), "error": ERROR})
SEGMENT = record(
    {
        "start": described({"type": "number", "minimum": 0}, "In seconds."),
        "end": described({"type": "number", "minimum": 0}, "In seconds."),
        "scores": described(SCORES, "Of all genres."),
    }
)
ANSWER = record(
    {
        "path": described(TEXT, "Of the file, as it was given."),
        "genre": described(TEXT, "The genre with the highest score."),
        "score": described(PROBABILITY, "Its score: a probability, where the model is calibrated."),
        "answer": optional(
            TEXT, "The narrowest label that the model is sure of: a style, its genre, or null."
        ),
        "unsure": described(
            {"type": "boolean"},
            "Whether the genre is not to be relied on: below the model's threshold, or no music.",
        ),
        "music": optional(PROBABILITY, "Probability that it is music; null where the model does not tell."),
        "not_music": described({"type": "boolean"}, "Whether it is speech, noise or effects."),
        "set": listed(TEXT, "The genres that it may be: the right one is among them for nine of ten files."),
        "scores": described(SCORES, "Of all genres, the highest first."),
        "styles": described(SCORES, "The styles that are probable, each with a probability of its own."),
        "seconds": optional({"type": "number", "minimum": 0}, "Length of the audio."),
        "model": described(TEXT, "Name of the model, and the beginning of its content's hash."),
        "flags": listed(TEXT, "What is special about the audio or the answer, such as truncated, excerpts."),
        "title": described(TEXT, "Of the track, where a cue sheet names it."),
        "timeline": listed(SEGMENT, "The segments, where they were asked for."),
    },
    maybe=("title", "timeline"),
)
TAG_COMPARISON = record(
    {
        "path": described(TEXT, "Of the file."),
        "verdict": described(
            {"enum": ["agree", "differ", "not music", "untagged", "unknown", "failed"]},
            "Whether the answer is one of the genres in the tags, or why there is nothing to compare.",
        ),
        "unsure": described({"type": "boolean"}, "Whether the answer is unsure."),
        "tags": listed(TEXT, "The genres in the tags."),
        "tag_genres": listed(TEXT, "The genres of the model that they mean."),
        "genre": optional(TEXT, "The genre with the highest score; null where it is not music."),
        "score": optional(PROBABILITY, "Its score."),
        "tag_score": optional(PROBABILITY, "The highest score of the genres in the tags."),
        "surprise": described(PROBABILITY, "How far the answer's score is above that of the tags."),
        "message": described(TEXT, "What failed, or empty."),
    }
)
ALBUM = record(
    {
        "path": described(TEXT, "Folder of the album."),
        "album": optional(TEXT, "Its title."),
        "artist": optional(TEXT, "Its artist."),
        "verdict": described(TEXT, "Whether its tracks agree on a genre."),
        "genre": optional(TEXT, "The genre that they agree on."),
        "score": optional(PROBABILITY, "Mean score of this genre over the tracks."),
        "answer": optional(TEXT, "The narrowest label that is sure."),
        "agreement": described(PROBABILITY, "Share of the answered tracks that have this genre."),
        "set": listed(TEXT, "The genres that the album may be."),
        "tracks": described(COUNT, "How many tracks it has."),
        "answered": described(COUNT, "How many have a sure answer."),
        "uncertain": described(COUNT, "How many are unsure."),
        "not_music": described(COUNT, "How many are no music."),
        "failed": described(COUNT, "How many could not be read."),
        "genres": described(COUNTS, "Answered tracks by genre."),
        "answers": described(COUNTS, "Answered tracks by answer."),
        "scores": described(SCORES, "Means over the tracks."),
        "styles": described(SCORES, "Means over the tracks."),
    }
)
PROGRESS = record(
    {
        "what": described(TEXT, "What is counted, such as files."),
        "done": described(COUNT, "How many are done."),
        "total": optional(COUNT, "How many there are; null where that is not known yet."),
        "failed": described(COUNT, "How many of those that are done failed."),
        "seconds": described({"type": "number", "minimum": 0}, "Since the beginning."),
        "finished": described({"type": "boolean"}, "Whether this is the last line."),
    }
)
AUDIT = record(
    {
        "schema": described(COUNT, "Version of this format."),
        "version": described(TEXT, "Of genrescope."),
        "data": described(TEXT, "What was audited."),
        "tracks": described(COUNT, "How many tracks it has."),
        "settings": described({"type": "object", "additionalProperties": TEXT}, "Of the audit."),
        "counts": described(COUNTS, "Findings by kind."),
        "findings": listed({"$ref": "#/$defs/Finding"}, "The highest scores first."),
    }
)
PREDICTIONS = record(
    {
        "unit": {"enum": ["segment", "track"]},
        "classes": listed(TEXT, "Names of the scores, in their order."),
        "rows": listed(
            record(
                {
                    "id": described(TEXT, "Of the track."),
                    "group": described(TEXT, "Artist or recording."),
                    "genre": described(TEXT, "Of the data set."),
                    "predicted": described(TEXT, "The genre with the highest score."),
                    "scores": listed(PROBABILITY, "In the order of the classes."),
                    "labels": listed(TEXT, "Genres that the data set states, of a multi-label task."),
                    "judged": listed(TEXT, "Genres that it says something about, of a multi-label task."),
                    "predicted_labels": listed(
                        TEXT, "Genres at or above their thresholds, of a multi-label task."
                    ),
                },
                maybe=("labels", "judged", "predicted_labels"),
            ),
            "Of the test part.",
        ),
    }
)


class Schemas(GenerateJsonSchema):
    """Schemas of dataclasses, described by the first paragraph of their docstrings."""

    def generate(self, *arguments: Any, **options: Any) -> Schema:
        """Return a schema; see `GenerateJsonSchema.generate`."""
        return trimmed(super().generate(*arguments, **options))


def trimmed(value: Any) -> Any:
    """Shorten descriptions to their first paragraph, and leave out titles that repeat the names of keys."""
    if isinstance(value, list):
        return [trimmed(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: trimmed(one) for key, one in value.items() if not (key == "title" and isinstance(one, str))}
    if isinstance(kept.get("description"), str):
        kept["description"] = re.sub(r"\s+", " ", kept["description"].split("\n\n")[0])
    return kept


def of_type(kind: type, **further: Schema) -> Schema:
    """Return the schema of a dataclass that is written with further keys."""
    schema = TypeAdapter(kind).json_schema(mode="serialization", schema_generator=Schemas)
    schema["properties"] = further | schema["properties"]
    schema["required"] = [*further, *schema["required"]]
    return schema


def schemas() -> dict[str, Schema]:
    """Return all schemas by name."""
    finding = of_type(Finding)
    comparison = of_type(Comparison, title=TEXT)
    definitions = comparison.pop("$defs") | {"Comparison": comparison}
    for name, keys in {
        "ModelSummary": ["deviation"],
        "PairedDifference": ["verdict", "is_consistent"],
    }.items():
        definitions[name]["properties"] |= {key: {} for key in keys}
        definitions[name]["required"] += keys
    comparison["properties"]["critical_view"] = listed(TEXT, "What differs beyond chance, in sentences.")
    report = record(
        {
            "title": TEXT,
            "data": described(TEXT, "Name of the data set."),
            "provenance": described({"type": "object"}, "Versions, command, commit and time."),
            "settings": described({"type": "object"}, "By configuration."),
            "comparisons": listed({"$ref": "#/$defs/Comparison"}, "One for each protocol."),
            "runs": described({"type": "object"}, "Folders of the runs, by protocol and configuration."),
            "curves": described({"type": "object"}, "Learning curves, by protocol and configuration."),
        }
    )
    found = {
        "classify": {"anyOf": [ANSWER, FAILED]},
        "progress": PROGRESS,
        "album": ALBUM,
        "tag-comparison": TAG_COMPARISON,
        "audit": AUDIT | {"$defs": {**finding.pop("$defs", {}), "Finding": finding}},
        "evaluation": of_type(Evaluation, title=TEXT),
        "predictions": PREDICTIONS,
        "comparison": report | {"$defs": definitions},
    }
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"genrescope {name}",
            "description": f"{SCHEMAS[name][0].upper()}{SCHEMAS[name][1:]}.",
            **schema,
        }
        for name, schema in found.items()
    }


def texts() -> dict[str, str]:
    """Return the files by name."""
    return {name: json.dumps(schema, indent=1) + "\n" for name, schema in schemas().items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf8")
