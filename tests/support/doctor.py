"""The command `saga doctor --resend`, as a person runs it after an accident."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


async def resend_all(*, store: str, broker: str) -> str:
    """Have every open command sent again; return what the doctor says.

    It may find something to mend; that is for the test to read.
    """
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
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "✓ resend" in done.stdout
    return done.stdout
