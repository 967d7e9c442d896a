"""Engines on real servers: end to end, shared, stopped under load."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from saga_orchestrator import Manager, SagaDefinition, StepFailed
from saga_orchestrator.core.decision import HistoryKind
from tests.support.waiting import eventually
from tests.unit.runtime.stage import Service, raising


@pytest.fixture
def urls(postgres_url, rabbit_url) -> dict[str, object]:
    """Where store and broker are."""
    return {"store": postgres_url, "broker": rabbit_url, "migrate": True}


class Booking(Service):
    """A service that counts its effects; ``slowly`` makes each run take a while."""

    def __init__(self, *, seconds: float = 0) -> None:
        super().__init__("book")
        self.counts: Counter[tuple[str, str]] = Counter()
        self._seconds = seconds
        for name in ("a", "b", "c"):
            self.does[name] = self._act

    async def _act(self, ctx):
        self.counts[ctx.saga_id, ctx.step] += 1
        await asyncio.sleep(self._seconds)
        return {"by": ctx.step}

    @property
    def trip(self) -> SagaDefinition:
        """Three steps, one after the other."""
        return SagaDefinition("trip", self.chain())


async def _start(manager: Manager, kind: SagaDefinition, count: int) -> list[str]:
    sagas = await asyncio.gather(
        *(manager.start(kind, key=f"trip-{n}") for n in range(count))
    )
    return [saga.id for saga in sagas]


async def _all_complete(manager: Manager, ids: list[str], *, seconds: float) -> None:
    """Wait for all; hold each against its history: every step succeeded once."""
    async with asyncio.timeout(seconds):
        for saga_id in ids:
            saga = await manager.wait(saga_id)
            assert saga.is_completed, saga
            assert [status.attempt for status in saga.steps] == [1] * len(saga.steps)
    for saga_id in ids:
        entries = (await manager.record(saga_id)).history
        done = [e.step for e in entries if e.kind is HistoryKind.STEP_SUCCEEDED]
        assert done == ["a", "b", "c"]


async def test_an_order_whose_card_is_declined_is_undone_in_reverse(urls):
    """One manager, from the start to the last undo, through both servers."""
    service = Service("shop")
    service.does["c"] = raising(StepFailed("card declined"))
    async with Manager.open(handlers=[service.handlers], **urls) as manager:
        saga = await manager.start("order", service.chain(), {"customer": "c-1"})
        saga = await manager.wait(saga.id, timeout=30)
        assert saga.is_compensated
        assert saga.reason == "step c: StepFailed: card declined"
        assert service.runs == ["a", "b", "c", "undo_b", "undo_a"]
        assert service.given[-1] == {"by": "a"}
        record = await manager.record(saga.id)
        assert record.residuals == ()
        assert manager.problems() == []


async def test_two_engines_share_the_work(urls):
    """Both run handlers of the same sagas, and each step happens once."""
    one, two = Booking(), Booking()
    async with (
        Manager.open(handlers=[one.handlers], **urls) as first,
        Manager.open(handlers=[two.handlers], **urls) as second,
    ):
        ids = await _start(first, one.trip, 200)
        await _all_complete(second, ids, seconds=60)
    assert one.runs
    assert two.runs
    both = one.counts + two.counts
    assert set(both.values()) == {1}
    assert len(both) == 600


async def test_the_relay_takes_up_what_a_client_started(urls):
    """A client with the store alone starts sagas; an engine that comes runs them."""
    service = Booking()
    async with Manager.open(store=urls["store"], migrate=True) as client:
        ids = await _start(client, service.trip, 100)
        async with Manager.open(handlers=[service.handlers], **urls):
            await _all_complete(client, ids, seconds=60)


async def test_a_graceful_stop_under_load_burns_no_attempt(urls):
    """What ran is kept, what had not begun goes back; nothing runs twice."""
    one, two = Booking(seconds=0.05), Booking()
    first = await Manager.open(handlers=[one.handlers], concurrency=8, **urls)
    ids = await _start(first, one.trip, 100)
    await eventually(lambda: len(one.runs) >= 40)
    await first.stop()
    await first.close()
    assert len(one.runs) < 300
    async with Manager.open(handlers=[two.handlers], **urls) as second:
        await _all_complete(second, ids, seconds=60)
    assert set((one.counts + two.counts).values()) == {1}


async def test_an_engine_without_servers(tmp_path):
    """The embedded parts behave the same, and a saga survives its process."""
    url = f"sqlite:///{tmp_path}/saga.db"
    one, two = Booking(seconds=0.02), Booking()
    first = await Manager.open(store=url, handlers=[one.handlers], concurrency=4)
    ids = await _start(first, one.trip, 40)
    await eventually(lambda: len(one.runs) >= 20)
    await first.stop()
    await first.close()
    async with Manager.open(store=url, handlers=[two.handlers]) as second:
        await _all_complete(second, ids, seconds=60)
