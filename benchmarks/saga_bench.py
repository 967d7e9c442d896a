"""Running `saga bench` as a user would, and reading what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

LIMIT_SECONDS = 3600

PROCESSES = min(os.cpu_count() or 1, 2)
"""Of each kind: what `saga serve --processes` is for. The servers need cores too."""

ORCHESTRATORS = ("--orchestrators", str(PROCESSES))
WORKERS = ("--workers", str(PROCESSES))


def saga_bench(*options: str) -> dict[str, Any]:
    """Run it with these options; return its JSON.

    Raises:
        RuntimeError: it failed, or a saga was lost.
    """
    done = subprocess.run(
        [sys.executable, "-m", "saga_orchestrator", "bench", *options, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        command = " ".join(["saga bench", *options])
        raise RuntimeError(f"{command}: exit code {done.returncode}: {done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def note(text: str) -> None:
    """Write a line for people to stderr."""
    sys.stderr.write(f"{text}\n")
