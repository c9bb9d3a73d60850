"""What the commands are given to read: files, folders, playlists, cue sheets, and standard input."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from genrescope import audio
from genrescope.errors import ConfigError, GenrescopeError
from genrescope.types import AudioSection, FailedFile, Prediction

if TYPE_CHECKING:
    # For annotations only: onnxruntime need not be loaded to read a playlist.
    from genrescope.inference import Classifier

STANDARD_INPUT = Path("-")
_PLAYLISTS, _CUE_SHEETS = frozenset({".m3u", ".m3u8"}), frozenset({".cue"})
_COPY_BYTES = 2**20

# What is classified, or the error in place of what could not be found.
Input = Path | AudioSection | BinaryIO | FailedFile


class StandardInput:
    """Audio on standard input, as a file object that can be sought.

    What comes through a pipe is copied into a temporary file first: a decoder needs its end, too, and hours
    of audio need not fit into memory.

    Attributes
    ----------
    name : str
        What it is called in results.

    Raises
    ------
    ConfigError
        ``invalid_argument``: standard input is a terminal.
    """

    name = "<stdin>"

    def __init__(self) -> None:
        if sys.stdin.isatty():
            raise ConfigError(
                "invalid_argument",
                "standard input is a terminal, not audio",
                "pipe a file into the command: genrescope classify - < song.mp3",
            )
        stream = sys.stdin.buffer
        if stream.seekable():
            self._file: BinaryIO = stream
            return
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this object is
        while block := stream.read(_COPY_BYTES):
            self._file.write(block)
        self._file.seek(0)

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, count: int = -1) -> bytes:
        """Return up to ``count`` bytes; negative: all."""
        return self._file.read(count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to ``offset``, counted as ``whence`` says, and return the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()


def listed_paths(paths: Iterable[Path] | None, files_from: Path | None) -> list[Path]:
    """Return the paths of a command line and of the list that it names.

    Parameters
    ----------
    paths : iterable of Path or None
        The arguments.
    files_from : Path or None
        A file with one path on each line, or with NUL bytes between them; ``-``: standard input.

    Raises
    ------
    ConfigError
        ``invalid_argument``: neither names anything; the list cannot be read; standard input is asked for
        twice.
    """
    found = list(paths or ())
    if files_from is not None:
        if files_from == STANDARD_INPUT and STANDARD_INPUT in found:
            raise ConfigError(
                "invalid_argument",
                "standard input cannot be audio and a list of files at once",
                "give one of '-' and '--files-from -'",
            )
        try:
            content = sys.stdin.buffer.read() if files_from == STANDARD_INPUT else files_from.read_bytes()
        except OSError as reason:
            raise ConfigError(
                "invalid_argument",
                f"{files_from}: cannot be read: {reason.strerror or reason}",
                "name a text file with one path on each line",
            ) from None
        found += map(Path, audio.read_path_list(content))
    if not found:
        raise ConfigError(
            "invalid_argument",
            "no files are named" if files_from is None else f"{files_from}: no files are named in it",
            "give files or folders as PATH, or a list of them with --files-from",
        )
    return found


def find_inputs(paths: Iterable[Path]) -> list[Input]:
    """Return what is to be classified: files as named, folders searched, playlists and cue sheets read.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders; ``-`` is audio on standard input. A playlist (``.m3u``, ``.m3u8``) stands for its
        entries, a cue sheet (``.cue``) for its tracks. Within folders neither is looked for.

    Returns
    -------
    list of Path, AudioSection, binary file or FailedFile
        An error stands in place of what cannot be used, such as a broken cue sheet or the address of a
        stream. Files that do not exist are among the paths: classifying them gives the error.

    Raises
    ------
    DataError
        ``dataset_empty``: the paths are folders without audio files.
    ConfigError
        ``invalid_argument``: standard input is a terminal.
    """
    paths = list(paths)
    if not any(map(_is_special, paths)):
        return list(audio.find_audio(paths))
    return [found for path in paths for found in _inputs(path, set())]


def scan_paths(paths: Iterable[Path]) -> list[Path]:
    """Return the paths for a library to scan: those named, and the entries of playlists among them.

    Entries that are not there are left out, with a line on standard error.

    Parameters
    ----------
    paths : iterable of Path

    Raises
    ------
    ConfigError
        ``invalid_argument``: an address, standard input, or a cue sheet, of which a library keeps nothing.
    AudioError
        A playlist that cannot be read.
    """
    found: list[Path] = []
    for path in paths:
        if audio.is_url(str(path)):
            raise ConfigError("invalid_argument", *audio.url_refusal(str(path)))
        if path == STANDARD_INPUT or path.suffix.lower() in _CUE_SHEETS:
            what = "standard input" if path == STANDARD_INPUT else f"the cue sheet {path}"
            raise ConfigError(
                "invalid_argument",
                f"a library keeps files, not {what}",
                "classify it instead: genrescope classify PATH",
            )
        if path.suffix.lower() in _PLAYLISTS and not path.is_dir():
            # A stream or a missing file is no reason to leave out the others.
            entries = audio.read_playlist(path)
            there = [Path(entry) for entry in entries if os.path.lexists(entry)]
            if len(there) < len(entries):
                missing = next(entry for entry in entries if not os.path.lexists(entry))
                absent = len(entries) - len(there)
                typer.echo(f"{path}: {absent} of its files are not there, such as {missing}", err=True)
            found += there
        else:
            found.append(path)
    return found


def predict_inputs(
    classifier: Classifier, inputs: Iterable[Input], *, timeline: bool, strict: bool, excerpts: bool
) -> Iterator[Prediction | FailedFile]:
    """Classify inputs; an error stays in its place.

    Parameters
    ----------
    classifier : Classifier
    inputs : iterable
        As `find_inputs` returns them.
    timeline, strict, excerpts : bool
        As of `Classifier.predict`.

    Yields
    ------
    Prediction or FailedFile
        One for each input, in order, as soon as it is known.
    """
    for has_failed, group in itertools.groupby(inputs, lambda one: isinstance(one, FailedFile)):
        if has_failed:
            yield from group  # type: ignore[misc] # only these
        else:
            yield from classifier.predict_many(group, timeline=timeline, strict=strict, excerpts=excerpts)  # type: ignore[arg-type]


def _is_special(path: Path) -> bool:
    return (
        path == STANDARD_INPUT or path.suffix.lower() in _PLAYLISTS | _CUE_SHEETS or audio.is_url(str(path))
    )


def _inputs(path: Path, above: set[Path]) -> Iterator[Input]:
    """Yield what a path stands for; ``above`` are the playlists that lead to it."""
    suffix = path.suffix.lower()
    try:
        if path == STANDARD_INPUT and not above:
            yield StandardInput()  # type: ignore[misc] # what a decoder needs of a binary file
        elif audio.is_url(str(path)):
            message, hint = audio.url_refusal(str(path))
            yield FailedFile(message.partition(": ")[0], "audio_missing", message, hint)
        elif path.is_dir():
            yield from [*audio.audio_files([path])] or [path]
        elif suffix in _PLAYLISTS:
            # Playlists may name each other.
            if (place := path.resolve()) not in above:
                for entry in audio.read_playlist(path):
                    yield from _inputs(Path(entry), above | {place})
        elif suffix in _CUE_SHEETS:
            yield from audio.read_cue_sheet(path)
        else:
            yield path
    except GenrescopeError as failure:
        if isinstance(failure, ConfigError):
            raise
        yield FailedFile(str(path), **failure.to_dict())
