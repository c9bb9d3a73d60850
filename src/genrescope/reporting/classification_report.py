"""The page of classified files: key figures, a table of the files with their details, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from genrescope.labels import display_name
from genrescope.reporting.charts import count_chart, genre_colors, genre_series
from genrescope.reporting.file_list import SURE, UNSURE, FileList, ListedFile, list_files, relative_rows
from genrescope.reporting.formatting import common_folder, format_clock, format_count
from genrescope.reporting.pages import render_files
from genrescope.types import NOT_MUSIC, FailedFile, Prediction


def classification_page(results: Sequence[Prediction | FailedFile], *, title: str, model: str) -> str:
    """Return the results for many files as one self-contained HTML page.

    Parameters
    ----------
    results : sequence of Prediction or FailedFile
        One for each file, as from `genrescope.Classifier.predict_many`.
    title : str
        The page's heading.
    model : str
        The name of the model that classified them.

    Returns
    -------
    str
        The page. Paths are relative to the folder that all files have in common.
    """
    folder = common_folder([result.path for result in results])
    predictions = [_readable(result) for result in results if isinstance(result, Prediction)]
    failed = [
        (result.path, result.code, result.message, result.hint)
        for result in results
        if isinstance(result, FailedFile)
    ]
    series = genre_series([one.scores for one in predictions])
    files = list_files([_listed(one) for one in predictions], series, folder)
    summary = count_chart("genres", "Files per genre", files.genres, genre_colors(series))
    contents = [("Summary", "summary")]
    contents += [(f"Files ({len(predictions):,})", "files-title")] if predictions else []
    contents += [(f"Not classified ({len(failed):,})", "failed")] if failed else []
    seconds = sum(one.seconds for one in predictions)
    lead = f"{format_count(len(predictions), 'file')} classified, {format_clock(seconds)} of music"
    lead += f", {len(failed)} not readable" if failed else ""
    return render_files(
        "classification_report.html",
        {summary.id: summary.to_json()} | ({"files": files.data} if predictions else {}),
        title=title,
        lead=f"{lead}.",
        footer=f"Model: {model}. Made by genrescope.",
        contents=contents,
        figures=_figures(files, len(failed)),
        summary=summary,
        files=files,
        notes=list(_notes(files)),
        failures=list(relative_rows(failed, folder, 0)),
    )


def _readable(prediction: Prediction) -> Prediction:
    """Return a prediction with the names of genres and styles that people read in place of labels."""
    timeline = prediction.timeline
    return replace(
        prediction,
        scores={display_name(label): score for label, score in prediction.scores.items()},
        styles={display_name(label): chance for label, chance in prediction.styles.items()},
        style=None if prediction.style is None else display_name(prediction.style),
        labels=None if prediction.labels is None else tuple(map(display_name, prediction.labels)),
        timeline=timeline and replace(timeline, classes=tuple(map(display_name, timeline.classes))),
    )


def _listed(prediction: Prediction) -> ListedFile:
    """Return what the table shows of one file."""
    # What is not music has scores as well, but they say nothing.
    if not prediction.is_music:
        chance = 1 - (prediction.music or 0.0)
        seconds, flags = prediction.seconds, prediction.flags
        return ListedFile(prediction.path, NOT_MUSIC, chance, NOT_MUSIC, seconds, {}, flags=flags)
    return ListedFile(
        path=prediction.path,
        genre=", ".join(prediction.labels) if prediction.labels else prediction.genre,
        score=prediction.confidence,
        state=UNSURE if prediction.is_uncertain else SURE,
        seconds=prediction.seconds,
        scores=prediction.scores,
        style=prediction.style if prediction.answer == prediction.style else None,
        possible=prediction.genre_set,
        styles=prediction.probable_styles,
        flags=prediction.flags,
        timeline=prediction.timeline,
    )


def _figures(files: FileList, failed: int) -> list[tuple[str, str]]:
    """Return the key figures: name and value."""
    states = Counter(dict(files.states))
    shown = [("files", len(files.rows) + failed), *((state, states[state]) for state in (SURE, UNSURE))]
    shown += [(NOT_MUSIC, states[NOT_MUSIC])] if states[NOT_MUSIC] else []
    shown += [("not classified", failed)] if failed else []
    return [(name, f"{number:,}") for name, number in shown]


def _notes(files: FileList) -> list[str]:
    """Return what must be known to read the table."""
    notes = []
    if any(state == UNSURE for state, _ in files.states):
        notes.append("Unsure: the score is below the model's threshold.")
    if files.common_flags:
        notes.append(f"All files: {', '.join(files.common_flags)}.")
    return notes
