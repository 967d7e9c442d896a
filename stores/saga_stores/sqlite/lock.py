"""The right to run the one engine on a file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from saga_orchestrator.errors import StoreLockedError, StoreUnavailableError


class EngineLock:
    """An advisory lock on ``FILE.lock``, held while the process lives.

    The kernel releases it however the process ends, so that a crash leaves
    nothing to clean up. The file stays and holds the owner's process id.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; again is fine.

        Raises:
            StoreLockedError: somebody else has it; names the process.
            StoreUnavailableError: the lock file cannot be made.
        """
        if self._file is not None:
            return
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailableError(f"no engine lock: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(file, 32).decode(errors="replace").strip()
            os.close(file)
            raise StoreLockedError(
                f"{self._path} is held by process {owner or 'unknown'}, which runs "
                "the one engine of this file; stop it, or use it: `saga start` and "
                "Manager.open(engine=False) reach it through its store"
            ) from error
        os.truncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back; idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
