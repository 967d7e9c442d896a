"""The store contract: API keys."""

from __future__ import annotations

import pytest

from saga_orchestrator.errors import (
    ApiKeyNotFoundError,
    KeyNameTakenError,
    StoreDataError,
)
from saga_orchestrator.ports.keys import ApiKey, Role
from saga_orchestrator.ports.store import Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.conftest import OpenStore

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


async def test_a_key_is_kept_and_found_by_its_digest(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Another handle finds it, whole; nobody finds one that was not added."""
    added = await store.api_keys.add("shop", ONE, Role.START)
    assert added == ApiKey("shop", ONE, Role.START, clock.now())
    other = await open_store()
    assert await other.api_keys.find(ONE) == added
    assert await other.api_keys.find(TWO) is None


async def test_keys_are_listed_by_name(store: Store) -> None:
    """All of them, whatever their role and the order they came in."""
    assert await store.api_keys.all() == []
    for name, digest, role in (
        ("b", ONE, Role.READ),
        ("a", TWO, Role.ADMIN),
        ("B", THREE, Role.OPERATE),
    ):
        await store.api_keys.add(name, digest, role)
    keys = await store.api_keys.all()
    assert [(key.name, key.role) for key in keys] == [
        ("B", Role.OPERATE),
        ("a", Role.ADMIN),
        ("b", Role.READ),
    ]


async def test_a_revoked_key_stays_and_keeps_its_first_instant(
    store: Store, clock: ManualClock
) -> None:
    """It is found as revoked, and revoking it again changes nothing."""
    added = await store.api_keys.add("shop", ONE, Role.START)
    other = await store.api_keys.add("till", TWO, Role.READ)
    clock.advance(5)
    revoked = await store.api_keys.revoke("shop")
    assert revoked.revoked_at == clock.now()
    assert (revoked.created_at, revoked.role) == (added.created_at, added.role)
    clock.advance(5)
    assert await store.api_keys.revoke("shop") == revoked
    assert await store.api_keys.find(ONE) == revoked
    assert await store.api_keys.all() == [revoked, other]


async def test_a_name_is_taken_for_ever(store: Store) -> None:
    """A second key of a name is refused, also after the first was revoked."""
    first = await store.api_keys.add("shop", ONE, Role.START)
    for _ in range(2):
        with pytest.raises(KeyNameTakenError) as taken:
            await store.api_keys.add("shop", TWO, Role.ADMIN)
        assert taken.value.name == "shop"
        await store.api_keys.revoke("shop")
    assert await store.api_keys.find(TWO) is None
    found = await store.api_keys.find(ONE)
    assert found is not None
    assert found.role is first.role


async def test_no_such_key(store: Store) -> None:
    """Revoking what is not there names it."""
    with pytest.raises(ApiKeyNotFoundError) as missing:
        await store.api_keys.revoke("nobody")
    assert missing.value.name == "nobody"


async def test_a_digest_belongs_to_one_key(store: Store) -> None:
    """The same key under two names would have two roles."""
    await store.api_keys.add("shop", ONE, Role.READ)
    with pytest.raises(StoreDataError):
        await store.api_keys.add("till", ONE, Role.ADMIN)
    assert [key.name for key in await store.api_keys.all()] == ["shop"]
