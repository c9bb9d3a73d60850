"""Reports and figures: complete, readable, self-contained; leaky protocols are marked everywhere."""

from __future__ import annotations

import io
import json
import re
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from genrescope.cli.output import render_evaluation
from genrescope.errors import MissingDependencyError, WriteError
from genrescope.evaluation.calibration import CalibrationBin, Threshold
from genrescope.evaluation.results import Evaluation, evaluate_scores
from genrescope.experiments.comparison import compare_with_paper, paper_f1
from genrescope.experiments.paper import LEAKY_NOTE, NOTES
from genrescope.labels import GTZAN_GENRES as GENRES
from genrescope.reporting import figures as plots
from genrescope.reporting.blocks import Figure, Paragraph, Section, Table
from genrescope.reporting.evaluation_report import (
    EvaluationReport,
    ReportPaths,
    write_report,
)
from genrescope.reporting.figures import Curve
from genrescope.reporting.formatting import as_sentence
from genrescope.reporting.markdown import render_markdown
from genrescope.reporting.pages import inline_svg, render_sections
from genrescope.reporting.theme import SERIES

VOID = {"meta", "img", "br", "link", "input", "use", "path"}
CURVE = Curve((1, 2), (2.0, 1.0), (2.1, 1.5), (0.2, 0.6), (0.1, 0.5), (0.01, 0.005))
NASTY = "<script>alert('x')</script> & $a$ | `b`"


