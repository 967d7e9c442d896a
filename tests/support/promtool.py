"""Prometheus' checker of metrics and rules; Debian's package `prometheus` has it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.support.processes import missing_server

if TYPE_CHECKING:
    from pathlib import Path


def promtool(
    *arguments: str, given: bytes = b"", folder: Path | None = None
) -> tuple[int, str]:
    """Run it; return its exit code and all that it printed."""
    path = shutil.which("promtool")
    if path is None:
        missing_server("promtool")
    assert path is not None
    done = subprocess.run(
        [path, *arguments],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=folder,
    )
    return done.returncode, (done.stdout + done.stderr).decode()
