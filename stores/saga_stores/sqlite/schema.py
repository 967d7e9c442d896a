"""Bringing a file's schema up to date, in one transaction."""

from __future__ import annotations

import datetime as dt
import secrets
import sqlite3
from collections.abc import Iterator

from saga_orchestrator.errors import SchemaVersionError
from saga_orchestrator.ports.records import Migration
from saga_stores._migrations import pending, read_migrations, require_current
from saga_stores.sqlite.connection import QUERIES, reading, to_micros, writing
from saga_stores.sqlite.location import Location

MIGRATIONS = read_migrations("saga_stores.sqlite")


def migrate(connection: sqlite3.Connection, now: dt.datetime) -> list[Migration]:
    """Apply what is missing, and make the secret; one process at a time.

    Raises:
        SchemaVersionError: the schema is newer, or another one.
    """
    with writing(connection):
        connection.execute(QUERIES["create_migrations"])
        missing = pending(MIGRATIONS, _applied(connection))
        for migration in missing:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            row = (migration.number, migration.name, migration.checksum)
            connection.execute(QUERIES["insert_migration"], (*row, to_micros(now)))
        connection.execute(QUERIES["insert_secret"], (secrets.token_bytes(32),))
    return missing


def missing_migrations(connection: sqlite3.Connection) -> list[Migration]:
    """Return what ``migrate`` would apply."""
    with reading(connection):
        return pending(MIGRATIONS, _applied(connection))


def check(connection: sqlite3.Connection, location: Location) -> None:
    """Refuse a schema that this code cannot work on.

    Raises:
        SchemaVersionError: missing, too old or too new; says the fix.
    """
    with reading(connection):
        require_current(MIGRATIONS, _applied(connection), location.url)


def refuse(location: Location) -> None:
    """Say of a file that does not exist what ``check`` says of an empty one."""
    require_current(MIGRATIONS, {}, location.url)


def load_secret(connection: sqlite3.Connection) -> bytes:
    """Return the secret that ``migrate`` made."""
    row = connection.execute(QUERIES["load_secret"]).fetchone()
    if row is None:
        raise SchemaVersionError("the store has no secret; run `saga migrate`")
    return bytes(row[0])


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    if connection.execute(QUERIES["has_schema"]).fetchone() is None:
        return {}
    return dict(connection.execute(QUERIES["load_migrations"]))


def _statements(sql: str) -> Iterator[str]:
    """Yield the statements of a script; ``executescript`` would commit first."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
