"""A running ``genrescope serve``."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def serving(*options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``genrescope serve`` with one worker on a free port; yield its address and process."""
    command = [sys.executable, "-m", "genrescope", "serve", "--port", "0", "--workers", "1", *options]
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    variables.pop("ORT_DISABLE_TELEMETRY", None)  # tests have set it; the server must do so itself
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        try:
            yield said.split(" at ")[1].split()[0], process
        finally:
            process.terminate()
            process.stderr.read()
