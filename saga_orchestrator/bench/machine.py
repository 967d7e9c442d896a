"""What processes use of the machine: CPU seconds, memory. Read from ``/proc``."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
from pathlib import Path

PROC = Path("/proc")
KIB = 1024
MIB = KIB * KIB
# The fields of `stat` behind the name in brackets, which may hold anything.
_PARENT, _FIRST_TIME, _TIMES = 1, 11, 4


def peak_memory() -> int:
    """Return the most memory that this process has had in use, in bytes."""
    # What getrusage says of a child also counts its parent, up to the exec.
    peak = _status_value(os.getpid(), "VmHWM")
    if peak is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class ProcessTree:
    """A process that others started, with its children; a server, for example.

    Args:
        pid: of the first process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def exists(self) -> bool:
        """Whether there is such a process, on a machine that tells."""
        return _stat(self._pid) is not None

    def cpu_seconds(self) -> float:
        """Return the CPU that it has used, with children that have ended."""
        ticks = 0
        for pid in self._pids():
            stat = _stat(pid)
            if stat is not None:
                ticks += sum(map(int, stat[_FIRST_TIME : _FIRST_TIME + _TIMES]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the bytes in use now; what its processes share counts once."""
        return sum(_proportional_memory(pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        """Return the process and all below it."""
        children: dict[int, list[int]] = {}
        for entry in PROC.glob("[0-9]*"):
            stat = _stat(int(entry.name))
            if stat is not None:
                children.setdefault(int(stat[_PARENT]), []).append(int(entry.name))
        found = [self._pid]
        for pid in found:
            found += children.get(pid, [])
        return found


def _stat(pid: int) -> list[str] | None:
    """Return the fields of a process behind its name; None: it is not there."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _proportional_memory(pid: int) -> int:
    """Return a process's memory, its part of what is shared; 0 where hidden."""
    with contextlib.suppress(OSError):
        text = (PROC / str(pid) / "smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
        if found is not None:
            return int(found[1]) * KIB
    return 0


def _status_value(pid: int, name: str) -> int | None:
    """Return a size from a process's status in bytes; None: it is not told."""
    with contextlib.suppress(OSError):
        text = (PROC / str(pid) / "status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        if found is not None:
            return int(found[1]) * KIB
    return None
