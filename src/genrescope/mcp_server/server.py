"""The tools of the server. Each takes and returns plain values, from which the SDK makes its JSON schemas."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from genrescope import __version__, audio, models
from genrescope.errors import ConfigError, DataError, GenrescopeError, missing_extra
from genrescope.inference import ClassifyJob, create_classify_handler
from genrescope.library import Library, LibraryEntry, TagOptions, TagResult, count_by, default_path
from genrescope.mcp_server.roots import Roots
from genrescope.tagging import SHIPPED
from genrescope.types import FailedFile
from genrescope.workers import WorkerPool, WorkerSpec

if TYPE_CHECKING:
    from mcp.server import MCPServer

# A model reads all of an answer: more rows than this would fill its context.
MAX_ROWS = 100
INSTRUCTIONS = (
    "Names the genre and the styles of music files, searches a library of music that was scanned before "
    "(`genrescope library scan`), and writes genres into the tags of its files. An answer marked 'unsure' "
    "may be wrong: offer what its 'set' holds as possibilities. 'not_music' is speech, noise or effects. "
    "Before genres are written, show the user what preview_tags returns, and ask. undo_tags restores files."
)

_Result = TypeVar("_Result")
Row = dict[str, Any]


@dataclass(frozen=True)
class McpOptions:
    """Settings of the server.

    Attributes
    ----------
    roots : tuple of Path
        Folders of music; nothing outside of them is read or written.
    model : str
        A name or a model file, as of `Classifier.from_pretrained`.
    database : Path, optional
        Of the library; None: `genrescope.library.default_path`.
    read_only : bool
        Whether the tools that write tags are left out.
    workers : int
        Files that are classified at the same time, each in a process of its own.
    max_audio_seconds : float
        Longest audio, counted while it is decoded.
    job_timeout : float
        Seconds that a worker may take for one file.
    job_memory_mb : int
        Memory in MiB that a worker may use for one file.
    """

    roots: tuple[Path, ...]
    model: str = models.DEFAULT
    database: Path | None = None
    read_only: bool = False
    workers: int = 1
    max_audio_seconds: float = 1800
    job_timeout: float = 60
    job_memory_mb: int = 512


def run_server(options: McpOptions) -> None:
    """Serve the tools on standard input and output until the client is done.

    Parameters
    ----------
    options : McpOptions
        Folders, model and limits.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a folder that is none.
    ModelError
        As of `Classifier.from_pretrained`.
    MissingDependencyError
        ``missing_dependency``: the SDK is not installed.
    """
    create_server(options).run("stdio")


def create_server(options: McpOptions) -> MCPServer[None]:
    """Build the server, such as for a transport of one's own.

    Parameters
    ----------
    options : McpOptions
        Folders, model and limits.

    Returns
    -------
    MCPServer
        Its worker processes start with its first connection, and end with the last.

    Raises
    ------
    ConfigError, ModelError, MissingDependencyError
        As of `run_server`.
    """
    try:
        from mcp.server import MCPServer
        from mcp_types import ToolAnnotations
    except ImportError:
        raise missing_extra("mcp", "mcp") from None

    roots = Roots(options.roots)
    models.load_model(options.model)  # an unknown model is an error of the start, not of the first call
    tools = _Tools(options, roots)

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield None
        finally:
            tools.close()

    server = MCPServer(
        "genrescope",
        title="genrescope",
        version=__version__,
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        log_level="WARNING",
    )
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.classify, tools.list_files, tools.search_library, tools.library_summary):
        server.add_tool(tool, annotations=reading, structured_output=True)
    if not options.read_only:
        server.add_tool(tools.preview_tags, annotations=reading, structured_output=True)
        writing = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)
        server.add_tool(tools.apply_tags, annotations=writing, structured_output=True)
        restoring = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
        server.add_tool(tools.undo_tags, annotations=restoring, structured_output=True)
    return server


class _Tools:
    """The tools; the docstring of each is what an agent reads of it."""

    def __init__(self, options: McpOptions, roots: Roots) -> None:
        self._options = options
        self._roots = roots
        self._pool: WorkerPool | None = None
        # Only one tool at a time uses the library, so that two do not write the same files.
        self._library_free = asyncio.Lock()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    async def classify(self, paths: list[str], timeline: bool = False) -> Row:
        """Name the genre and the styles of up to 100 music files.

        paths: absolute, or relative to a folder of this server. timeline: add the scores of each segment.
        Each result has "genre", "score" (probability), "unsure", "set" (what it may be, 90 % sure), "styles",
        "not_music"; or "error", with "message" and "hint".
        """
        _check_count(paths)
        return {"results": await asyncio.gather(*(self._classify(path, timeline) for path in paths))}

    async def list_files(self, folder: str = "", offset: int = 0) -> Row:
        """List audio files, a hundred at a time.

        folder: absolute, or relative to a folder of this server; empty: all folders of this server. offset:
        how many to pass over.
        """

        def listed() -> Row:
            files = sorted(
                str(path) for path in audio.audio_files(self._folders(folder)) if self._roots.contains(path)
            )
            return _page(files, offset, "files")

        return await asyncio.to_thread(_answered, listed)

    async def search_library(
        self,
        genre: str = "",
        style: str = "",
        min_score: float = 0.0,
        unsure: bool | None = None,
        not_music: bool | None = None,
        folder: str = "",
        offset: int = 0,
    ) -> Row:
        """Search the library of scanned music, a hundred tracks at a time, sorted by path.

        genre, style: names; min_score: least probability of the genre; unsure, not_music: only such tracks,
        or only others; folder: only in it; offset: how many to pass over.
        """

        def search(library: Library) -> Row:
            found = (
                entry
                for place in self._folders(folder)
                for entry in library.entries(
                    genre=genre or (),
                    style=style or (),
                    min_score=min_score or None,
                    uncertain=unsure,
                    not_music=not_music,
                    folder=place,
                )
            )
            return _page([_summary(entry) for entry in found], offset, "tracks")

        return await self._with_library(search)

    async def library_summary(self) -> Row:
        """Count the tracks of the library by genre and style, those that are unsure, no music, or failed."""

        def summarize(library: Library) -> Row:
            entries = [entry for place in self._roots.folders for entry in library.entries(folder=place)]
            return {
                "tracks": len(entries),
                "unsure": sum(entry.is_uncertain and entry.is_music for entry in entries),
                "not_music": sum(not entry.is_music for entry in entries),
                "failed": sum(entry.error is not None for entry in entries),
                "by": {name: dict(counts.most_common()) for name, counts in count_by(entries).items()},
                "folders": [str(place) for place in self._roots.folders],
            }

        return await self._with_library(summarize)

    async def preview_tags(
        self,
        folder: str = "",
        genre: str = "",
        by: Literal["track", "album"] = "track",
        vocabulary: Literal["", "discogs", "musicbrainz", "id3v1", "beets"] = "",
        overwrite: bool = False,
    ) -> Row:
        """Show which genres would be written into which files of the library; nothing is written.

        folder: only in it; genre: only tracks with this answer; by: genres of the track or of its album;
        vocabulary: in whose words; overwrite: replace genres that files have. Nothing is ever written for
        answers that are unsure or no music. Returns "preview", which apply_tags takes, and the first hundred
        changes.
        """

        def preview(library: Library) -> Row:
            planned = self._planned(library, folder, genre, by, vocabulary, overwrite)
            rows = [_change(result) for result in planned]
            return {"preview": _digest(rows), **_page(rows, 0, "changes")}

        return await self._with_library(preview)

    async def apply_tags(
        self,
        preview: str,
        folder: str = "",
        genre: str = "",
        by: Literal["track", "album"] = "track",
        vocabulary: Literal["", "discogs", "musicbrainz", "id3v1", "beets"] = "",
        overwrite: bool = False,
    ) -> Row:
        """Write genres into the files, exactly as a preview showed it. Ask the user before.

        preview: what preview_tags returned for the same arguments; if something has changed since then,
        nothing is written.
        """

        def apply(library: Library) -> Row:
            planned = self._planned(library, folder, genre, by, vocabulary, overwrite)
            if _digest([_change(result) for result in planned]) != preview:
                raise ConfigError(
                    "invalid_argument",
                    "this is not what would be written now",
                    "call preview_tags with the same arguments again, and show it to the user",
                )
            written = [
                _change(result)
                for place in self._folders(folder)
                for result in library.apply_tags(
                    _tag_options(by, vocabulary), overwrite=overwrite, genre=genre or (), folder=place
                )
            ]
            failed = [row for row in written if "error" in row]
            return {"written": len(written) - len(failed), "failed": failed[:MAX_ROWS]}

        return await self._with_library(apply, write=True)

    async def undo_tags(self, folder: str = "") -> Row:
        """Restore the files of which genres were written, in a folder or in all folders of this server."""

        def undo(library: Library) -> Row:
            places = self._folders(folder)
            for place in places:
                self._check_inside(change.path for change in library.database.changes(place))
            results = [result for place in places for result in library.undo_tags(place)]
            failed = [
                FailedFile(result.path, **result.error.to_dict()).to_dict()
                for result in results
                if result.error is not None
            ]
            return {"restored": len(results) - len(failed), "failed": failed[:MAX_ROWS]}

        return await self._with_library(undo, write=True)

    async def _classify(self, path: str, timeline: bool) -> Row:
        try:
            place = self._roots.resolve(path)
            job = ClassifyJob(
                path=str(place),
                name=path,
                model=self._options.model,
                timeline=timeline,
                strict=False,
                threshold=None,
                max_seconds=self._options.max_audio_seconds,
            )
            return await asyncio.wrap_future(self._started_pool().submit(asdict(job)))
        except GenrescopeError as failure:
            return FailedFile(path, **failure.to_dict()).to_dict()

    def _started_pool(self) -> WorkerPool:
        if self._pool is None:
            options = self._options
            spec = WorkerSpec(
                create_classify_handler,
                {"models": {options.model: options.model}},
                options.job_timeout,
                options.job_memory_mb,
            )
            self._pool = WorkerPool(spec, options.workers, queue_length=10 * MAX_ROWS)
        return self._pool

    async def _with_library(self, work: Callable[[Library], Row], *, write: bool = False) -> Row:
        place = self._options.database or default_path()

        def run() -> Row:
            if not place.exists():
                raise DataError(
                    "dataset_not_found", f"{place}: no library there", "run: genrescope library scan FOLDER"
                )
            with Library(place, read_only=not write) as library:
                return work(library)

        async with self._library_free:
            return await asyncio.to_thread(_answered, run)

    def _folders(self, folder: str) -> Sequence[Path]:
        return [self._roots.resolve(folder)] if folder else self._roots.folders

    def _planned(
        self,
        library: Library,
        folder: str,
        genre: str,
        by: Literal["track", "album"],
        vocabulary: str,
        overwrite: bool,
    ) -> list[TagResult]:
        """Return what would be written."""
        planned = [
            result
            for place in self._folders(folder)
            for result in library.plan_tags(
                _tag_options(by, vocabulary), overwrite=overwrite, genre=genre or (), folder=place
            )
        ]
        self._check_inside(result.path for result in planned)
        return planned

    def _check_inside(self, paths: Iterable[str]) -> None:
        """Refuse to write files that are links to others outside of the roots."""
        for path in paths:
            if not self._roots.contains(path):
                raise ConfigError(
                    "invalid_argument",
                    f"{path} is a link to a file outside of the folders of this server",
                    "choose a folder without it",
                )


def _answered(work: Callable[[], _Result]) -> _Result:
    """Do the work of a tool; say in the SDK's way what went wrong, so that the agent reads it."""
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        return work()
    except GenrescopeError as failure:
        raise ToolError(f"{failure.message}: {failure.hint}") from None


