"""The API's documentation as one page that loads nothing else, made from the OpenAPI document."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from genrescope import __version__
from genrescope.errors import OUTCOMES
from genrescope.reporting import Section, Table, render_sections

_LEAD = "POST audio, get its genres. The same as a document for programs: /openapi.json."


def api_docs_page(document: dict[str, Any]) -> tuple[str, str]:
    """Render an OpenAPI document as a page.

    Parameters
    ----------
    document : dict
        The OpenAPI document of the app.

    Returns
    -------
    page : str
        HTML with its style sheet inside.
    policy : str
        The Content-Security-Policy that allows this style sheet, by its hash, and nothing else.
    """
    sections = [*_operations(document), _error_codes()]
    page = render_sections("genrescope API", _LEAD, sections, footer=f"genrescope {__version__}")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None  # every page of genrescope.reporting has one
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
    return page, policy


def _operations(document: dict[str, Any]) -> Iterator[Section]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Section(f"{method.upper()} {path}", tuple(_tables(operation)))


def _tables(operation: dict[str, Any]) -> Iterator[Table]:
    """Yield a table of an operation's options, if it has any, and one of its responses."""
    description = operation["description"]
    options = tuple(
        (
            parameter["name"],
            _value_type(parameter["schema"]),
            str(parameter["schema"].get("default", "")).lower(),
            parameter["description"],
        )
        for parameter in operation.get("parameters", ())
    )
    if options:
        yield Table(description, ("option", "values", "default", "meaning"), options)
    responses = tuple((code, response["description"]) for code, response in operation["responses"].items())
    yield Table("Responses" if options else description, ("status", "meaning"), responses)


def _value_type(schema: dict[str, Any]) -> str:
    """Return the values that a parameter takes: their names, or their type."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    types = [part.get("type", "") for part in schema.get("anyOf", (schema,)) if part.get("type") != "null"]
    return " or ".join(types)


def _error_codes() -> Section:
    rows = tuple((code, str(outcome.http_status)) for code, outcome in OUTCOMES.items())
    table = Table("Field `code` of a problem", ("code", "status"), rows)
    return Section("Error codes", (table,), folded=True)
