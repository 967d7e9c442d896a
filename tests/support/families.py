"""Whether a process that is not ours still runs, and which children it has."""

from __future__ import annotations

import os
import subprocess


def children_of(pid: int, module: str) -> list[int]:
    """Return the children of a process that run a module."""
    listed = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", module],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line) for line in listed.stdout.split()]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
