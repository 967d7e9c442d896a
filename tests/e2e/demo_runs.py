"""`saga demo` as its tests run it, and what a run that passed has to show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = {
    *("sagas", "completed", "compensated", "failed", "resumed", "lost"),
    *("duplicate_effects", "violations"),
    *("sagas_per_second", "p50_ms", "p99_ms"),
}


def command(*options: str) -> list[str]:
    """Return the command line of a demo."""
    return [sys.executable, "-m", "saga_orchestrator", "demo", *options]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which a demo keeps its files in a folder."""
    return {**os.environ, "TMPDIR": str(folder)}


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a demo to its end."""
    return subprocess.run(
        command(*options),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def passed(done: subprocess.CompletedProcess[str], sagas: int) -> dict[str, Any]:
    """Return the report of a run that held every promise."""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout)
    assert report.keys() >= NUMBERS
    assert report["sagas"] == sagas == report["completed"] + report["compensated"]
    assert report["lost"] == report["duplicate_effects"] == report["violations"] == 0
    assert report["compensated"] > 0
    assert report["resumed"] > 0
    assert all(check["checked"] for check in report["checks"])
    return report
