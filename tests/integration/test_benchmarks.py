"""What `make bench-growth` relies on: a database full of ended sagas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.stored import fill
from saga_orchestrator.ports.store import Store

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow


async def test_stored_sagas_are_whole(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Each can be read, with its history, and none of them is awaited any more."""
    fill(postgres_server, postgres_url, 0, 20)
    fill(postgres_server, postgres_url, 20, 50)
    store = await Store.open(postgres_url, migrate=False)
    try:
        for number in (0, 20, 49):
            record = await store.record(f"{number:026}")
            assert record is not None
            assert record.saga.is_completed
            assert len(record.history) == 4
            assert not record.damage
        assert await store.list_active() == []
        assert await store.record(f"{50:026}") is None
    finally:
        await store.close()