class Checker(HTMLParser):
    """Keeps what a page holds, and fails on elements that do not close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def evaluation(model: str, protocol: str, leaky: bool, **changes: Any) -> Evaluation:
    generator = np.random.default_rng(4)
    truth = np.repeat(np.arange(60) % 10, 2)
    scores = generator.dirichlet(np.ones(10), 120) + 0.5 * np.eye(10)[truth]
    tracks = np.arange(120) // 2
    given = {"classes": GENRES, "tracks": tracks, "groups": tracks, "train_truth": truth, "data": "GTZAN"}
    given |= {"scores": scores / scores.sum(1, keepdims=True), "truth": truth}
    return evaluate_scores(**given | {"model": model, "protocol": protocol, "leaky": leaky} | changes)


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    evaluations = (
        evaluation("parallel", "segment-random", True),
        evaluation("parallel", "fault-filtered", False, notes=[NASTY]),
    )
    pictures = (Figure("dot", b"\x89PNG fake", "A dot."),)
    curves = {"parallel, segment-random": CURVE}
    provenance = {"data": NASTY, "seed": 0}
    published = compare_with_paper(evaluations)
    return EvaluationReport(
        f"GTZAN {NASTY}",
        evaluations,
        curves,
        pictures,
        published,
        paper_f1(),
        (LEAKY_NOTE, *NOTES),
        provenance,
    )


@pytest.fixture(scope="module")
def paths(report: EvaluationReport, tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    return write_report(report, tmp_path_factory.mktemp("report") / "new")


@pytest.fixture(scope="module")
def page(paths: ReportPaths) -> str:
    return paths.html.read_text(encoding="utf8")


def fetched(page: str) -> list[str]:
    """Return every address that a browser would fetch."""
    attributes = [
        value or ""
        for tag, given in Checker(page).seen
        for name, value in given.items()
        if name in {"src", "srcset", "data", "poster", "action", "xlink:href"}
        or (name, tag) == ("href", "link")
    ]
    return attributes + re.findall(r"url\(([^)]*)\)", page) + re.findall(r"@import", page)


def test_the_page_parses_and_fetches_nothing(page: str) -> None:
    assert all(address.strip("'\" ").startswith(("#", "data:")) for address in fetched(page))
    assert not re.search("https?:", page)
    policy = unescape(page.partition("<title>")[0])
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_the_page_is_accessible_and_has_light_and_dark_colors(page: str) -> None:
    seen = Checker(page).seen
    assert "prefers-color-scheme: dark" in page
    assert any(given.get("name") == "viewport" for _, given in seen)
    assert all(given.get("alt") for tag, given in seen if tag == "img")
    assert all(given.get("aria-label") for tag, given in seen if tag == "svg")
    assert all(given.get("scope") for tag, given in seen if tag == "th")
    ids = [given["id"] for _, given in seen if "id" in given]
    assert len(ids) == len(set(ids))
    links = {given["href"] for tag, given in seen if tag == "a"}
    assert links <= {f"#{one}" for one in ids}


def test_figures_use_the_colors_of_the_page(page: str) -> None:
    body = page.partition("</style>")[2]
    for color in ("ink", "accent", "s0", "s1"):
        assert f"var(--{color})" in body
    assert "#000000" not in body


def test_text_is_escaped(page: str, paths: ReportPaths) -> None:
    text = paths.markdown.read_text(encoding="utf8")
    assert re.findall("<script[^>]*>", page + text) == ['<script type="module">']
    assert NASTY in "".join(Checker(page).words)
    assert "\\|" in text


def test_leaky_numbers_are_marked_in_every_row_heading_and_figure(page: str, paths: ReportPaths) -> None:
    text = paths.markdown.read_text(encoding="utf8")
    for document in (page, text):
        for line in document.splitlines():
            if "segment-random" in line and "var(--" not in line:
                assert "leaky" in line, line
    marked = [given for tag, given in Checker(page).seen if tag == "tr" and given.get("class") == "marked"]
    assert len(marked) == 1 + 1 + 4 + 10
    assert all("leaky" in text for text in texts(page) if "segment-random" in text)
    assert sum("segment-random (leaky)" in text for text in texts(page)) >= 4
    figures = [given["aria-label"] or "" for tag, given in Checker(page).seen if tag == "svg"]
    assert sum("segment-random (leaky)" in figure for figure in figures) >= 4
    assert not any("segment-random" in figure.replace("segment-random (leaky)", "") for figure in figures)


def test_json_marks_leaky_numbers_and_keeps_all(report: EvaluationReport, paths: ReportPaths) -> None:
    content = json.loads(paths.json.read_text(encoding="utf8"))
    assert [row["leaky"] for row in content["evaluations"]] == [True, False]
    assert content["evaluations"][0]["title"] == "parallel, segment-random (leaky)"
    assert content["curves"]["parallel, segment-random"]["leaky"] is True
    assert tuple(map(Evaluation.from_json, content["evaluations"])) == report.evaluations
    assert content["provenance"]["seed"] == 0
    best = content["published"][-1]
    assert (best["paper"], best["replicated"]["leaky"], best["clean"]["leaky"]) == (72.5, True, False)


def test_markdown_has_tables_and_links_to_figures_that_exist(paths: ReportPaths) -> None:
    text = paths.markdown.read_text(encoding="utf8")
    links = re.findall(r"\]\((.*?)\)", text)
    assert len(links) > 5
    assert all((paths.markdown.parent / link).is_file() for link in links)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_the_same_report_gives_the_same_bytes(
    report: EvaluationReport, paths: ReportPaths, tmp_path: Path
) -> None:
    again = write_report(report, tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_repeated_runs_are_named_differently(tmp_path: Path) -> None:
    two = {"classes": ("a", "b"), "scores": np.eye(2), "truth": [0, 1], "tracks": [0, 1], "groups": [0, 1]}
    two |= {"train_truth": None}
    repeated = tuple(evaluation("svm", "fault-filtered", False, seed=seed, **two) for seed in (1, 2, 2))
    text = write_report(EvaluationReport("Seeds", repeated), tmp_path).markdown.read_text(encoding="utf8")
    headings = re.findall(r"^## (svm.*)$", text, flags=re.MULTILINE)
    assert len(set(headings)) == 3


def test_a_failing_write_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "mine").touch()
    with pytest.raises(WriteError) as failure:
        write_report(EvaluationReport("Nothing yet", ()), tmp_path)
    assert failure.value.code == "write_failed"
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    json.loads((tmp_path / "report.json").read_text(encoding="utf8"))


def test_a_report_that_cannot_be_drawn_writes_nothing(
    report: EvaluationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as failure:
        write_report(report, tmp_path / "new")
    assert failure.value.code == "missing_dependency"
    assert not (tmp_path / "new").exists()


def test_paper_accuracies_are_matched_by_model_and_protocol() -> None:
    measured = (
        evaluation("lstm", "track-random", True),
        evaluation("svm", "track-random", True),
        evaluation("logistic-regression", "fault-filtered", False),
        evaluation("parallel", "segment-random", True, notes=["improved"]),
        evaluation("parallel-paper", "segment-random", True, truth=np.zeros(120, int)),
    )
    rows = {row.model: row for row in compare_with_paper(measured)}
    matched = {row.model: (row.replicated is not None, row.clean is not None) for row in rows.values()}
    assert matched["SVM"] == (True, False)
    assert matched["logistic regression"] == (False, True)
    assert matched["vanilla LSTM"] == (False, False)
    literal = rows["parallel CNN and RNN (parallel-paper)"].replicated
    improved = rows["parallel CNN and RNN (parallel)"].replicated
    assert literal is not None
    assert improved is not None
    assert literal.accuracy == measured[4].levels[0].accuracy
    assert improved.accuracy == measured[3].levels[0].accuracy != literal.accuracy


def test_calibration_and_coverage_are_in_the_report(tmp_path: Path) -> None:
    trusted = evaluation("cnn", "fault-filtered", False, threshold=0.3)
    leaky = evaluation("svm", "track-random", True)
    level = trusted.levels[0]
    assert level.calibration is not None
    assert level.calibration.best_threshold is not None
    assert level.calibration.model_threshold is not None
    paths = write_report(EvaluationReport("Trust", (trusted, leaky)), tmp_path)
    text = paths.markdown.read_text(encoding="utf8")
    first, second = re.findall(r"^\| (?:cnn|svm) \| .* correct.*$", text, flags=re.MULTILINE)
    assert f"{level.calibration_error:.3f} | {level.calibration.expected_ece:.3f}" in first
    assert f"{100 * level.calibration.model_threshold.coverage:.1f} % from 0.30, " in first
    assert (
        f"{100 * level.calibration.best_threshold.coverage:.1f} %"
        f" from {level.calibration.best_threshold.score:.2f}, "
    ) in first
    assert "leaky" in second
    assert second.endswith("| – |")
    assert "With its own threshold, 0.30," in text
    assert {path.name for path in tmp_path.glob("figures/*cnn*")} == {
        f"{kind}-cnn-fault-filtered-by-track.svg" for kind in ("confusion", "coverage", "reliability")
    } | {"confusion-cnn-fault-filtered-by-segment.svg"}
    page = paths.html.read_text(encoding="utf8")
    calibration = page.partition("Calibration and coverage, by track</caption>")[2].partition("</table>")[0]
    assert 'class="marked"' in calibration


def test_evaluations_of_older_reports_are_drawn_without_calibration(tmp_path: Path) -> None:
    row = evaluation("cnn", "fault-filtered", False).to_json()
    del row["tracks"]["calibration"]
    text = write_report(EvaluationReport("Old", (Evaluation.from_json(row),)), tmp_path).markdown
    assert "Calibration" not in text.read_text(encoding="utf8")
    assert not list(tmp_path.glob("figures/reliability*"))


# Figures


def texts(svg: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<text.*?</text>", svg, flags=re.DOTALL)]


def test_the_confusion_figure_shows_every_count_and_shades_by_share() -> None:
    svg = plots.confusion_figure([[8, 2], [0, 5]], ["a", "b"], "T")
    assert {"8", "2", "5", "a", "b", "T", "true", "predicted"} <= {text.strip() for text in texts(svg)}
    shades = sorted(float(value) for value in re.findall(r"fill: #1f6fb2; opacity: ([\d.]+)", svg))
    assert shades == [0, 0.2, 0.8] or shades == [0.2, 0.8]


def test_the_reliability_figure_counts_every_bin() -> None:
    bins = (CalibrationBin(0.3, 0.4, 17, 0.36, 0.2), CalibrationBin(0.9, 1.0, 42, 0.97, 0.9))
    words = {text.strip() for text in texts(plots.reliability_figure(bins, "T"))}
    assert {"17", "42", "T", "accuracy", "score of the predicted genre", "tracks"} <= words


def test_the_coverage_figure_names_its_marks_and_shows_the_lowest_point() -> None:
    curve = (Threshold(0.9, 0.1, 1.0), Threshold(0.2, 1.0, 0.31))
    words = [
        text.strip()
        for text in texts(plots.coverage_figure(curve, "T", target_accuracy=0.9, marks={"own": curve[0]}))
    ]
    assert {"T", "own", "coverage (share of tracks answered)", "0.3"} <= set(words)
    assert "own" not in texts(plots.coverage_figure(curve, "T", target_accuracy=0.9, marks={}))


def test_figures_are_the_same_every_time_and_leave_matplotlib_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    first, second = (plots.curves_figure(CURVE, "T") for _ in range(2))
    assert first == second
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize("title", ["$x", "a $b$ c", "日本語", "<b>&"])
def test_titles_are_drawn_unchanged(title: str) -> None:
    svg = plots.comparison_figure({"m": [0.5, 0.2]}, ["a", "b"], title)
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in "".join(texts(svg))


def test_a_model_has_one_color_in_all_comparisons() -> None:
    alone = plots.comparison_figure({"b": [0.5]}, ["x"], "T", order=["a", "b"])
    assert SERIES[1] in alone
    assert SERIES[0] not in alone


def test_spectrograms_span_their_seconds() -> None:
    mel = np.linspace(-80, 0, 128 * 50).reshape(128, 50)
    svg = plots.mel_figure([("blues", mel, 0.2), ("jazz", mel, 0.2), ("rock", mel, 0.2)])
    words = {text.strip() for text in texts(svg)}
    assert {"blues", "jazz", "rock", "seconds", "10", "dB"} <= words
    assert "12" not in words
    assert "0.0" not in words
    assert "image/png;base64" in svg
    assert "coefficient" in plots.mfcc_figure(np.zeros((20, 30)), 0.1, "M")


def test_features_have_a_panel_each_and_frequencies_share_one() -> None:
    frames = np.linspace(0, 1, 40)
    features = {
        "waveform": np.sin(np.arange(5000)),
        "log_mel": np.zeros((128, 40)),
        "spectral_centroid": 1000 * frames,
        "spectral_rolloff": (4000 * frames)[None],
        "rms": frames,
    }
    titles = "|".join(texts(plots.features_figure(features, 3.0, "F")))
    assert "spectral centroid|spectral rolloff" in titles
    assert titles.count("seconds") == 1


def test_pitch_classes_have_names_and_mel_bands_frequencies() -> None:
    generator = np.random.default_rng(0)
    features = {
        "log_mel": generator.uniform(-60, 20, (128, 40)),
        "chroma": generator.random((12, 40)),
        "spectral_contrast": generator.uniform(5, 40, (7, 40)),
    }
    words = [text.strip() for text in texts(plots.features_figure(features, 3.0, "title"))]
    # From below: C has the first row, and 8000 Hz is above 250 Hz.
    names = ["C", "C\u266f", "D", "D\u266f", "E", "F", "F\u266f", "G", "G\u266f", "A", "A\u266f", "B"]
    assert [word for word in words if word in names] == names
    hertz = ["250", "500", "1,000", "2,000", "4,000", "8,000"]
    assert [word for word in words if word in hertz] == hertz
    assert [word for word in words if word in {"400", "800", "1600", "3200", "6400"}] == [
        "400", "800", "1600", "3200", "6400"
    ]  # fmt: skip


def test_colors_of_features_span_what_they_can_be() -> None:
    """No single value, and no row of another size, takes the colors of all others."""
    assert plots._color_range("chroma", np.full((12, 5), 0.5)) == (0, 1)
    loud = np.full((128, 5), -100.0)
    loud[3, 2] = 12.0
    assert plots._color_range("log_mel", loud) == (-68, 12)
    cepstra = np.zeros((20, 100))
    cepstra[0], cepstra[1], cepstra[2:, ::2] = -500, 150, 9
    assert plots._color_range("mfcc", cepstra) == (-9, 9)
    contrast = np.tile(np.linspace(10, 30, 100), (7, 1))
    contrast[6] = 80
    low, high = plots._color_range("spectral_contrast", contrast)
    assert (low, high) == (pytest.approx(10.2, abs=0.1), pytest.approx(29.8, abs=0.1))
    assert plots._color_range("mfcc", np.zeros((20, 3))) == (-1, 1)
    assert plots._color_range("spectral_contrast", np.zeros((7, 3))) == (-0.5, 0.5)


def test_plots_of_features_have_a_ground_and_figures_of_pages_have_none() -> None:
    alone = plots.features_figure({"rms": np.ones(9)}, 3.0, "F")
    assert "fill: #ffffff" in alone.partition('id="axes_1"')[0]
    assert "fill: #ffffff" not in plots.intervals_figure({"a": (0.5, 0.4, 0.6)}, "T")


def test_a_diverged_training_can_be_written_and_drawn() -> None:
    nan = float("nan")
    curve = Curve((1, 2), (2.0, nan), (2.0, float("inf")), (0.1, 0.1), ())
    assert curve.to_json()["train_loss"] == [2.0, None]
    json.dumps(curve.to_json(), allow_nan=False)
    assert "validation" in "".join(texts(plots.curves_figure(curve, "T")))


# Documents


def test_inline_svg_has_no_size_ids_or_namespaces() -> None:
    svg = '<?xml version="1.0"?>\n<svg xmlns="http://w3" width="9pt" viewBox="0 0 300 9"><g id="a"/></svg>'
    inline = inline_svg(svg, 'say "x"')
    assert inline.startswith("<svg viewBox=")
    assert 'aria-label="say &quot;x&quot;"' in inline
    assert "width:400px" in inline
    assert "http" not in inline
    assert "id=" not in inline


def test_blocks_are_rendered_as_html_and_as_markdown() -> None:
    table = Table("Cap", ("A", "B"), (("x", "1"), ("y", "2")), frozenset({1}))
    inner = Section("More", (Paragraph("text"),), folded=True)
    sections = [Section("One", (table, Paragraph("look out", warning=True), inner))]
    page, text = render_sections("T", "lead", sections), render_markdown("T", "lead", sections)
    Checker(page)
    assert '<tr class="marked"><th scope="row">y</th>' in page
    assert "<details><summary>More</summary>" in page
    assert text.splitlines()[:3] == ["# T", "", "lead"]
    assert "| x | 1 |" in text
    assert "### More" in text


def test_long_features_that_share_a_panel_keep_their_names_and_colors() -> None:
    many = np.linspace(0, 1, 5000)
    svg = plots.features_figure({"spectral_centroid": many, "spectral_rolloff": many + 1}, 60.0, "long")
    assert {"spectral centroid", "spectral rolloff"} <= {text.strip() for text in texts(svg)}


def test_a_genre_without_a_test_row_has_no_scores(tmp_path: Path) -> None:
    """It is left out of macro F1, and a zero in a table would say that the model fails on it."""
    truth = np.repeat(np.arange(36) % 9, 2)  # no rock
    scores = np.eye(10)[truth]
    given = {"truth": truth, "scores": scores, "tracks": np.arange(72) // 2, "groups": np.arange(72) // 2}
    one = evaluation("cnn", "fault-filtered", False, **given)
    assert one.levels[0].macro_f1.value == 1
    text = write_report(EvaluationReport("R", (one,)), tmp_path).markdown.read_text(encoding="utf8")
    assert "| rock |" not in text
    assert "| reggae | 1.00 | 1.00 | 1.00 | 4 |" in text
    assert text.count("Left out, as no track of them was tested: rock.") == 3
    assert f"| Model | {' | '.join(GENRES[:-1])} |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| cnn, fault-filtered, by track |")]
    assert line == f"| cnn, fault-filtered, by track | {' | '.join(['1.00'] * 9)} |"
    stream = io.StringIO()
    render_evaluation(one, Console(file=stream, width=80))
    shown = stream.getvalue().splitlines()
    assert "left out, as no track of them was tested: rock" in shown
    assert not any(line.startswith("rock") for line in shown)


def test_figures_have_no_panels_of_genres_without_a_test_row(tmp_path: Path) -> None:
    """Four of ten genres are tested, and one of the others is answered."""
    truth = np.repeat([1, 3, 5, 7], 10)
    scores = np.eye(10)[np.where(np.arange(40) % 10 == 9, 8, truth)]
    tracks = np.arange(40)
    one = evaluation(
        "cnn", "all", False, truth=truth, scores=scores, tracks=tracks, groups=tracks, data="emotify"
    )
    assert one.levels[0].macro_f1.value == pytest.approx(18 / 19)
    write_report(EvaluationReport("R", (one,)), tmp_path)
    tested = [GENRES[place] for place in (1, 3, 5, 7)]
    bars = [text for text in texts(_figure(tmp_path, "f1-per-genre-all-10")) if text in GENRES]
    assert bars == tested
    matrix = [text for text in texts(_figure(tmp_path, "confusion-cnn-all-by-track")) if text in GENRES]
    assert sorted(matrix) == sorted([*tested, GENRES[8], *tested])
    counts = [text for text in texts(_figure(tmp_path, "confusion-cnn-all-by-track")) if text.isdigit()]
    assert sorted(counts) == ["1"] * 4 + ["9"] * 4


def _figure(folder: Path, name: str) -> str:
    return (folder / "figures" / f"{name}.svg").read_text(encoding="utf8")


def test_the_paper_is_quoted_beside_its_own_data_only(tmp_path: Path) -> None:
    """The genres of another data set may be the same, and its results are no replication."""
    for data, quoted in (("gtzan", True), ("another", False)):
        measured = (evaluation("parallel", "segment-random", True, data=data),)
        content = EvaluationReport("R", measured, {}, (), compare_with_paper(measured), paper_f1())
        text = write_report(content, tmp_path / data).markdown.read_text(encoding="utf8")
        assert ("## Comparison with the paper" in text) == quoted
        assert ("paper, Figure 12" in text) == quoted


@pytest.mark.parametrize(
    ("note", "sentence"), [("none is known", "None is known."), ("Is it?", "Is it?"), ("x.", "X.")]
)
def test_notes_are_sentences(note: str, sentence: str) -> None:
    assert as_sentence(note) == sentence


def test_the_layers_of_two_branches() -> None:
    svg = plots.layers_figure((["a\n1", "b\n2"], ["c\n3"], ["d\n4"]), "Layers")
    assert all(f"{name} \u2192 {size}" in svg for name, size in zip("abcd", "1234", strict=True))
