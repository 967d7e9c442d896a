"""API keys in the SQLite file."""

from __future__ import annotations

import datetime as dt
import sqlite3

from saga_orchestrator.errors import ApiKeyNotFoundError, KeyNameTakenError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.keys import ApiKey, Role
from saga_stores._rows import Row
from saga_stores.sqlite.connection import (
    QUERIES,
    from_micros,
    to_micros,
    writing,
)
from saga_stores.sqlite.worker import Worker


class SqliteApiKeys:
    """The keys of one file."""

    def __init__(self, reader: Worker, writer: Worker, clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock

    async def add(self, name: str, digest: str, role: Role) -> ApiKey:
        """Keep a new key."""
        return await self._writer.run(_add, name, digest, role, self._clock.now())

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of this digest, also a revoked one."""
        return await self._reader.run(_find, digest)

    async def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, by name."""
        return await self._reader.run(_all)

    async def revoke(self, name: str) -> ApiKey:
        """Make a key good for nothing."""
        return await self._writer.run(_revoke, name, self._clock.now())


def _add(
    connection: sqlite3.Connection,
    name: str,
    digest: str,
    role: Role,
    now: dt.datetime,
) -> ApiKey:
    row = (name, digest, role.value, to_micros(now))
    with writing(connection):
        if connection.execute(QUERIES["insert_api_key"], row).rowcount == 0:
            raise KeyNameTakenError(name)
    return _key((*row, None))


def _find(connection: sqlite3.Connection, digest: str) -> ApiKey | None:
    row = connection.execute(QUERIES["find_api_key"], (digest,)).fetchone()
    return None if row is None else _key(row)


def _all(connection: sqlite3.Connection) -> list[ApiKey]:
    return [_key(row) for row in connection.execute(QUERIES["load_api_keys"])]


def _revoke(connection: sqlite3.Connection, name: str, now: dt.datetime) -> ApiKey:
    with writing(connection):
        arguments = (to_micros(now), name)
        rows = connection.execute(QUERIES["revoke_api_key"], arguments).fetchall()
    if not rows:
        raise ApiKeyNotFoundError(name)
    return _key(rows[0])


def _key(row: Row) -> ApiKey:
    name, digest, role, created_at, revoked_at = row
    return ApiKey(
        name,
        digest,
        Role(role),
        from_micros(created_at),
        None if revoked_at is None else from_micros(revoked_at),
    )
