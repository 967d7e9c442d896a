"""The command `saga doctor`, as a person runs it after an accident."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


async def examine(*options: str) -> subprocess.CompletedProcess[str]:
    """Return what the doctor says, and its exit code."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "saga_orchestrator", "doctor", *options],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


async def resend_all(*, store: str, broker: str) -> str:
    """Have every open command sent again; return what the doctor says.

    It may find something to mend; that is for the test to read.
    """
    done = await examine("--resend", "--store", store, "--broker", broker)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "✓ resend" in done.stdout
    return done.stdout
