"""The `saga` command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ServerProcess, wait_until

ROOT = Path(__file__).parents[2]
SAGA = [sys.executable, "-m", "saga_orchestrator"]


def environment(**variables: str) -> dict[str, str]:
    """Return ours without the settings of whoever runs the tests."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SAGA_")}
    return {**clean, "PYTHONPATH": str(ROOT), **variables}


def saga(
    *arguments: str, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a folder, with these variables set."""
    return subprocess.run(
        [*SAGA, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def daemon(*arguments: str, folder: Path, log: str, **variables: str) -> ServerProcess:
    """Run a command that stays; return when it says that it is ready."""
    process = ServerProcess(
        [*SAGA, *arguments], folder / log, cwd=folder, env=environment(**variables)
    )
    if not wait_until(lambda: "ready" in process.output(), process):
        process.kill()
        raise RuntimeError(process.output())
    return process
