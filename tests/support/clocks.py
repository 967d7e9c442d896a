"""A process whose clock is wrong, or jumps while it runs: libfaketime.

Only the wall clock: no clock that is set jumps a monotonic one.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import missing_server

_LIBRARY = "faketime/libfaketimeMT.so.1"


class WrongClock:
    """The clock of the processes that get its ``environment``.

    Attributes:
        environment: variables for a process.
    """

    def __init__(self, file: Path, offset: str = "+0") -> None:
        """Make the clock; ``offset`` as ``+1h`` or ``-90m``."""
        self._file = file
        self.set(offset)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # its name before 0.9.9
        }

    def set(self, offset: str) -> None:
        """Let the clock jump."""
        next_file = self._file.with_suffix(".next")
        next_file.write_text(f"{offset}\n")
        next_file.replace(self._file)


def _library() -> Path:
    for folder in [*Path("/usr/lib").glob("*-linux-gnu"), Path("/usr/lib64")]:
        if (folder / _LIBRARY).exists():
            return folder / _LIBRARY
    missing_server("faketime")
    raise AssertionError("unreachable")
