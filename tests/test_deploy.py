"""What is deployed has the keys that it needs, and its commands are commands of this version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from genrescope import __version__
from genrescope.cli.main import app

yaml = pytest.importorskip("yaml")
DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


def load(name: str) -> dict[str, Any]:
    """Return a YAML file of one document."""
    (document,) = yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf8"))
    assert isinstance(document, dict)
    return document


def check_command(words: list[str]) -> None:
    """Check that a command line can be parsed."""
    command: Any = get_command(app)
    assert words[0] == "genrescope"
    context = command.make_context("genrescope", words[1:])
    while hasattr(command, "resolve_command"):
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)


def test_the_compose_file() -> None:
    compose = load("compose.yaml")
    assert sorted(compose["services"]) == ["first-worker", "head", "second-worker"]
    for name, service in compose["services"].items():
        assert service["image"].startswith("genrescope-ray:")
        assert "ports" not in service
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["read_only"]
        assert "--block" in service["entrypoint"]
        assert ("--head" in service["entrypoint"]) == (name == "head")
        store = next(word for word in service["entrypoint"] if "object-store-memory" in word)
        assert int(store.partition("=")[2]) < 512 * 2**20
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf8")
    command = re.search(r"exec head (genrescope .*)", text)
    assert command
    check_command(command[1].split())


def test_the_job_for_kuberay() -> None:
    job = load("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    check_command(job["spec"]["entrypoint"].split())
    cluster = job["spec"]["rayClusterSpec"]
    constraints = (DEPLOY.parent / "constraints.txt").read_text(encoding="utf8")
    assert f"ray=={cluster['rayVersion']}\n" in constraints
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = set()
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        images.add(container["image"])
        assert container["resources"]["limits"]["memory"]
        assert container["securityContext"]["runAsNonRoot"]
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
    assert len(images) == 1
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_images_have_the_version_of_the_package() -> None:
    for name in ("compose.yaml", "rayjob.yaml", "README.md"):
        versions = set(re.findall(r"genrescope-ray:([0-9.]+)", (DEPLOY / name).read_text(encoding="utf8")))
        assert {version.rstrip(".") for version in versions} == {__version__.partition(".dev")[0]}
