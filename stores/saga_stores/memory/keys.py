"""API keys in memory."""

from __future__ import annotations

from dataclasses import replace

from saga_orchestrator.errors import (
    ApiKeyNotFoundError,
    KeyNameTakenError,
    StoreDataError,
)
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.keys import ApiKey, Role
from saga_stores.memory.tables import Tables


class MemoryApiKeys:
    """The keys of one memory store."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._keys = tables.api_keys
        self._clock = clock

    async def add(self, name: str, digest: str, role: Role) -> ApiKey:
        """Keep a new key."""
        if name in self._keys:
            raise KeyNameTakenError(name)
        if await self.find(digest) is not None:
            raise StoreDataError("the digest belongs to another key")
        key = ApiKey(name, digest, role, self._clock.now())
        self._keys[name] = key
        return key

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of this digest, also a revoked one."""
        found = (key for key in self._keys.values() if key.digest == digest)
        return next(found, None)

    async def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, by name."""
        return [self._keys[name] for name in sorted(self._keys)]

    async def revoke(self, name: str) -> ApiKey:
        """Make a key good for nothing."""
        key = self._keys.get(name)
        if key is None:
            raise ApiKeyNotFoundError(name)
        if key.revoked_at is None:
            key = self._keys[name] = replace(key, revoked_at=self._clock.now())
        return key
