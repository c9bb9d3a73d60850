"""The page in chromium against a running server."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutagen import id3
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from helpers.browser import Page
from helpers.server import serving

# A drop as the browser makes it, with the files that the page's own field holds.
DROP = """
const carried = new DataTransfer();
for (const file of document.getElementById("files").files) carried.items.add(file);
document.getElementById("drop").dispatchEvent(
  new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
"""
# Keeps the page from seeing that its field was filled, once.
HOLD_CHANGE = """
window.addEventListener("change", (event) => event.stopImmediatePropagation(), { capture: true, once: true });
"""


def test_dropped_clip_is_classified(page: Page, gtzan: Path) -> None:
    clip = gtzan / "audio" / "blues" / "blues.00000.ogg"
    page.driver.execute_script(HOLD_CHANGE)
    page.choose(clip)
    page.driver.execute_script(DROP)
    assert "blues" in page.wait_for("verdict", "%")
    assert page.find("title").text == "blues.00000.ogg"
    ranked = [row.text for row in page.find("answers").find_elements(By.CSS_SELECTOR, "table:first-child tr")]
    shares = [float(row.split()[-2]) for row in ranked]
    assert ranked[0].startswith("blues")
    assert len(ranked) == 10
    assert shares == sorted(shares, reverse=True)
    assert len(page.find("course").find_elements(By.TAG_NAME, "path")) == 10
    assert page.find("axis").text.split() == ["0:00", "0:10", "0:20", "0:30"]
    assert "blues" in (page.find("course").get_attribute("aria-label") or "")
    page.wait_until("document.getElementById('spectrogram').width === 900")
    assert "blues.00000.ogg: blues" in (page.find("status").get_attribute("textContent") or "")
    levels = (
        "new Set(document.getElementById('spectrogram').getContext('2d').getImageData(0,0,900,96).data).size"
    )
    assert page.driver.execute_script(f"return {levels}") > 100


def test_play_pause_and_seek_by_keyboard(page: Page, page_sounds: Path) -> None:
    page.choose(page_sounds / "one & <b>two.wav")
    page.wait_for("verdict", "%")
    assert page.find("title").text == "one & <b>two.wav"
    page.wait_until("document.getElementById('audio').readyState >= 2")
    page.find("play").click()
    page.wait_for("play", "Pause")
    page.wait_until("document.getElementById('audio').currentTime > 0.5")
    assert page.position() > 0.3
    assert float((page.find("head").get_attribute("style") or "").split("left: ")[1].split("%")[0]) > 2
    page.find("play").click()
    page.wait_for("play", "Play")
    bar = page.find("seek")
    bar.send_keys(Keys.HOME)
    assert page.position() == 0
    bar.send_keys(Keys.ARROW_RIGHT)
    assert page.position() == 5
    assert "0:05 of 0:12, " in (bar.get_attribute("aria-valuetext") or "")
    bar.click()
    assert page.position() == pytest.approx(6, abs=0.2)
    bar.send_keys(Keys.END)
    assert page.position() == pytest.approx(11.95, abs=0.1)


def test_uncertainty_and_styles_are_shown(page: Page, gtzan: Path) -> None:
    page.choose(gtzan / "audio" / "reggae" / "reggae.00002.ogg")
    verdict = page.wait_for("verdict", "%")
    assert verdict.startswith("disco & funk")
    assert "unsure" in verdict
    assert page.find("possible").text == "It may be disco & funk, reggae, r&b & soul."
    assert "funk" in page.find("answers").find_elements(By.TAG_NAME, "table")[1].text
    assert (page.find("status").get_attribute("textContent") or "").endswith(", unsure")


def test_what_is_not_music_is_said_so(page: Page, page_sounds: Path) -> None:
    page.choose(page_sounds / "noise.flac")
    assert page.wait_for("verdict", "%").startswith("not music")
    assert not page.find("course").is_displayed()
    assert not page.find("answers").find_elements(By.TAG_NAME, "table")
    assert "not music" in (page.find("status").get_attribute("textContent") or "")


def test_several_files_make_a_list(page: Page, page_sounds: Path) -> None:
    page.choose(*(page_sounds / name for name in ("one & <b>two.wav", "words.mp3", "noise.flac")))
    page.wait_until("document.querySelectorAll('#list button').length === 3")
    page.wait_until("!/waiting|analyzing/.test(document.getElementById('list').textContent)")
    states = [
        button.text.split("\n")[-1] for button in page.find("list").find_elements(By.TAG_NAME, "button")
    ]
    assert states[1] == "failed"
    assert "%" in states[0]
    assert "%" in states[2]
    page.find("list").find_elements(By.TAG_NAME, "button")[1].send_keys(Keys.ENTER)
    text = page.wait_for("failure", "words.mp3")
    assert "audio_unreadable" in text
    assert "What to do: check that it plays" in text
    assert not page.find("stage").is_displayed()
    assert any("415" in line for line in page.browser_errors())  # the browser notes the refusal, once


def test_too_large_file_is_not_sent(page: Page, page_sounds: Path) -> None:
    page.choose(page_sounds / "large.wav")
    text = page.wait_for("failure", "large.wav")
    assert "3.0 MiB; this server takes 2.0 MiB" in text
    assert "upload_too_large" in text


def test_recording_from_the_microphone(page: Page) -> None:
    page.find("record").click()
    page.wait_for("record", "Stop 0:02")
    page.find("record").click()
    page.wait_for("verdict", "%")
    assert page.find("title").text == "recording 1.wav"


def test_what_only_the_browser_can_decode_is_sent_as_wav(page: Page, page_sounds: Path) -> None:
    """The server refuses everything but WAV, to simulate formats that only the browser can decode."""
    page.driver.execute_script("""
      const originalFetch = window.fetch;
      const body = JSON.stringify({ code: "audio_unreadable", detail: "unknown", hint: "convert it" });
      window.fetch = async (address, request) => {
        const head = request.body && await request.body.get("file").slice(0, 4).text();
        if (head && head !== "RIFF") return new Response(body, { status: 415 });
        return originalFetch(address, request);
      };
    """)
    page.choose(page_sounds / "noise.flac")
    page.wait_for("verdict", "%")
    assert "decoded by your browser" in page.find("facts").text
    assert page.find("title").text == "noise.flac"


def test_server_that_has_ended(driver: webdriver.Chrome, page_sounds: Path) -> None:
    with serving() as (address, process):
        page = Page(driver, address)
        process.terminate()
        process.wait()
        page.choose(page_sounds / "noise.flac")
        text = page.wait_for("failure", "cannot be reached")
    assert "genrescope serve" in text
    assert page.find("failure").find_element(By.TAG_NAME, "button").text == "Try again"
    assert page.browser_errors()  # the browser's own words for it


def test_token_is_asked_for(driver: webdriver.Chrome, page_sounds: Path) -> None:
    with serving("--token", "correct token") as (address, _):
        driver.get(address)
        page = Page.__new__(Page)
        page.driver = driver
        page.wait_for("login", "token")
        page.find("token").send_keys("wrong", Keys.ENTER)
        page.wait_for("login-note", "That token is wrong")
        page.find("token").clear()
        page.find("token").send_keys("correct token", Keys.ENTER)
        page.wait_for("limits", "MiB")
        assert not page.find("login").is_displayed()
        page.choose(page_sounds / "noise.flac")
        page.wait_for("verdict", "%")
        page.browser_errors()


def test_busy_server_is_asked_again(page: Page, page_sounds: Path) -> None:
    """The first request is refused by the page's own network, since a server is as busy as its machine is."""
    page.driver.execute_script("""
      const send = window.fetch;
      const refusal = JSON.stringify({ code: "overloaded", detail: "busy", hint: "wait" });
      let refused = 0;
      window.fetch = async (address, request) => {
        if (request?.method !== "POST" || refused++) return send(address, request);
        return new Response(refusal, { status: 503, headers: { "Retry-After": "2" } });
      };
    """)
    page.choose(page_sounds / "noise.flac")
    page.wait_for("working", "The server is busy, again in 2 s")
    page.wait_for("verdict", "%")


def test_api_docs_page_has_its_style(page: Page) -> None:
    page.driver.get(page.driver.current_url + "docs")
    assert "POST /v1/classify" in page.driver.find_element(By.TAG_NAME, "main").text
    page.wait_until("getComputedStyle(document.body).marginTop === '0px'")


def test_page_fits_a_phone(page: Page, page_sounds: Path) -> None:
    page.driver.set_window_size(360, 800)
    try:
        page.choose(*(page_sounds / name for name in ("one & <b>two.wav", "noise.flac")))
        page.wait_for("verdict", "%")
        page.wait_until("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    finally:
        page.driver.set_window_size(1200, 1000)


def test_the_example_is_answered_with_one_click(page: Page) -> None:
    page.find("example").click()
    assert page.wait_for("verdict", "%").startswith("electronic")
    assert "CC BY 3.0" in page.wait_for("credit", "Nikola Whallon")
    assert not page.find("guide").is_displayed()
    # Its tags, and the middle of its cover: the sun.
    assert page.find("title").text == "Ambient (excerpt)"
    assert page.find("artist").text == "Nikola Whallon · Naev"
    assert page.find("facts").text == "0:24 · genres-1 · example.mp3"
    page.wait_until("document.getElementById('cover').checkVisibility()")
    middle = "[...document.getElementById('cover').getContext('2d').getImageData(96, 96, 1, 1).data]"
    assert page.driver.execute_script(f"return {middle}") == [0xDD, 0xCC, 0x77, 255]


def test_tags_of_strangers_are_text_and_pictures_only(page: Page, demo_music: Path, tmp_path: Path) -> None:
    """A damaged picture, which passes for one by its beginning, leaves the place of the cover empty."""
    path = tmp_path / "song.mp3"
    path.write_bytes((demo_music / "Muldjord - Chaos God.mp3").read_bytes())
    tags = id3.ID3(path)
    tags.add(id3.TIT2(encoding=3, text="<img src=x onerror=alert(1)>"))
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\1\0"
    tags.add(id3.APIC(encoding=3, mime="image/svg+xml", type=3, desc="", data=header + b"<svg/>" * 9))
    tags.save(path)
    page.choose(path)
    page.wait_for("verdict", "metal")
    assert page.find("title").text == "<img src=x onerror=alert(1)>"
    assert not page.find("detail").find_elements(By.TAG_NAME, "img")
    page.wait_for_answers()
    assert not page.find("cover").is_displayed()


def test_words_are_explained_in_place(page: Page, demo_music: Path) -> None:
    assert "80 %" in page.find("guide").text
    page.choose(demo_music / "Waves on a beach, generated.ogg")
    page.wait_for("reason", "speech, noise, tones or effects")
    page.find("meaning").find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    texts = {
        item.find_element(By.TAG_NAME, "dt").text: item.find_element(By.TAG_NAME, "dd").text
        for item in page.find("meaning").find_elements(By.CSS_SELECTOR, "dl > div")
    }
    assert list(texts) == ["%", "unsure", "not music"]
    assert "16 genres" in texts["%"]
    assert "No genre reaches 80 %" in texts["unsure"]


def test_the_words_are_those_of_the_model(page: Page) -> None:
    texts = page.words(
        "return words.terms({ task: 'multi-label', classes: ['a'], segment_seconds: 4, threshold: null })"
        ".map((one) => one[1])"
    )
    assert "each has one of its own" in texts[0]
    assert "the score from which on it counts" in texts[1]
    row = "{ flags: [], not_music: false, unsure: true }"
    assert "no genre" in page.words(f"return words.reason({row}, {{ task: 'multi-label' }})").lower()
    assert "64 %" in page.words(f"return words.reason({row}, {{ threshold: 0.64 }})")
    flags = page.words("return words.flagTexts({ flags: ['truncated', 'new flag'] })")
    assert "what is there was used" in flags[0]
    assert flags[1] == "new flag"


def test_the_course_has_a_step_for_each_segment(page: Page) -> None:
    page.find("example").click()
    page.wait_for("verdict", "%")
    outlines = page.driver.execute_script(
        "return [...document.querySelectorAll('#course path')].map((path) => path.getAttribute('d'))"
    )
    for outline in outlines:
        points = [point.split(",") for point in outline.strip("MZ ").split(" L")]
        # Three segments, the last from 14 s on: along the top, and back along the bottom.
        assert [float(place) for place, _ in points[:6]] == [0, 416.7, 416.7, 583.3, 583.3, 1000]
        levels = [level for _, level in points]
        assert levels[0::2] == levels[1::2]
    assert len(set(outlines)) == 10


# Twenty seconds of a clear genre, and forty of another one that is hardly ahead.
CONTRADICTION = """{
  genre: "reggae", score: 0.58, not_music: false, seconds: 60,
  timeline: [
    { start: 0, end: 20, scores: { reggae: 0.9, disco: 0.1 } },
    { start: 20, end: 40, scores: { reggae: 0.42, disco: 0.5 } },
    { start: 40, end: 60, scores: { reggae: 0.42, disco: 0.5 } },
  ],
}"""


def test_the_text_explains_an_answer_that_leads_for_less_time(page: Page) -> None:
    assert page.words(f"return words.courseLines({CONTRADICTION})") == [
        "0:00 to 0:20: reggae 90 %",
        "0:20 to 1:00: disco 50 %, reggae 42 %",
    ]
    note = page.words(f"return words.courseNote({CONTRADICTION})")
    assert note.startswith("disco leads for longer, 0:40 of 1:00, but reggae is so strong where it leads")
    # Where one genre leads the whole track, its number is that of the headline.
    alone = CONTRADICTION.replace("0.5 }", "0.4 }").replace("score: 0.58", "scores: { reggae: 0.61 }")
    assert page.words(f"return words.courseLines({alone})") == ["0:00 to 1:00: reggae 61 %"]
    never = CONTRADICTION.replace("0.9, disco: 0.1", "0.49, disco: 0.5")
    assert "comes so close throughout" in page.words(f"return words.courseNote({never})")
    for row in (CONTRADICTION.replace("0.5 }", "0.4 }"), CONTRADICTION.replace('"reggae"', '"disco"')):
        assert page.words(f"return words.courseNote({row})") == ""


def test_long_courses_are_cut(page: Page) -> None:
    row = """{ genre: "a", seconds: 500, timeline: Array.from({ length: 50 }, (_, i) => (
      { start: 10 * i, end: 10 * i + 10, scores: { a: i % 2, b: 1 - (i % 2) } })) }"""
    lines = page.words(f"return words.courseLines({row})")
    assert (len(lines), lines[-1]) == (41, "and 10 more")


def test_numbers_are_shown_once(page: Page) -> None:
    """Beside the headline, the score of a genre over the track is in its bar alone."""
    page.find("example").click()
    verdict = page.wait_for("verdict", "%").split()
    page.wait_for_answers()
    bars = page.find("answers").text
    assert f"electronic\n{' '.join(verdict[-2:])}" in bars.replace("electronic ", "electronic\n")
    shown = page.find("detail").text.replace(page.find("now").text, "")
    for genre in ("pop", "hip hop", "classical"):
        assert shown.count(genre) == 1
    assert not page.driver.find_elements(By.CLASS_NAME, "legend")


def list_names(page: Page) -> list[str]:
    return [one.text for one in page.find("list").find_elements(By.CLASS_NAME, "name")]


def test_the_list_is_sorted(page: Page, demo_music: Path, page_sounds: Path) -> None:
    names = ("Muldjord - Chaos God.mp3", "Waves on a beach, generated.ogg", "0 A.D. - The Hellespont.mp3")
    page.choose(page_sounds / "words.mp3", *(demo_music / name for name in names))
    page.wait_for_answers()
    assert page.find("count").text == "4 files"
    added = ["words.mp3", "Chaos God (excerpt)", "Waves on a beach", "The Hellespont (excerpt)"]
    failed, metal, waves, folk = added
    assert list_names(page) == added
    order = Select(page.find("order"))
    for choice, expected in {
        "name": [metal, folk, waves, failed],
        "genre": [folk, metal, waves, failed],
        "high": [metal, folk, waves, failed],
        "low": [waves, folk, metal, failed],
        "added": added,
    }.items():
        order.select_by_value(choice)
        assert list_names(page) == expected, choice
    assert any("415" in line for line in page.browser_errors())


def test_the_focus_stays_while_the_list_is_sorted(page: Page, demo_music: Path) -> None:
    page.choose(demo_music / "Muldjord - Chaos God.mp3", demo_music / "0 A.D. - The Hellespont.mp3")
    page.wait_for_answers()
    Select(page.find("order")).select_by_value("genre")
    last = page.find("list").find_elements(By.TAG_NAME, "button")[1]
    last.send_keys(Keys.ENTER)
    assert page.find("title").text == "Chaos God (excerpt)"
    page.find("example").click()
    # The file is fetched before it is in the list.
    page.wait_until("document.getElementById('list').textContent.includes('Ambient')")
    page.wait_for_answers()
    focused = "document.activeElement.id"
    assert page.driver.execute_script(f"return {focused}") == "example"
    assert list_names(page) == ["Ambient (excerpt)", "The Hellespont (excerpt)", "Chaos God (excerpt)"]


def test_on_a_phone_the_chosen_file_comes_into_view(page: Page, demo_music: Path) -> None:
    page.window(390, 844)
    page.choose(*sorted(demo_music.iterdir())[:6])
    page.wait_for_answers()
    page.find("list").find_elements(By.TAG_NAME, "button")[1].click()
    page.wait_for("title", "Hellespont")
    page.wait_until("Math.abs(document.getElementById('detail').getBoundingClientRect().top) < 40")


def test_export_has_the_columns_and_rows_of_the_command_line(
    page: Page, demo_music: Path, page_sounds: Path, tmp_path: Path
) -> None:
    song = tmp_path / "=song, one.mp3"
    song.write_bytes((demo_music / "Muldjord - Chaos God.mp3").read_bytes())
    page.download_to(tmp_path / "down")
    page.choose(song, page_sounds / "words.mp3")
    page.wait_for_answers()
    page.find("save-csv").click()
    page.find("save-json").click()
    files = [tmp_path / "down" / name for name in ("genres.csv", "genres.json")]
    WebDriverWait(page.driver, 20).until(lambda _: all(file.exists() for file in files))

    command = [sys.executable, "-m", "genrescope", "classify", song.name, "--timeline", "--format"]
    printed = {
        kind: subprocess.run(
            [*command, kind], capture_output=True, text=True, cwd=tmp_path, check=True, encoding="utf8"
        ).stdout
        for kind in ("csv", "jsonl")
    }
    mine = list(csv.DictReader(files[0].read_text(encoding="utf8").splitlines()))
    theirs = next(csv.DictReader(printed["csv"].splitlines()))
    assert list(mine[0])[: len(theirs)] == list(theirs)
    assert list(mine[0])[len(theirs) :] == ["artist", "album"]
    assert mine[0]["path"] == "'=song, one.mp3"
    numbers = {name for name, cell in theirs.items() if re.fullmatch(r"[\d.e-]+", cell)}
    for name in theirs:
        if name in numbers:
            assert float(mine[0][name]) == float(theirs[name]), name
        elif name != "title":
            assert mine[0][name] == theirs[name], name
    assert (mine[0]["title"], mine[0]["artist"]) == ("Chaos God (excerpt)", "Muldjord")
    assert (mine[1]["path"], mine[1]["error"]) == ("words.mp3", "audio_unreadable")

    rows = json.loads(files[1].read_text(encoding="utf8"))
    tags = rows[0].pop("tags")
    assert tags == {"title": "Chaos God (excerpt)", "artist": "Muldjord", "album": ""}
    assert rows[0] == json.loads(printed["jsonl"])
    assert rows[1]["error"]["code"] == "audio_unreadable"
    assert any("415" in line for line in page.browser_errors())


def test_cells_are_no_formulas(page: Page) -> None:
    names = ["\uff1d1+1", " @sum", "a\nb", 'say "so"', "plain"]
    entries = json.dumps(
        [{"name": name, "problem": {"code": "-", "message": "", "hint": ""}} for name in names]
    )
    text = page.module("export.js", f"return module.toCsv({entries}, [])")
    cells = [row[0] for row in csv.reader(text.splitlines())][1:]
    assert cells == ["'\uff1d1+1", "' @sum", "a\\nb", 'say "so"', "plain"]
    assert next(csv.reader(text.splitlines()[1:]))[8] == "'-"
