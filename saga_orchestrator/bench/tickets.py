"""Who may start the next saga: a number is taken once, by whichever process."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Tickets:
    """Numbers from 0 up to a limit, shared by processes through a file.

    Appending a byte is atomic, and leaves the file's position behind that byte: the
    position is the number. So no process waits for another, and none has a share
    that it could not start because the sagas end elsewhere.

    Args:
        path: of the file; the same in all processes, fresh for each load.
        limit: how many there are.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._limit = limit
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def take(self) -> int | None:
        """Return the next number; None: there are no more."""
        os.write(self._file, b".")
        number = os.lseek(self._file, 0, os.SEEK_CUR) - 1
        return number if number < self._limit else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)
