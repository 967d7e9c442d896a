"""Thousands of timers that fell due together: rows F72 and F74 of the faults."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, SagaDefinition, Step, Store
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.store import SagaFilter
from saga_orchestrator.runtime.pipeline import EVENTS_MAX
from saga_orchestrator.runtime.timers import SAGAS_MAX
from tests.support.waiting import eventually
from tests.unit.runtime.stage import Service, WatchedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow

HERD = 3000
SECONDS = 120
SOON = dt.timedelta(seconds=1)


def _order(**options: object) -> SagaDefinition:
    """Return a saga whose only step nobody serves, until its limit."""
    step = Step(
        "a",
        action="nobody.a",
        undo_failed="never",
        timeout=SOON,
        limit=SOON,
        **options,  # type: ignore[arg-type]  # a step's
    )
    return SagaDefinition("herd", [step])


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[WatchedStore]:
    """The store of the engine that comes after the outage; it counts."""
    watched = WatchedStore(await Store.open(postgres_url))
    yield watched
    await watched.close()


@pytest.mark.timeout(300)
async def test_what_fell_due_while_everything_was_down(
    postgres_url: str, rabbit_url: str, client: Manager, store: WatchedStore
) -> None:
    """Each fires once, in bounded batches; who starts then does not wait for all."""
    for _ in range(HERD // 500):
        starts = [client.start(_order()) for _ in range(500)]
        last = await asyncio.gather(*starts)
    due_at = last[-1].created_at + SOON
    await eventually(lambda: _has_passed(client, due_at))
    pages: list[int] = []

    async def note(limit: int, **_: object) -> None:
        pages.append(limit)

    store.gates["due"] = note
    near = Service("near")
    async with Manager.open(
        store=store, broker=rabbit_url, handlers=[near.handlers]
    ) as manager:
        fresh = await manager.start("fresh", near.chain())
        assert (await manager.wait(fresh.id, SECONDS)).is_completed
        await eventually(lambda: _all_fired(client), seconds=SECONDS)
    assert max(store.batches) <= EVENTS_MAX
    assert max(pages) <= SAGAS_MAX
    assert max(store.batches) > 1
    for saga in await client.store.find(SagaFilter(name="herd", limit=200)):
        kinds = Counter(entry.kind for entry in (await client.record(saga.id)).history)
        assert kinds[HistoryKind.STEP_EXPIRED] == 1


async def _has_passed(client: Manager, instant: dt.datetime) -> bool:
    return await client.store.now() >= instant


async def _all_fired(client: Manager) -> bool:
    return (await client.store.counts()).get(SagaState.COMPENSATED) == HERD
