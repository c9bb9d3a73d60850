"""The web application: its routes, and the service that answers them."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect

from genrescope import __version__, models
from genrescope.errors import FILE_CODES, ConfigError, GenrescopeError, ModelError
from genrescope.inference import ClassifyJob
from genrescope.labels import display_name
from genrescope.reporting import chart_script, style_sheet
from genrescope.utils import did_you_mean
from genrescope.web import errors, metrics, schemas
from genrescope.web.api_docs import api_docs_page
from genrescope.web.connections import HALF_CLOSED
from genrescope.web.hosts import HostPolicy
from genrescope.web.middleware import HostCheck, RequestMetrics, SecurityHeaders, ShutdownResponses
from genrescope.web.rate_limit import FairShare, TokenBucket
from genrescope.web.schemas import ClassifyOptions
from genrescope.web.settings import Settings
from genrescope.web.uploads import Upload, receive_upload
from genrescope.web.worker import ClassifyWorkers, JsonRow

_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".mp3": "audio/mpeg",
}
# The browser keeps the file, and asks each time whether it is still the same.
_REVALIDATE = {"Cache-Control": "no-cache"}


class Service:
    """What the routes share: the served models, workers, limits and metrics.

    Parameters
    ----------
    settings : Settings
        Models and limits.

    Raises
    ------
    ModelError
        A model cannot be found or opened.
    ConfigError
        ``invalid_argument``: two models have the same name.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = metrics.Metrics()
        self._models = _named_models(settings.models)
        self._model_list = schemas.ModelList(
            default=self.model_names[0],
            models=[_model_card(name, model) for name, model in self._models.items()],
            limits=schemas.Limits(
                max_bytes=settings.max_upload_bytes, max_seconds=settings.max_audio_seconds
            ),
        )
        self._buckets = TokenBucket(settings.rate_limit, settings.burst)
        self._shares = FairShare(settings.capacity, limited=settings.rate_limit > 0)
        self.hosts = HostPolicy(settings.host, settings.allowed_hosts)
        self._workers: ClassifyWorkers | None = None
        self.metrics.add_gauges(
            {
                "workers": ("Worker processes.", lambda: self.workers.pool.workers),
                "jobs_running": ("Files being classified.", lambda: self.workers.pool.active),
                "jobs_waiting": ("Files that wait for a worker.", lambda: self.workers.pool.queued),
                "places_taken": (
                    "Requests uploading, waiting or being classified.",
                    lambda: self.workers.in_flight,
                ),
                "places": ("How many of those there may be.", lambda: self.workers.capacity),
            }
        )

    @property
    def model_names(self) -> list[str]:
        """Names of the served models; the first is the default."""
        return list(self._models)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Have workers while ``app`` runs."""
        settings = self.settings
        self._workers = ClassifyWorkers(
            self._models,
            workers=settings.workers,
            capacity=settings.capacity,
            timeout=settings.job_timeout,
            memory_limit_mb=settings.job_memory_mb,
        )
        try:
            yield
        finally:
            await asyncio.to_thread(self._workers.close)

    @property
    def workers(self) -> ClassifyWorkers:
        """The workers, which exist while the app runs."""
        assert self._workers is not None
        return self._workers

    async def check_origin(self, request: Request) -> None:
        """Refuse a request that a page of another origin makes.

        Parameters
        ----------
        request : Request
            Its headers ``Sec-Fetch-Site`` and ``Origin`` are checked, which browsers send and other programs
            do not.

        Raises
        ------
        GenrescopeError
            ``cross_site_request``.
        """
        headers = request.headers
        is_cross_site = headers.get("sec-fetch-site", "").strip().lower() == "cross-site"
        is_allowed = all(
            self.hosts.allows_origin(origin, headers.get("host", "")) for origin in headers.getlist("origin")
        )
        if is_cross_site or not is_allowed:
            raise GenrescopeError(
                "cross_site_request",
                "the request comes from a page of another origin",
                "use the server's own page; behind a reverse proxy: --allowed-host NAME",
            )

    async def authenticate(self, request: Request) -> None:
        """Refuse a request without the token.

        Wrong tokens count towards the client's rate limit, so that guessing is slow.

        Parameters
        ----------
        request : Request
            Its header ``Authorization`` is checked.

        Raises
        ------
        ProblemError
            ``unauthorized``, ``too_many_requests``.
        """
        token = self.settings.token
        sent = request.headers.get("authorization", "").encode("latin-1")
        if token is None or hmac.compare_digest(sent, b"Bearer " + token.encode("utf8")):
            return
        await self.check_rate(request)
        raise errors.ProblemError(
            "unauthorized",
            "this server requires a token, and the request has none or a wrong one",
            "send the header: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    async def check_rate(self, request: Request) -> None:
        """Refuse a request beyond its client's rate limit.

        Parameters
        ----------
        request : Request
            Counted for the address that it comes from.

        Raises
        ------
        ProblemError
            ``too_many_requests``.
        """
        wait = self._buckets.take(_client(request))
        if wait:
            message = f"more than {self.settings.rate_limit:g} requests a minute from one client"
            hint = f"wait {wait:.1f} s, then try again"
            raise errors.retry_later("too_many_requests", message, hint, wait=wait)

    async def classify(self, request: Request, options: Annotated[ClassifyOptions, Query()]) -> Response:
        """Classify the genres of the audio in the body, as `genrescope classify --format jsonl` does.

        Parameters
        ----------
        request : Request
            Its body is the file, or a form with it.
        options : ClassifyOptions
            From the query.

        Raises
        ------
        ProblemError
            ``model_not_found``, ``too_many_requests``; and as of `receive_upload` and the workers.
        """
        start = time.monotonic()
        if options.model is not None and options.model not in self._models:
            raise _unknown_model(options.model, self.model_names)
        with self._shares.acquire(_client(request)) as has_share, self.workers.slot():
            if not has_share:
                message = "this client has as many requests in progress as the server has free places"
                raise errors.retry_later(
                    "too_many_requests", message, "wait for an answer, then send the next request", wait=1
                )
            async with receive_upload(request, self.settings, options.name) as upload:
                self.metrics.count_upload(upload.size)
                row = await self._classify_upload(request, upload, options)
        seconds = row["seconds"]
        assert isinstance(seconds, int | float)
        self.metrics.count_classification(time.monotonic() - start, seconds)
        # The worker's row unchanged, written as the command line writes it.
        return Response(json.dumps(row, ensure_ascii=False), media_type="application/json")

    async def _classify_upload(self, request: Request, upload: Upload, options: ClassifyOptions) -> JsonRow:
        """Have a worker classify a file, unless the client disconnects before one begins.

        A client that only ends its sending side may still read, or may be gone. It gets its answer if a
        worker has begun, or is free to begin; while all are busy, its job is dropped.
        """
        job = ClassifyJob(
            path=upload.path,
            name=upload.name,
            model=options.model or self.model_names[0],
            timeline=options.timeline,
            strict=options.strict,
            threshold=options.chosen_threshold,
            max_seconds=self.settings.max_audio_seconds,
            tags=options.tags,
        )
        disconnected = asyncio.ensure_future(_wait_disconnect(request))
        half_closed = asyncio.ensure_future(request.scope.get(HALF_CLOSED, asyncio.Event()).wait())
        answer: asyncio.Future[JsonRow] | None = None
        try:
            submitted = self.workers.submit(job)
            answer = asyncio.wrap_future(submitted)
            events: set[asyncio.Future[Any]] = {answer, disconnected, half_closed}
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if half_closed.done() and not disconnected.done() and not answer.done():
                if self.workers.is_saturated and submitted.cancel():
                    raise _dropped()
                await asyncio.wait(events - {half_closed}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and submitted.cancel():
                raise ClientDisconnect
            # A job that has begun keeps its file and its slot until it ends, even if its client has left:
            # the worker still reads the one and occupies the other.
            return await answer
        except GenrescopeError as failure:
            raise _client_error(failure, upload) from None
        finally:
            disconnected.cancel()
            half_closed.cancel()
            if answer is not None:
                answer.cancel()  # Where the server ends: a job that still waits is not begun any more.

    async def list_models(self) -> schemas.ModelList:
        """List the served models, and the limits of one request."""
        return self._model_list

    async def health(self) -> schemas.Health:
        """Show that the server answers."""
        return schemas.Health()

    async def prometheus(self) -> Response:
        """Return counters and gauges in the text format of Prometheus."""
        return Response(self.metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


class _Application(FastAPI):
    """FastAPI with the document of `complete_document`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        super().__init__(
            title="genrescope", version=__version__, lifespan=service.lifespan, docs_url=None, redoc_url=None
        )

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        # Completed each time, since FastAPI makes a new one when routes were added.
        return schemas.complete_document(super().openapi(), self._service.model_names)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; its workers live from the app's start to its end.

    Parameters
    ----------
    settings : Settings, optional
        Models and limits; None: the defaults.

    Returns
    -------
    FastAPI
        An ASGI application.

    Raises
    ------
    ModelError
        A model cannot be found or opened.
    ConfigError
        ``invalid_argument``: two models have the same name.
    """
    service = Service(settings or Settings())
    app = _Application(service)
    errors.add_handlers(app, service.metrics.count_failure)
    # The last one is the outermost.
    app.add_middleware(HostCheck, policy=service.hosts, count=service.metrics.count_failure)
    app.add_middleware(ShutdownResponses)
    app.add_middleware(RequestMetrics, count=service.metrics.count_request)
    app.add_middleware(SecurityHeaders)
    _add_api(app, service)
    _add_static_files(app)
    page, policy = api_docs_page(app.openapi())
    headers = _REVALIDATE | {"Content-Security-Policy": policy}
    app.add_api_route("/docs", _constant_route(page.encode(), "text/html", headers), include_in_schema=False)
    return app


def _add_api(app: FastAPI, service: Service) -> None:
    """Add the routes of the API, which the OpenAPI document describes."""
    authenticated = [Depends(service.check_origin), Depends(service.authenticate)]
    if service.settings.token is not None:
        # Declares the token in the document; auto_error is off since `authenticate` does the check.
        authenticated.append(Security(HTTPBearer(scheme_name="token", auto_error=False)))
    app.add_api_route(
        "/v1/classify",
        service.classify,
        methods=["POST"],
        # Not the docstring, whose sections on parameters and errors are for readers of the code.
        description=(service.classify.__doc__ or "").split("\n", 1)[0],
        dependencies=[*authenticated, Depends(service.check_rate)],
        response_model=schemas.Classification,
        responses=schemas.problem_responses(schemas.ALL_PROBLEMS),
        openapi_extra={"requestBody": schemas.REQUEST_BODY},
    )
    app.add_api_route(
        "/v1/models",
        service.list_models,
        dependencies=authenticated,
        responses=schemas.problem_responses((401, 403, 421, 429)),
    )
    app.add_api_route(
        "/metrics",
        service.prometheus,
        dependencies=authenticated,
        response_class=PlainTextResponse,
        responses=schemas.problem_responses((401, 403, 421, 429)),
    )
    app.add_api_route("/healthz", service.health, responses=schemas.problem_responses((421,)))


def _add_static_files(app: FastAPI) -> None:
    """Serve the page's files from memory, one route each, so that no request leads into the file system."""
    files = resources.files("genrescope.web")
    for file in (*(files / "static").iterdir(), *(files / "example").iterdir()):
        media_type = _MEDIA_TYPES.get(Path(file.name).suffix)
        if media_type is not None:
            route = "/" if file.name == "index.html" else f"/static/{file.name}"
            app.add_api_route(route, _constant_route(file.read_bytes(), media_type), include_in_schema=False)
    # Colors and type of the reports, which the page shares.
    base_css = _constant_route(style_sheet().encode(), "text/css")
    app.add_api_route("/static/base.css", base_css, include_in_schema=False)
    charts = _constant_route(chart_script().encode(), "text/javascript")
    app.add_api_route("/static/charts.js", charts, include_in_schema=False)


