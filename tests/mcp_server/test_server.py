"""The tools for agents, called by the client of the official SDK: in this process, and over a real pipe."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

pytest.importorskip("mcp", reason="mcp is not installed")
pytest.importorskip("mutagen", reason="mutagen is not installed")

from mcp import Client, StdioServerParameters

from genrescope import Classifier
from genrescope.errors import ConfigError, ModelError
from genrescope.library import Library, ScanOptions
from genrescope.mcp_server import McpOptions, Roots, create_server
from genrescope.tagging import read_genres
from helpers.small_data import RATE, drone, hiss

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder of three tracks, a file that is no audio, and links that lead out of it."""
    root = tmp_path / "music"
    (root / "album").mkdir(parents=True)
    for number in range(2):
        soundfile.write(root / "album" / f"drone {number}.flac", drone(3.0, number), RATE)
    soundfile.write(root / "hiss.flac", hiss(3.0, 3), RATE)
    (root / "text.mp3").write_bytes(b"no music")
    outside = tmp_path / "outside.flac"
    soundfile.write(outside, drone(3.0, 9), RATE)
    (root / "link.flac").symlink_to(outside)
    (root / "elsewhere").symlink_to(tmp_path)
    return root


@pytest.fixture
def database(music: Path, little_model: Path, tmp_path: Path) -> Path:
    """Return the library of what is in the folder itself."""
    path = tmp_path / "library.db"
    with Library(path) as library:
        options = ScanOptions(model=str(little_model), workers=1)
        for _ in library.scan([music / "album", music / "hiss.flac", music / "text.mp3"], options):
            pass
    return path


def options_of(music: Path, model: Path, database: Path, **others: Any) -> McpOptions:
    return McpOptions((music,), model=str(model), database=database, **others)


def run(options: McpOptions, use: Callable[[Call, Any], Awaitable[None]]) -> None:
    """Connect a client to a server in this process."""

    async def main() -> None:
        async with Client(create_server(options)) as client:
            await use(caller(client), client)

    asyncio.run(main())


