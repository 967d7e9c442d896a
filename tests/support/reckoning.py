"""Whether sagas whose servers were broken ended with one story and one effect each."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.books import chain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from saga_orchestrator import Manager, Saga
    from tests.support.books import Books


async def start_many(manager: Manager, keys: Iterable[str]) -> list[Saga]:
    """Start a saga ``chain("abc")`` for each key, all at once."""
    starts = [manager.start(chain(), key=key) for key in keys]
    return list(await asyncio.gather(*starts))


async def all_complete_once(
    manager: Manager, books: Books, sagas: Iterable[Saga], *, seconds: float = 90
) -> None:
    """Wait for the ends; check that all is told once, and was done once."""
    ids = [saga.id for saga in sagas]
    async with asyncio.timeout(seconds):
        for saga_id in ids:
            assert (await manager.wait(saga_id)).is_completed
    for saga_id in ids:
        history = (await manager.record(saga_id)).history
        told = Counter((entry.kind, entry.step) for entry in history)
        assert set(told.values()) == {1}
        assert [entry.seq for entry in history] == list(range(1, len(history) + 1))
    assert books.effects() == {
        (saga_id, step, "action"): 1 for saga_id in ids for step in "abc"
    }
