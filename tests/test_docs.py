"""The examples of the pages about the library, tagging and Python work as shown; linked files exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genrescope.tagging import writer as tags
from genrescope.tagging.vocabulary import Vocabulary
from genrescope.types import Prediction
from helpers import tagged_files
from helpers.server import serving

DOCS = Path(__file__).resolve().parents[1] / "docs"
DEMO = DOCS.parent / "examples" / "demo_music" / "music"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of two songs, of which one has a genre, with the working directory beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music").mkdir()
    shutil.copy(DEMO / "0 A.D. - The Hellespont.mp3", tmp_path / "music" / "a.mp3")
    shutil.copy(tmp_path / "music" / "a.mp3", tmp_path / "music" / "b.mp3")
    tags.write_genres(tmp_path / "music" / "b.mp3", ["By Hand"])
    return tmp_path / "music"


def test_the_vocabulary_of_the_page_is_one(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text(blocks("tagging.md", "toml")[0])
    styles = {"hip hop": 0.9, "heavy metal": 0.8, "rock and roll": 0.7, "middle eastern": 0.6}
    answer = Prediction("song.mp3", {"hiphop": 1.0}, 1.0, "m", styles=styles)
    assert Vocabulary.load(file).genres_for(answer, style_threshold=0.5) == [
        "Rap",
        "Heavy Metal",
        "Rock",
        "Oldies",
    ]


def test_the_first_steps_in_python(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(music / "a.mp3", "song.mp3")
    Path("words.toml").write_text('[words]\nfolk = "Acoustic"\n')
    exec(blocks("tagging.md", "python")[0], {})
    assert capsys.readouterr().out == "() -> ('Acoustic',)\n('Acoustic',)\nrestored\n"


def test_the_script_with_a_journal_and_undo(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in music.iterdir()}
    write, undo = blocks("picard-and-scripts.md", "python")
    exec(write, {})
    assert {path.name: tags.read_genres(path) for path in music.iterdir()} == {
        "a.mp3": ("Folk",),
        "b.mp3": ("By Hand",),
    }
    exec(undo, {})
    assert capsys.readouterr().out == f"{music / 'a.mp3'} restored\n"
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in music.iterdir()} == before


def test_every_tested_format_is_on_the_page() -> None:
    page = (DOCS / "tagging.md").read_text(encoding="utf8").casefold()
    for _, suffix, _ in tagged_files.FORMS.values():
        named = {".oga": "ogg", ".aif": "aiff"}.get(suffix, suffix.lstrip("."))
        assert named in page


def test_the_library_in_python(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("library.md", "python")[0], {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["classified", "classified"]
    assert lines[-1] == f"{music / 'a.mp3'} () ('Folk',)"


def test_every_example_of_python(
    little_music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the page, in one namespace."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEMO / "0 A.D. - The Hellespont.mp3", "song.mp3")
    shutil.copytree(little_music, "music")
    namespace: dict[str, object] = {}
    outputs = []
    for example in blocks("python.md", "python"):
        exec(example, namespace)
        outputs.append(capsys.readouterr().out)
    assert len(outputs) == 8
    assert outputs[0].startswith("folk 0.")
    assert outputs[1] == "False\n"
    assert outputs[2].splitlines() == ["song.mp3 folk", "absent.mp3 failed"]
    assert outputs[3].startswith("(384,) (3, 384) [1. 1.]")
    assert outputs[4].startswith("(8, 130, 40) (8, 42) ['path', 'start', 'mfcc_1_mean', 'mfcc_1_std'] 8")
    assert outputs[5].splitlines()[0].startswith("('drone', 'hiss')")
    assert outputs[5].splitlines()[2] == "True"
    assert outputs[6].startswith("['hiss'] ")
    assert outputs[7] == "# logistic-regression\n"


def run_scale_example(number: int, namespace: dict[str, object]) -> None:
    """Run an example of the page about clusters, with a song beside it."""
    shutil.copy(DEMO / "0 A.D. - The Hellespont.mp3", "song.mp3")
    exec(blocks("scale.md", "python")[number], namespace)


@pytest.mark.filterwarnings("ignore")
def test_the_actor_in_dask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("dask.dataframe", reason="dask is not installed")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        run_scale_example(0, namespace)
    finally:
        namespace["shared_actor"](namespace["ActorOptions"](excerpts=True)).close()
    first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert first[:2] == ["song.mp3", "folk"]
    assert (second[0], second[2]) == ("absent.mp3", "audio_missing")


@pytest.mark.filterwarnings("ignore")
def test_the_actor_in_spark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    pytest.importorskip("dask.dataframe", reason="dask is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    # Spark starts the python3 of the search path otherwise.
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        run_scale_example(0, namespace)
        run_scale_example(1, namespace)
    finally:
        namespace["shared_actor"](namespace["ActorOptions"](excerpts=True)).close()
    assert "audio_missing" in capsys.readouterr().out


def test_the_audit_in_python(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(music / "a.mp3", "a.mp3")
    shutil.copy(music / "a.mp3", "b.flac")  # known by its content
    audit, search = blocks("audit.md", "python")
    exec(audit, {})
    found = capsys.readouterr().out.splitlines()
    assert any("('a.mp3', 'b.mp3')" in line for line in found), found
    exec(search, {})
    assert capsys.readouterr().out.split()[:2] == ["0", "1"]


def test_the_service_with_python_and_curl(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(music / "a.mp3", "song.mp3")
    with serving() as (address, _):
        exec(blocks("api.md", "python")[0].replace("http://127.0.0.1:8000", address), {})
        assert capsys.readouterr().out.startswith("folk 0.")
        if shutil.which("curl"):
            for line in blocks("api.md", "sh")[0].splitlines():
                command = shlex.split(line.replace("http://127.0.0.1:8000", address))
                answer = subprocess.run([*command, "--silent"], capture_output=True, check=True, text=True)
                assert json.loads(answer.stdout)["genre"] == "folk"


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_pictures_and_files_that_a_page_links_to_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not (DOCS / target).exists()] == []


def test_the_program_with_asyncio(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(music / "a.mp3", "song.mp3")
    exec(blocks("agents.md", "python")[0], {})
    assert capsys.readouterr().out == "folk\nfolk\nfailed\n"


def test_the_settings_of_an_mcp_client_name_a_command() -> None:
    from genrescope.cli.main import app

    server = json.loads(blocks("agents.md", "json")[0])["mcpServers"]["genrescope"]
    assert server["command"] == "genrescope"
    assert server["args"][0] in {(one.name or one.callback.__name__) for one in app.registered_commands}
