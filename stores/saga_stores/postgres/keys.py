"""API keys in PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from saga_orchestrator.errors import ApiKeyNotFoundError, KeyNameTakenError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.keys import ApiKey, Role
from saga_stores.postgres.database import Database


class PostgresApiKeys:
    """The keys of one database."""

    def __init__(self, database: Database, clock: Clock | None) -> None:
        self._database = database
        self._clock = clock

    async def add(self, name: str, digest: str, role: Role) -> ApiKey:
        """Keep a new key."""
        rows = await self._database.fetch(
            "insert_api_key", name, digest, role.value, self._given_time()
        )
        if not rows:
            raise KeyNameTakenError(name)
        return _key(rows[0])

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of this digest, also a revoked one."""
        rows = await self._database.fetch("find_api_key", digest)
        return _key(rows[0]) if rows else None

    async def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, by name."""
        return [_key(row) for row in await self._database.fetch("api_keys")]

    async def revoke(self, name: str) -> ApiKey:
        """Make a key good for nothing."""
        rows = await self._database.fetch("revoke_api_key", name, self._given_time())
        if not rows:
            raise ApiKeyNotFoundError(name)
        return _key(rows[0])

    def _given_time(self) -> dt.datetime | None:
        return None if self._clock is None else self._clock.now()


def _key(row: Sequence[Any]) -> ApiKey:
    name, digest, role, created_at, revoked_at = row
    return ApiKey(name, digest, Role(role), created_at, revoked_at)
