"""The API in its own words: OpenAPI, and a page of it that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import FastAPI

from genrescope import __version__
from genrescope.errors import OUTCOMES
from genrescope.reporting import Section, Table, render_sections

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SHARES: Schema = {"type": "object", "additionalProperties": _SHARE}
_NUMBER: Schema = {"type": "number", "minimum": 0}


def _record(properties: Schema, optional: Iterable[str] = ()) -> Schema:
    """Return an object of which all properties but the optional ones are always there."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_LIST_OF_TEXT: Schema = {"type": "array", "items": _TEXT}
COMPONENTS: Schema = {
    "Row": _record(
        {
            "path": _TEXT | {"description": "What the client called the file."},
            "genre": _TEXT,
            "score": _SHARE,
            "unsure": {"type": "boolean", "description": "Whether the score is too low to be relied on."},
            "scores": _SHARES | {"description": "Of every genre, by falling score; they sum to 1."},
            "styles": _SHARES | {"description": "Further genres, each with a probability of its own."},
            "seconds": _NUMBER,
            "model": _TEXT,
            "flags": _LIST_OF_TEXT,
            "timeline": {
                "type": "array",
                "items": _record({"start": _NUMBER, "end": _NUMBER, "scores": _SHARES}),
            },
        },
        optional=["timeline"],
    ),
    "Problem": _record(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT | {"description": "What happened."},
            "code": {"type": "string", "enum": sorted(OUTCOMES)},
            "hint": _TEXT | {"description": "What to do next."},
        }
    ),
    "Models": _record(
        {
            "default": _TEXT,
            "models": {
                "type": "array",
                "items": _record(
                    {
                        "name": _TEXT,
                        "model": _TEXT,
                        "classes": _LIST_OF_TEXT,
                        "styles": _LIST_OF_TEXT,
                        "min_score": {"anyOf": [_SHARE, {"type": "null"}]},
                        "segment_seconds": _NUMBER,
                        "license": _TEXT,
                    }
                ),
            },
            "limits": _record({"max_bytes": {"type": "integer"}, "max_seconds": _NUMBER}),
        }
    ),
}
_FILE: Schema = {"type": "string", "format": "binary"}
BODY: Schema = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _record({"file": _FILE})},
        "application/octet-stream": {"schema": _FILE},
    },
}
_FAILURES = {
    400: "An option or the form makes no sense.",
    401: "The token is missing or wrong.",
    404: "No such model is served.",
    408: "The upload took too long.",
    413: "More bytes, seconds or memory than allowed.",
    415: "Not audio that can be decoded.",
    422: "Audio that cannot be classified: empty, silent, too short, damaged.",
    429: "Too many requests of this client; Retry-After says when to come again.",
    500: "A fault of the server.",
    503: "All workers are busy and the queue is full; Retry-After says when to come again.",
    507: "The server has no room for the upload.",
}


def answers(statuses: Iterable[int] = (), **media: Schema) -> dict[int | str, Schema]:
    """Return the responses of an operation: 200 as ``json`` or ``plain`` text, the rest as problems."""
    kinds = {"json": "application/json", "plain": "text/plain"}
    content = {kinds[kind]: {"schema": schema} for kind, schema in media.items()}
    problem = {"application/problem+json": {"schema": component("Problem")}}
    replies: dict[int | str, Schema] = {200: {"description": "The answer.", "content": content}}
    for status in statuses:
        replies[status] = {"description": _FAILURES[status], "content": problem}
    return replies


ALL_FAILURES = tuple(_FAILURES)


def component(name: str) -> Schema:
    """Point to a part of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def complete(spec: Schema, models: Sequence[str], *, token: bool) -> Schema:
    """Add to FastAPI's document what it cannot know: components, served models, and the token."""
    spec["info"]["version"] = __version__
    components = spec.setdefault("components", {})
    components.setdefault("schemas", {}).update(COMPONENTS)
    operations = [part for path in spec["paths"].values() for part in path.values()]
    for parameter in (one for part in operations for one in part.get("parameters", ())):
        if parameter["name"] == "model":
            parameter["schema"] = {"type": "string", "enum": list(models), "default": models[0]}
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for part in operations:
            if 401 in map(int, part["responses"]):
                part["security"] = [{"token": []}]
    return spec


def api_docs_page(app: FastAPI) -> tuple[str, str]:
    """Return the API as a page, and the Content-Security-Policy that lets it have its style."""
    spec = app.openapi()
    sections = [*_operations(spec), _codes()]
    lead = "POST audio, get its genres. The same as a document for programs: /openapi.json."
    text = render_sections("genrescope API", lead, sections, footer=f"genrescope {__version__}")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None  # every page has one
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    return text, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def _operations(spec: Schema) -> Iterator[Section]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            options = [
                (
                    one["name"],
                    _kind(one["schema"]),
                    str(one["schema"].get("default", "")).lower(),
                    one["description"],
                )
                for one in operation.get("parameters", ())
            ]
            replies = [(code, reply["description"]) for code, reply in operation["responses"].items()]
            blocks = [
                Table(operation["description"], ("option", "values", "default", "meaning"), tuple(options))
            ] * bool(options)
            answered = Table(
                "Answers" if options else operation["description"], ("status", "meaning"), tuple(replies)
            )
            yield Section(f"{method.upper()} {path}", (*blocks, answered))


def _kind(schema: Schema) -> str:
    """Say what values a parameter takes."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    kinds = [part.get("type", "") for part in schema.get("anyOf", (schema,)) if part.get("type") != "null"]
    return " or ".join(kinds)


def _codes() -> Section:
    rows = tuple((code, str(outcome.http_status)) for code, outcome in OUTCOMES.items())
    return Section(
        "Error codes", (Table("Field `code` of a problem", ("code", "status"), rows),), folded=True
    )