def caller(client: Any) -> Call:
    async def call(name: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(name, arguments)
        text = "".join(getattr(one, "text", "") for one in result.content)
        if result.is_error:
            return {"refused": text}
        assert json.loads(text) == result.structured_content
        return dict(result.structured_content)

    return call


def test_files_are_classified_as_by_the_classifier(music: Path, little_model: Path, tmp_path: Path) -> None:
    async def use(call: Call, client: Any) -> None:
        names = ["hiss.flac", str(music / "album" / "drone 0.flac"), "text.mp3", "absent.mp3"]
        rows = (await call("classify", paths=names, timeline=True))["results"]
        plain = Classifier.from_pretrained(little_model)
        for name, row in zip(names[:2], rows, strict=False):
            expected = plain.predict(music / name, timeline=True).to_dict()
            assert row | {"path": ""} == json.loads(json.dumps(expected)) | {"path": ""}
            assert row["path"] == name
        assert [row["error"]["code"] for row in rows[2:]] == ["audio_unreadable", "audio_missing"]

    run(options_of(music, little_model, tmp_path / "none.db"), use)


def test_no_path_leads_out_of_the_folders(
    music: Path, little_model: Path, database: Path, tmp_path: Path
) -> None:
    outside = [
        str(tmp_path / "outside.flac"),
        "../outside.flac",
        "album/../../outside.flac",
        "link.flac",
        "elsewhere/outside.flac",
        "/etc/passwd",
        str(music) + "er/x.flac",
        "",
        "a\0b",
    ]

    async def use(call: Call, client: Any) -> None:
        for row in (await call("classify", paths=outside))["results"]:
            assert row["error"]["code"] == "invalid_argument", row
        for name in ("list_files", "search_library", "preview_tags", "undo_tags"):
            assert "outside" in (await call(name, folder="..")).get("refused", ""), name
        listed = (await call("list_files"))["files"]
        assert listed == sorted(
            str(path)
            for path in music.rglob("*")
            if path.name in {"drone 0.flac", "drone 1.flac", "hiss.flac", "text.mp3"}
            and not path.is_symlink()
        )

    run(options_of(music, little_model, database), use)


def test_the_library_is_searched_a_page_at_a_time(
    music: Path, little_model: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrescope.mcp_server.server.MAX_ROWS", 2)

    async def use(call: Call, client: Any) -> None:
        first = await call("search_library")
        assert (len(first["tracks"]), first["total"], first["left"]) == (2, 4, 2)
        rest = await call("search_library", offset=2)
        assert (len(rest["tracks"]), rest["left"]) == (2, 0)
        assert rest["tracks"][-1]["error"]["code"] == "audio_unreadable"
        drones = await call("search_library", genre="drone", min_score=0.5, folder="album")
        assert {track["genre"] for track in drones["tracks"]} == {"drone"}
        assert "polka" in (await call("search_library", genre="polka"))["refused"]
        summary = await call("library_summary")
        assert (summary["tracks"], summary["failed"]) == (4, 1)
        assert "2 at a time" in (await call("classify", paths=["a"] * 3))["refused"]

    run(options_of(music, little_model, database), use)


def test_tags_are_written_as_previewed_and_restored(music: Path, little_model: Path, database: Path) -> None:
    files = sorted((music / "album").glob("*.flac"))
    before = [file.read_bytes() for file in files]

    async def use(call: Call, client: Any) -> None:
        preview = await call("preview_tags", folder="album")
        assert [change["path"] for change in preview["changes"]] == [str(file) for file in files]
        assert [file.read_bytes() for file in files] == before
        other = await call("apply_tags", preview=preview["preview"])
        assert "not what would be written" in other["refused"]
        assert [file.read_bytes() for file in files] == before
        written = await call("apply_tags", preview=preview["preview"], folder="album")
        assert written == {"written": 2, "failed": []}
        assert [list(read_genres(file)) for file in files] == [one["after"] for one in preview["changes"]]
        assert read_genres(music / "hiss.flac") == ()
        assert await call("undo_tags", folder="album") == {"restored": 2, "failed": []}
        assert [file.read_bytes() for file in files] == before

    run(options_of(music, little_model, database), use)


def test_a_track_that_became_a_link_to_elsewhere_is_not_written(
    music: Path, little_model: Path, database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "kept.flac"
    shutil.move(music / "hiss.flac", target)
    (music / "hiss.flac").symlink_to(target)
    before = target.read_bytes()

    async def use(call: Call, client: Any) -> None:
        assert "outside" in (await call("preview_tags"))["refused"]
        assert "outside" in (await call("apply_tags", preview="0"))["refused"]

    run(options_of(music, little_model, database), use)
    assert target.read_bytes() == before


def test_a_read_only_server_has_no_tools_that_write(music: Path, little_model: Path, tmp_path: Path) -> None:
    async def use(call: Call, client: Any) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"classify", "list_files", "search_library", "library_summary"}
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())
        assert "library scan" in (await call("library_summary"))["refused"]

    run(options_of(music, little_model, tmp_path / "none.db", read_only=True), use)
    assert not (tmp_path / "none.db").exists()


def test_mistakes_at_the_start_are_told(music: Path, little_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        Roots([music / "hiss.flac"])
    with pytest.raises(ConfigError, match="no folder"):
        Roots([])
    with pytest.raises(ModelError):
        create_server(McpOptions((music,), model="no such model"))


def test_a_client_over_standard_input_and_output(music: Path, little_model: Path, database: Path) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "genrescope", "mcp", str(music), "--model", str(little_model), "--db", str(database)],
        env=dict(os.environ),
    )

    async def main() -> None:
        async with Client(command) as client:
            call = caller(client)
            assert len((await client.list_tools()).tools) == 7
            rows = (await call("classify", paths=["hiss.flac", "text.mp3"]))["results"]
            assert rows[0]["genre"] == "hiss"
            assert rows[1]["error"]["code"] == "audio_unreadable"
            assert (await call("search_library", genre="hiss"))["total"] == 1

    asyncio.run(main())