def _check_count(paths: Sequence[str]) -> None:
    from mcp.server.mcpserver.exceptions import ToolError

    if not 1 <= len(paths) <= MAX_ROWS:
        raise ToolError(f"{len(paths)} paths: give 1 to {MAX_ROWS} at a time")


def _tag_options(by: Literal["track", "album"], vocabulary: str) -> TagOptions:
    # Shipped ones by name only: a path would be a file outside of the roots.
    if vocabulary and vocabulary not in SHIPPED:
        raise ConfigError(
            "invalid_argument", f"no vocabulary {vocabulary!r}", "choose one of: " + ", ".join(SHIPPED)
        )
    return TagOptions(vocabulary=vocabulary or None, by=by)


def _page(rows: Iterable[_Result], offset: int, name: str) -> Row:
    """Return a part of the rows, and how many there are."""
    rows = list(rows)
    shown = list(itertools.islice(rows, max(0, offset), max(0, offset) + MAX_ROWS))
    left = max(0, len(rows) - max(0, offset) - len(shown))
    return {name: shown, "total": len(rows), "left": left}


def _summary(entry: LibraryEntry) -> Row:
    """Return what an agent needs to know of a track: not all of its scores."""
    if entry.failure is not None:
        return entry.failure.to_dict()
    return {
        "path": entry.path,
        "genre": entry.genre,
        "score": entry.score,
        "unsure": entry.is_uncertain,
        "not_music": entry.not_music,
        "set": list(entry.genre_set),
        "styles": dict(itertools.islice(entry.styles.items(), 3)),
        "artist": entry.artist or "",
        "album": entry.album or "",
        "seconds": entry.seconds,
    }


def _change(result: TagResult) -> Row:
    if result.error is not None:
        return FailedFile(result.path, **result.error.to_dict()).to_dict()
    plan = result.plan or result.change
    assert plan is not None  # a result without an error has one of both
    return {"path": result.path, "before": list(plan.before), "after": list(plan.after)}


def _digest(rows: Iterator[Row] | Sequence[Row]) -> str:
    return hashlib.sha256(json.dumps(list(rows), sort_keys=True).encode()).hexdigest()[:16]
