"""The stores that must keep the contract, and a clock that the tests move."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from saga_orchestrator.ports.store import Store
from saga_orchestrator.testing.clock import ManualClock

OpenStore = Callable[[], Awaitable[Store]]

_names = itertools.count(1)


@pytest.fixture
def clock() -> ManualClock:
    """The time of every handle in the test."""
    return ManualClock()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgres),
    ]
)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, of each kind in turn."""
    if request.param == "memory":
        return f"memory://conformance-{next(_names)}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/saga.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def open_store(store_url: str, clock: ManualClock) -> AsyncIterator[OpenStore]:
    """Open one more handle on the test's store, as another process would."""
    handles: list[Store] = []

    async def open_one() -> Store:
        store = await Store.open(store_url, clock=clock, migrate=True)
        handles.append(store)
        return store

    yield open_one
    for store in handles:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """A handle on an empty store."""
    return await open_store()
