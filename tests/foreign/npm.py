"""Packages from npm, in a folder of the test run."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import missing_server

if TYPE_CHECKING:
    from pathlib import Path

_NO_NETWORK = {"EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT"}


def npm_ci(source: Path, folder: Path) -> None:
    """Copy a project into a folder and install exactly what its lock file says.

    Skips the test where the registry cannot be reached.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        missing_server("node with npm")
    shutil.copytree(
        source,
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("node_modules"),
    )
    done = subprocess.run(
        [
            *(str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"),
            *("--fetch-retries=1", "--fetch-timeout=30000"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    if done.returncode != 0:
        code = re.search(r"npm error code (\w+)", done.stderr)
        if code is not None and code[1] in _NO_NETWORK:
            pytest.skip(f"the npm registry cannot be reached: {code[1]}")
        pytest.fail(f"npm ci in {source.name}: {done.stderr[-2000:]}", pytrace=False)
