"""What holds up one saga holds up no other: locks and slow handlers, real servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Handlers, Manager, Step
from saga_orchestrator.runtime import slots
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from saga_orchestrator import StepContext

SAGAS = 12

pytestmark = [pytest.mark.postgres, pytest.mark.rabbitmq]


async def test_a_key_that_an_open_transaction_holds(
    postgres_url: str, psql: asyncpg.Connection, client: Manager
) -> None:
    """Whoever asks for it waits; who asks for another saga does not."""
    transaction = psql.transaction()
    await transaction.start()
    held = await client.start("s", [], {}, key="k", connection=psql)
    async with Manager.open(store=postgres_url) as manager:
        asked = [
            asyncio.ensure_future(manager.start("s", [], {}, key="k"))
            for _ in range(SAGAS)
        ]
        await eventually(lambda: manager._engine.pipeline._locked._rows)
        for _ in range(3):  # one after the other: each would wait for all who ask
            async with asyncio.timeout(SAGAS / 2):
                assert (await manager.start("other", [])).is_completed
        assert not any(start.done() for start in asked)
        await transaction.commit()
        assert {saga.id for saga in await asyncio.gather(*asked)} == {held.id}


async def test_commands_that_find_no_slot(
    postgres_url: str, rabbit_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go back to their queue, and each is run once."""
    monkeypatch.setattr(slots, "SLOT_SECONDS", 0.1)
    runs: Counter[str] = Counter()
    handlers = Handlers("near")
    go_on = asyncio.Event()

    @handlers.step("near.slow")
    async def slow(ctx: StepContext) -> None:
        runs[ctx.saga_id] += 1
        await go_on.wait()

    urls: dict[str, Any] = {"store": postgres_url, "broker": rabbit_url}
    async with Manager.open(
        **urls, handlers=[handlers], concurrency=2, migrate=True
    ) as manager:
        step = Step("s", action="near.slow")
        starts = (manager.start("s", [step]) for _ in range(SAGAS))
        sagas = await asyncio.gather(*starts)
        # Two are at work, and two at most in hand beside them.
        await eventually(lambda: _is_in_its_queue(manager, SAGAS - 4))
        assert len(runs) == 2
        go_on.set()
        for saga in sagas:
            assert (await manager.wait(saga.id, timeout=60)).is_completed
    assert set(runs.values()) == {1}


async def _is_in_its_queue(manager: Manager, count: int) -> bool:
    found = await manager._broker.stats("saga.steps.near")  # type: ignore[union-attr]  # it has one
    return found.ready >= count
