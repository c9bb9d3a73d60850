"""The model card of a model file, made of nothing but what the file states about itself.

A card begins with the metadata that the Hugging Face hub reads (https://huggingface.co/docs/hub/model-cards),
and says what Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, ask for, as far as the file does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from genrescope.models.exposure import UnlabeledExposure
from genrescope.models.model import TRAINING_ARTISTS, TRAINING_CONTENT, TRAINING_TRACKS, Model, ModelInfo

# The hub has these identifiers of SPDX, in small letters; other texts are shown in the card only.
_LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC0-1.0")
# What else is shown of the provenance; the settings of the run are long, and `models show` prints them.
_PROVENANCE = ("data", "data_sha256", "protocol", "seed", "genrescope", "commit", "command", "temperature")
_MAX_TEXT = 300
_LEAKY = (
    "**leaky**: parts of one recording, or recordings of one artist, are in both the training and the test "
    "part. The figures say how well the model recognizes what it was trained on, not how well it does on new "
    "music."
)


def model_card(model: Model, *, repo: str = "") -> str:
    """Return the model card of a model file as Markdown.

    Parameters
    ----------
    model : Model
        Opened.
    repo : str
        ``owner/repo`` of the hub, for the example; empty: the example opens a folder.

    Returns
    -------
    str
        Texts of the file are escaped: none is taken for Markdown, HTML or YAML.
    """
    info = model.info
    parts = [
        _front_matter(info),
        f"# {_text(info.name)}",
        f"Genres of music from audio, {len(info.classes)} of them; a model file of genrescope. "
        "This card was generated from what the file states about itself.",
        _usage(repo),
        "## Model",
        _table(("What", "Value"), _facts(model)),
        "## Scores",
        *_scores(info),
        "## Training",
        _table(("What", "Value"), _training(info)),
        *_exposure(info.unlabeled_exposure),
        "## License",
        _text(info.license) or "The model file names no license.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(info: ModelInfo) -> str:
    """Return the metadata of the hub. Values are JSON, which is YAML, so that no text can leave its place."""
    known = info.license.strip() in _LICENSES
    values: dict[str, Any] = {"license": info.license.strip().lower() if known else "other"}
    if not known:
        values["license_name"] = "see-model-card"
    values |= {
        "library_name": "genrescope",
        "pipeline_tag": "audio-classification",
        "tags": ["music", "genre", "music-genre-classification", "onnx", "genrescope"],
    }
    lines = (f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in values.items())
    return "\n".join(["---", *lines, "---"])


def _usage(repo: str) -> str:
    source = f"hub:{repo}" if repo else "folder/of/this/card"
    return (
        "```python\nfrom genrescope import Classifier\n\n"
        f'classifier = Classifier.from_pretrained("{source}")\n'
        'prediction = classifier.predict("song.mp3")\n```'
    )


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    """Yield what the model takes and gives."""
    info, spec = model.info, model.info.features
    yield "File", f"`model.onnx`, SHA-256 `{model.sha256}`"
    yield "Input", f"{spec.kind}, of mono audio at {spec.sample_rate} Hz" if spec.kind != "table" else "table"
    yield "Segment", f"{info.segment_seconds:g} s, every {info.hop_seconds:g} s"
    yield "Genres", _names(info.classes)
    yield "Styles", _names(info.styles) if info.styles else "none"
    yield "Tells music from other sound", "yes" if info.music_threshold is not None else "no"
    yield "Embedding", f"{info.embedding_size} numbers" if info.embedding_size else "none"
    if info.threshold is None:
        yield "Threshold", "none: no answer is marked as uncertain"
    else:
        single = ", ".join(f"{_text(name)} {value:g}" for name, value in info.genre_thresholds.items())
        yield "Threshold", f"{info.threshold:g}{f' ({single})' if single else ''}: below it, uncertain"
    if info.taxonomy:
        yield "Taxonomy", _text(info.taxonomy)


def _scores(info: ModelInfo) -> Iterator[str]:
    """Yield the measured scores, with their protocol."""
    measured = {
        name: value for name, value in info.scores.items() if isinstance(value, Mapping) and "value" in value
    }
    if not measured:
        yield "The model file states none."
        return
    yield f"Protocol {_text(info.scores.get('protocol'))} on {_text(info.scores.get('data'))}."
    if info.scores.get("leaky"):
        yield f"> This protocol is {_LEAKY}"
    rows = (
        (_text(name.replace("_", " ")), _number(one["value"]), _interval(one), _text(one.get("n", "")))
        for name, one in measured.items()
    )
    yield _table(("Score", "Value", "95 % interval", "Tested"), rows)


def _training(info: ModelInfo) -> Iterator[tuple[str, str]]:
    """Yield where the model comes from, and what it was trained on or selected by."""
    for name in _PROVENANCE:
        if info.provenance.get(name) not in (None, ""):
            yield name, _text(info.provenance[name])
    for kind in (TRAINING_TRACKS, TRAINING_CONTENT, TRAINING_ARTISTS):
        digests = info.training_digests(kind)
        yield kind, f"{len(digests)}, by digest" if digests else "not listed"


def _exposure(exposures: Sequence[UnlabeledExposure]) -> Iterator[str]:
    """Yield what the network was exposed to without labels."""
    yield "### Exposure without labels of genres"
    if not exposures:
        yield "The model file states none."
        return
    yield (
        "The network was exposed to this audio in distillation or pre-training: scores on it are no leak of "
        "labels, but higher than on music that it never met."
    )
    rows = (
        (
            _text(one.data),
            "unknown" if one.tracks is None else str(one.tracks),
            "unknown" if one.hours is None else f"{one.hours:g}",
        )
        for one in exposures
    )
    yield _table(("Data", "Tracks", "Hours"), rows)


def _names(names: Sequence[str]) -> str:
    return f"{len(names)}: " + ", ".join(map(_text, names))


def _interval(score: Mapping[str, Any]) -> str:
    if "low" not in score or "high" not in score:
        return "not stated"
    return f"{_number(score['low'])} to {_number(score['high'])}"


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else _text(value)


def _table(headers: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    """Return a text on one line, with the characters that mean something in Markdown or HTML escaped."""
    line = " ".join(str("" if value is None else value).split())
    shown = line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}..."
    return re.sub(r"([\\`*|\[\]])", r"\\\1", escape(shown, quote=False))
