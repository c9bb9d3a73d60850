"""Pydantic models of what the API takes and returns; FastAPI makes the OpenAPI document from them."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genrescope.errors import OUTCOMES
from genrescope.types import TaskKind

PROBLEM_MEDIA_TYPE = "application/problem+json"

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class ClassifyOptions(BaseModel):
    """Options of a classification, from the query of the address."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of the served model to use.")
    timeline: bool = Field(False, description="Add the scores of the segments over the track.")
    tags: bool = Field(False, description="Add title, artist, album and cover, as the file's tags have them.")
    strict: bool = Field(False, description="Refuse truncated files instead of flagging them.")
    threshold: Share | None = Field(
        None,
        allow_inf_nan=False,
        description="Below this score an answer is marked as uncertain. Default: the model's own threshold.",
    )
    min_score: Share | None = Field(
        None,
        allow_inf_nan=False,
        deprecated=True,
        description="Deprecated: the old name of threshold, to be removed in the next release.",
    )
    name: str | None = Field(
        None, max_length=255, description="Name of the file in the answer. Default: the form's file name."
    )

    @property
    def chosen_threshold(self) -> float | None:
        """The threshold, under its present or its old name."""
        # Not self.min_score: pydantic warns of each access to a deprecated field.
        old: float | None = self.__dict__["min_score"]
        return old if self.threshold is None else self.threshold


class UploadForm(BaseModel):
    """A multipart form with one field, ``file``."""

    model_config = ConfigDict(extra="forbid")

    file: bytes


class _Answer(BaseModel):
    """An object with the declared properties and no others."""

    model_config = ConfigDict(extra="forbid")


class TimelineSegment(_Answer):
    """The ``scores`` of one segment of a track, from ``start`` to ``end``, in seconds."""

    start: Seconds
    end: Seconds
    scores: dict[str, Share]


class Cover(_Answer):
    """The picture of a file's tags: ``data`` as base64."""

    media_type: Literal["image/jpeg", "image/png"] = Field(description="By its content.")
    data: str = Field(json_schema_extra={"contentEncoding": "base64"})


class TrackTags(_Answer):
    """What a file's tags say: ``title``, ``artist`` and ``album``, each empty where they do not."""

    title: str
    artist: str
    album: str
    cover: Cover | None = Field(
        description="Null where there is none, or one that is no JPEG or PNG, of more than 2 MiB, or larger"
        " than 4096 pixels."
    )


class Classification(_Answer):
    """A row of `genrescope.Prediction.to_dict`, passed on as the worker sends it.

    The genre with the highest ``score`` is ``genre``; ``seconds`` is the length of the audio, ``model`` the
    name in the model file; ``flags`` says what is special about the audio or the answer.
    """

    path: str = Field(description="What the client called the file.")
    genre: str
    score: Share
    answer: str | None = Field(
        description="The style below the genre, if the model is sure of one, else the genre; null if unsure."
    )
    unsure: bool = Field(
        description="Whether the genre is not to be relied on: score below the threshold, or not_music."
    )
    music: Share | None = Field(
        description="Probability that it is music; null where the model does not tell."
    )
    not_music: bool = Field(description="Whether it is speech, noise, tones or effects instead of music.")
    set: list[str] = Field(
        description="Genres that it may be of, the right one among them for nine of ten tracks;"
        " one where it is sure, none where it is not music or the model gives no sets. Of a multi-label"
        " model, those that reach their thresholds."
    )
    scores: dict[str, Share] = Field(
        description="Of every genre, by falling score; they sum to 1, but for multi-label models."
    )
    styles: dict[str, Share] = Field(description="Further genres, each with a probability of its own.")
    seconds: Seconds
    model: str
    flags: list[str]
    timeline: list[TimelineSegment] = Field(
        default_factory=list, description="Only where the option timeline asks for it."
    )
    tags: TrackTags | None = Field(None, description="Only where the option tags asks for it.")


class ModelCard(_Answer):
    """A served model: ``classes`` and ``styles`` that it scores, ``segment_seconds``, ``license``."""

    name: str = Field(description="What the option model calls it.")
    model: str = Field(description="Name in the model file.")
    classes: list[str]
    styles: list[str]
    names: dict[str, str] = Field(description="Of classes and styles, the names that people read.")
    task: TaskKind = Field(description="Whether a track has one genre, or any number of them.")
    threshold: Share | None = Field(description="Below this score an answer is marked as uncertain.")
    min_score: Share | None = Field(
        deprecated=True,
        description="Deprecated: the old name of threshold, to be removed in the next release.",
    )
    segment_seconds: Seconds
    license: str


class Limits(_Answer):
    """Limits of one request: ``max_bytes`` of the body, ``max_seconds`` of audio."""

    max_bytes: int
    max_seconds: Seconds


class ModelList(_Answer):
    """The served ``models``, and the ``limits`` of one request."""

    default: str = Field(description="Name of the model that is used where a request names none.")
    models: list[ModelCard]
    limits: Limits


class Health(_Answer):
    """That the server answers: ``status``."""

    status: Literal["ok"] = "ok"


class Problem(_Answer):
    """A failure (RFC 9457: ``type``, ``title``, ``status``), with an error ``code`` and a hint."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What happened.")
    code: str = Field(json_schema_extra={"enum": [*sorted(OUTCOMES)]})
    hint: str = Field(description="What to do next.")


# The body is streamed to a file, so FastAPI, which would parse it first, cannot know its schema.
REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": UploadForm.model_json_schema()},
        "application/octet-stream": {"schema": UploadForm.model_json_schema()["properties"]["file"]},
    },
}
_PROBLEM_DESCRIPTIONS = {
    400: "An option, the form or the request itself is invalid.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another origin.",
    404: "No such model is served.",
    408: "The request or the upload took too long.",
    413: "More bytes, seconds or memory than allowed.",
    415: "Not audio that can be decoded.",
    421: "The request names a host that is not this server's.",
    422: "Audio that cannot be classified: empty, silent, too short, damaged.",
    429: "Too many requests of this client; Retry-After says when to send the next.",
    500: "An internal error of the server.",
    503: "The server is busy or shutting down; Retry-After says when to send the next.",
    507: "The server has no space for the upload.",
}
ALL_PROBLEMS = tuple(_PROBLEM_DESCRIPTIONS)


def problem_responses(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Declare responses of an operation that are a `Problem`.

    Parameters
    ----------
    statuses : iterable of int
        HTTP statuses, of those in `ALL_PROBLEMS`.

    Returns
    -------
    dict
        For the parameter ``responses`` of a FastAPI route.
    """
    return {status: {"model": Problem, "description": _PROBLEM_DESCRIPTIONS[status]} for status in statuses}


def complete_document(document: dict[str, Any], models: Iterable[str]) -> dict[str, Any]:
    """Set in FastAPI's document what its routes cannot declare.

    Those are the names of the served models, which are known at run time, and the media type of problems,
    which FastAPI takes to be that of the operation's answers.

    Parameters
    ----------
    document : dict
        OpenAPI document as FastAPI makes it; changed in place.
    models : iterable of str
        Names of the served models, the default first.

    Returns
    -------
    dict
        The same document.
    """
    names = list(models)
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "model":
                    parameter["schema"] = {"type": "string", "enum": names, "default": names[0]}
            for status, response in operation["responses"].items():
                if int(status) >= HTTPStatus.BAD_REQUEST:
                    response["content"] = {PROBLEM_MEDIA_TYPE: next(iter(response["content"].values()))}
    return document
