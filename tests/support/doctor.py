"""The command `saga doctor --resend`, as a person runs it after an accident."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


async def resend_all(*, store: str, broker: str) -> str:
    """Have every open command sent again; return what the doctor says."""
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-m", "saga_orchestrator", "doctor", "--resend"),
            *("--store", store, "--broker", broker),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
