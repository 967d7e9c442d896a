"""API keys: who may call the HTTP API, and what for. Every store keeps some.

A store never sees a key, only its SHA-256: a key is 256 random bits, so nothing
slower is needed, and a copy of the database lets nobody in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What a key is good for; each role may do what those before it may."""

    READ = "read"
    """Look at definitions, sagas, readiness and metrics; answer with a token."""
    START = "start"
    """Start sagas."""
    OPERATE = "operate"
    """Ask of sagas what a person asks."""
    ADMIN = "admin"
    """Look at the keys and revoke them."""

    @property
    def rank(self) -> int:
        """A role may do whatever one of a lower or the same rank may."""
        return _RANKS[self]


_RANKS: Mapping[Role, int] = {role: number for number, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, but for the key itself.

    Attributes:
        name: who uses it; unique for ever, as histories name it.
        digest: SHA-256 of the key, 64 hex digits.
        role: what it is good for.
        created_at: when it was made, by the store's clock.
        revoked_at: since when it is good for nothing; None: it is good.
    """

    name: str
    digest: str
    role: Role
    created_at: dt.datetime
    revoked_at: dt.datetime | None = None


class ApiKeys(Protocol):
    """The keys of one store. All errors are ``StoreError`` and its subclasses."""

    async def add(self, name: str, digest: str, role: Role) -> ApiKey:
        """Keep a new key.

        Raises:
            KeyNameTakenError: there is one of this name, good or revoked.
        """
        ...

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of this digest, also a revoked one."""
        ...

    async def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, by name."""
        ...

    async def revoke(self, name: str) -> ApiKey:
        """Make a key good for nothing, from now on; it stays in the list.

        Repeat: a revoked key keeps the instant of the first time.

        Raises:
            ApiKeyNotFoundError: there is none of this name.
        """
        ...
