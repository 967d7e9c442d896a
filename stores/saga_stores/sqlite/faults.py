"""The driver's errors as ours: none of ``sqlite3`` leaves the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saga_orchestrator.errors import (
    ConcurrencyError,
    StoreDataError,
    StoreError,
    StoreUnavailableError,
)

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNAVAILABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_VALUE = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}


@contextmanager
def driver_errors(path: Path) -> Iterator[None]:
    """Turn whatever the driver raises into a ``StoreError`` with the cause.

    Args:
        path: the database file, for the message.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except (OverflowError, UnicodeError) as error:
        # Raised by the driver while it binds a value.
        raise StoreDataError(f"{path} refused a value: {error}") from error


def _translated(error: sqlite3.Error, path: Path) -> StoreError:
    # Extended codes hold the primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _BUSY:
        return ConcurrencyError(f"{path} is locked by another process: {error}")
    if code in _UNAVAILABLE:
        return StoreUnavailableError(f"{path} cannot be used: {error}")
    if code in _DAMAGED:
        return StoreDataError(f"{path} is damaged, or no SQLite file: {error}")
    if code in _VALUE or isinstance(error, sqlite3.DataError | sqlite3.InterfaceError):
        return StoreDataError(f"{path} refused a value: {error}")
    return StoreError(f"{path}: {error}")
