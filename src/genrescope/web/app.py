"""The service: what can be asked, and of whom the answer comes."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from genrescope import models
from genrescope.errors import FILE_CODES, ConfigError, GenrescopeError, ModelError
from genrescope.reporting import chart_script, style_sheet
from genrescope.web import errors, metrics, schemas
from genrescope.web.middleware import SecurityHeaders
from genrescope.web.settings import FairShare, Settings, TokenBucket
from genrescope.web.uploads import Upload, received
from genrescope.web.worker import ClassifyWorkers, Row

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_UNCHANGED = {"Cache-Control": "no-cache"}


class Options(BaseModel):
    """The options of a classification, as they stand in the address."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Which of the served models is to answer.")
    timeline: bool = Field(False, description="Add the course over the track.")
    strict: bool = Field(False, description="Refuse truncated files instead of flagging them.")
    min_score: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Below this score an answer is unsure. Default: the model's own choice.",
    )
    name: str | None = Field(
        None, max_length=255, description="What to call the file. Default: the form's file name."
    )


class Service:
    """What the routes share: the served models, the crew, limits and counters."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = metrics.Metrics()
        self._served = _served(settings.models)
        self._cards = [_model_card(name, model) for name, model in self._served.items()]
        self._buckets = TokenBucket(settings.requests_per_minute, settings.burst)
        self._shares = FairShare(settings.capacity, limited=settings.requests_per_minute > 0)
        self._jobs: ClassifyWorkers | None = None

    @property
    def names(self) -> list[str]:
        """The served models' names; the first is the default."""
        return list(self._served)

    @asynccontextmanager
    async def open(self, _: FastAPI) -> AsyncIterator[None]:
        """Have workers while the app runs."""
        limits = self.settings
        self._jobs = ClassifyWorkers(
            self._served,
            workers=limits.workers,
            places=limits.capacity,
            seconds=limits.job_seconds,
            megabytes=limits.job_megabytes,
        )
        try:
            yield
        finally:
            await asyncio.to_thread(self._jobs.close)

    @property
    def jobs(self) -> ClassifyWorkers:
        """The crew; there is one while the app runs."""
        assert self._jobs is not None
        return self._jobs

    async def authenticate(self, request: Request) -> None:
        """Let in who knows the token; one who guesses uses up its rate."""
        secret = self.settings.token
        shown = request.headers.get("authorization", "").encode("latin-1")
        if secret is None or hmac.compare_digest(shown, b"Bearer " + secret.encode("utf8")):
            return
        await self.check_rate(request)
        raise errors.ProblemError(
            "unauthorized",
            "this server asks for a token, and the request has none or a wrong one",
            "send the header: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    async def check_rate(self, request: Request) -> None:
        """Hold each client to its rate."""
        wait = self._buckets.take(_client(request))
        if wait:
            what = f"more than {self.settings.requests_per_minute:g} requests a minute from one client"
            raise errors.refused("too_many_requests", what, f"wait {wait:.1f} s, then try again", wait=wait)

    async def classify(self, request: Request, options: Annotated[Options, Query()]) -> Response:
        """Name the genres of the audio in the body, as `genrescope classify --format jsonl` does."""
        start = time.monotonic()
        if options.model is not None and options.model not in self._served:
            raise _not_served(options.model, self.names)
        with self._shares.acquire(_client(request)) as has_share, self.jobs.slot():
            if not has_share:
                what = "one client has half of all that the server can take"
                raise errors.refused("too_many_requests", what, "wait for an answer, then go on", wait=1)
            async with received(request, self.settings, options.name) as upload:
                self.metrics.upload_bytes += upload.size
                row = await self._row(request, upload, options)
        self.metrics.record_answer(time.monotonic() - start)
        self.metrics.music_seconds += row["seconds"]
        return _json(row)

    async def _row(self, request: Request, upload: Upload, options: Options) -> Row:
        """Have a worker do it, unless the client leaves before one begins."""
        order = options.model_dump() | {
            "model": options.model or self.names[0],
            "path": upload.path,
            "name": upload.name,
            "max_seconds": self.settings.max_seconds,
        }
        gone: asyncio.Future[Any] = asyncio.ensure_future(_wait_disconnect(request))
        try:
            done = self.jobs.submit(order)
            job: asyncio.Future[Any] = asyncio.wrap_future(done)
            await asyncio.wait({job, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not job.done() and done.cancel():
                raise ClientDisconnect
            # A job that has begun keeps its file and its place until it ends, whoever has left.
            row: Row = await job
            return row
        except GenrescopeError as failure:
            raise _client_error(failure, upload) from None
        finally:
            gone.cancel()

    async def list_models(self) -> Response:
        """List the served models, and what a request may cost."""
        limits = {"max_bytes": self.settings.max_bytes, "max_seconds": self.settings.max_seconds}
        return _json({"default": self.names[0], "models": self._cards, "limits": limits})

    async def health(self) -> Response:
        """Say that the server answers."""
        return _json({"status": "ok"})

    async def prometheus(self) -> Response:
        """Return counters and gauges in the text format of Prometheus."""
        crew, jobs = self.jobs.crew, self.jobs
        gauges = {
            "workers": ("Worker processes.", crew.workers),
            "jobs_running": ("Files being worked on.", crew.active),
            "jobs_waiting": ("Files that wait for a worker.", crew.queued),
            "places_taken": ("Requests uploading, waiting or worked on.", jobs.inside),
            "places": ("How many of those there may be.", jobs.places),
        }
        return Response(self.metrics.text(gauges), headers={"Content-Type": metrics.CONTENT_TYPE})


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the service; its workers live from the app's start to its end.

    Raises
    ------
    ModelError
        A model cannot be found or opened.
    """
    service = Service(settings or Settings())
    app = FastAPI(title="genrescope", lifespan=service.open, docs_url=None, redoc_url=None)
    errors.add_handlers(app, lambda code: service.metrics.failures.update((code,)))
    app.add_middleware(SecurityHeaders, count=lambda *request: service.metrics.requests.update((request,)))
    _add_api(app, service)
    _add_pages(app)
    plain = app.openapi
    app.openapi = lambda: schemas.complete(  # type: ignore[method-assign]
        plain(), service.names, token=service.settings.token is not None
    )
    manual, policy = schemas.api_docs_page(app)
    headers = _UNCHANGED | {"Content-Security-Policy": policy}
    app.add_api_route("/docs", _constant(manual.encode(), "text/html", headers), include_in_schema=False)
    return app


def _add_api(app: FastAPI, service: Service) -> None:
    known, rated = Depends(service.authenticate), Depends(service.check_rate)
    app.add_api_route(
        "/v1/classify",
        service.classify,
        methods=["POST"],
        dependencies=[known, rated],
        responses=schemas.answers(schemas.ALL_FAILURES, json=schemas.component("Row")),
        openapi_extra={"requestBody": schemas.BODY},
    )
    app.add_api_route(
        "/v1/models",
        service.list_models,
        dependencies=[known],
        responses=schemas.answers((401, 429), json=schemas.component("Models")),
    )
    app.add_api_route(
        "/metrics",
        service.prometheus,
        dependencies=[known],
        response_class=Response,
        responses=schemas.answers((401, 429), plain={"type": "string"}),
    )
    health = schemas.answers(json={"type": "object"})
    app.add_api_route("/healthz", service.health, responses=health)


def _add_pages(app: FastAPI) -> None:
    """Serve the page's files: read once, known by name, so that no request leads into the file system."""
    folder = resources.files("genrescope.web") / "static"
    for file in folder.iterdir():
        kind = _KINDS.get(Path(file.name).suffix)
        if kind is not None:
            route = "/" if file.name == "index.html" else f"/static/{file.name}"
            app.add_api_route(route, _constant(file.read_bytes(), kind), include_in_schema=False)
    colors = _constant(style_sheet().encode(), "text/css")
    app.add_api_route("/static/house.css", colors, include_in_schema=False)
    charts = _constant(chart_script().encode(), "text/javascript")
    app.add_api_route("/static/charts.js", charts, include_in_schema=False)


def _constant(content: bytes, kind: str, headers: dict[str, str] = _UNCHANGED) -> Any:
    """Return a route that always answers the same."""

    async def route() -> Response:
        return Response(content, headers=headers, media_type=kind)

    return route


def _json(content: Any) -> Response:
    """Return JSON, written as the command line writes it."""
    return Response(json.dumps(content, ensure_ascii=False), media_type="application/json")


def _served(chosen: tuple[str, ...]) -> dict[str, str]:
    """Name the models to be served: shipped ones as they are, files by their stem."""
    served: dict[str, str] = {}
    for model in chosen:
        name = model if model in models.list_models() else Path(model).stem
        if name in served:
            raise ConfigError("invalid_argument", f"two models are named {name!r}", "rename one of the files")
        served[name] = model
    return served


def _model_card(name: str, path: str) -> dict[str, Any]:
    """Describe a model to clients."""
    model = models.load_model(path)
    return {
        "name": name,
        "model": model.name,
        "classes": list(model.info.classes),
        "styles": list(model.info.styles),
        "min_score": model.info.threshold,
        "segment_seconds": model.info.segment_seconds,
        "license": model.info.license,
    }


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _not_served(name: str, names: list[str]) -> ModelError:
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(names)}"
    return ModelError("model_not_found", f"no model named {name[:80]!r} is served here", hint)


async def _wait_disconnect(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _client_error(failure: GenrescopeError, upload: Upload) -> GenrescopeError:
    """Say a worker's failure to the client: in its name for the file, and without the server's inner life."""
    if failure.code == "overloaded":
        return failure
    if failure.code in FILE_CODES:
        return GenrescopeError(failure.code, failure.message.replace(upload.path, upload.name), failure.hint)
    return errors.server_failed(f"{upload.name!r}: {failure.message}")
