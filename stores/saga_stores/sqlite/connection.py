"""Connections to the file, transactions, and how instants are stored."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache

from saga_orchestrator.errors import StoreUnavailableError
from saga_stores._rows import RowCodec
from saga_stores._sql import load_queries
from saga_stores.sqlite.location import Location

QUERIES = load_queries("saga_stores.sqlite")

BUSY_SECONDS = 5.0
"""How long a transaction waits for another process to release the file."""

_STATEMENTS_CACHED = 128
_WAL_ATTEMPTS = 20
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


@lru_cache(maxsize=64)  # most columns of a batch hold the same instant
def to_micros(instant: dt.datetime) -> int:
    """Return the microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> dt.datetime:
    """Return the instant, aware, UTC."""
    return _EPOCH + dt.timedelta(microseconds=micros)


CODEC = RowCodec(to_micros, from_micros)


def open_writer(location: Location) -> sqlite3.Connection:
    """Open the connection that writes; makes the file if there is none."""
    connection = _open(location)
    _use_wal(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA synchronous = {location.synchronous}")
    return connection


def open_reader(location: Location) -> sqlite3.Connection:
    """Open a connection that only reads."""
    connection = _open(location)
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the file's write lock, then commit; roll back on any error."""
    with _transaction(connection, "BEGIN IMMEDIATE"):
        yield


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """See one state of the file in all statements."""
    with _transaction(connection, "BEGIN"):
        yield


def as_list(values: Iterable[str]) -> tuple[str]:
    """Return the arguments of a query that takes one list."""
    return (json.dumps(list(values)),)


def _open(location: Location) -> sqlite3.Connection:
    if not location.path.parent.is_dir():  # the driver does not say which it lacks
        raise StoreUnavailableError(
            f"no {location.path}: the folder {location.path.parent} does not exist; "
            "make it, or correct the URL"
        )
    return sqlite3.connect(
        location.path,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions are ours
        cached_statements=_STATEMENTS_CACHED,
    )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and the writer not wait for each other; kept in the file.

    Where several make the file at once, SQLite refuses the switch without
    waiting. So wait for one's turn to write, then try again.
    """
    for _ in range(_WAL_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            with writing(connection):
                pass
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after a full disk and the like.
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # the first error is the one to tell
                connection.execute("ROLLBACK")
        raise