def _constant_route(
    content: bytes, media_type: str, headers: Mapping[str, str] = _REVALIDATE
) -> Callable[[], Awaitable[Response]]:
    """Return a route that always answers the same."""

    async def route() -> Response:
        return Response(content, headers=headers, media_type=media_type)

    return route


def _named_models(chosen: Sequence[str]) -> dict[str, str]:
    """Name the models to be served: shipped ones keep their name, files have that of their stem."""
    named: dict[str, str] = {}
    for model in chosen:
        name = model if model in models.list_models() else Path(model).stem
        if name in named:
            raise ConfigError("invalid_argument", f"two models are named {name!r}", "rename one of the files")
        named[name] = model
    return named


def _model_card(name: str, path: str) -> schemas.ModelCard:
    """Describe a model to clients."""
    model = models.load_model(path)
    return schemas.ModelCard(
        name=name,
        model=model.name,
        classes=list(model.info.classes),
        styles=list(model.info.styles),
        names={label: display_name(label) for label in (*model.info.classes, *model.info.styles)},
        task=model.info.task,
        threshold=model.info.threshold,
        min_score=model.info.threshold,
        segment_seconds=model.info.segment_seconds,
        license=model.info.license,
    )


def _client(request: Request) -> str:
    """Return the address of a request's client."""
    return request.client.host if request.client else ""


def _unknown_model(name: str, names: Sequence[str]) -> ModelError:
    hint = did_you_mean(name[:80], names)
    return ModelError("model_not_found", f"no model named {name[:80]!r} is served here", hint)


async def _wait_disconnect(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _dropped() -> GenrescopeError:
    return errors.retry_later(
        "overloaded",
        "all workers are busy, and the client closed its side of the connection while its request waited",
        "keep the connection open until the answer has come",
        wait=1,
    )


def _client_error(failure: GenrescopeError, upload: Upload) -> GenrescopeError:
    """Translate a worker's failure for the client: with its own name for the file, without our paths."""
    if failure.code == "overloaded":
        return failure
    if failure.code in FILE_CODES:
        return GenrescopeError(failure.code, failure.message.replace(upload.path, upload.name), failure.hint)
    return errors.internal_error(f"{upload.name!r}: {failure.message}")
