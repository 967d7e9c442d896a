"""The search for stale sagas has bounds, and says where it goes on."""

from __future__ import annotations

import asyncio

import pytest

from saga_orchestrator import Step
from saga_orchestrator.core.waiting import StaleAfter, WaitReason
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.runtime import queue_looks, stale
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    seconds,
    virtual,
)

MINUTE = StaleAfter(seconds(60))
NOBODY = [Step("x", action="nowhere.to_be_found")]


async def _started(manager, count: int, name: str = "lost") -> list[str]:
    """Start sagas that nobody serves, and let them wait for longer than a minute."""
    ids = [(await manager.start(name, NOBODY)).id for _ in range(count)]
    await LoopClock().sleep(120)
    return sorted(ids)  # those of one millisecond are in any order


def _ids(page: stale.StalePage) -> list[str]:
    return [one.id for one in page.sagas]


@virtual
async def test_pages_follow_one_another_without_a_gap():
    """Each goes on where the one before ended; the last one says that it is."""
    after = StaleAfter(seconds(60), {"slow": seconds(3600)})
    async with open_manager(Service().handlers) as manager:
        first = await _started(manager, 2)
        await _started(manager, 2, "slow")  # not stale: between the pages
        ids = first + await _started(manager, 2)
        pages = [await manager.stale_page(after, limit=2)]
        while (goes_on := pages[-1].goes_on) is not None:
            pages.append(await manager.stale_page(after, limit=2, start=goes_on))
        assert [_ids(page) for page in pages] == [ids[:2], ids[2:]]
        exactly = await manager.stale_page(after, limit=4)
        assert (_ids(exactly), exactly.goes_on) == (ids, None)


@pytest.mark.parametrize("most", [4, 6])
def test_so_many_sagas_are_looked_at_and_no_more(monkeypatch, most):
    """A search that was cut says so, also on the edge of a page of the store."""
    monkeypatch.setattr(stale, "PAGE", 2)
    monkeypatch.setattr(stale, "SAGAS_MAX", most)

    @virtual
    async def search():
        async with open_manager(Service().handlers) as manager:
            ids = await _started(manager, 6)
            page = await manager.stale_page(MINUTE)
            assert _ids(page) == ids[:most]
            assert page.goes_on == (ids[3] if most == 4 else None)

    search()


@virtual
async def test_what_was_found_in_time_is_told():
    """A store that stops to answer cuts the search; before the first saga it fails."""
    store = WatchedStore(await open_store())

    async def hang(*args, after=None, **kwargs):
        del args, kwargs
        if after is not None:
            await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stale, "PAGE", 2)
        async with open_manager(Service().handlers, store=store) as manager:
            ids = await _started(manager, 4)
            store.gates["waiting"] = hang
            page = await manager.stale_page(MINUTE, seconds=5)
            assert (_ids(page), page.goes_on) == (ids[:2], ids[1])
            with pytest.raises(TimeoutError):
                await manager.stale_page(MINUTE, seconds=5, start=ids[1])


@virtual
async def test_a_broker_that_hangs_is_asked_once():
    """The search goes on with what the store knows, and says why it knows no more."""
    broker = await open_broker(fresh_name())
    asked = []

    async def hang(queue):
        asked.append(queue)
        await asyncio.Event().wait()

    async with open_manager(engine=True, broker=broker) as manager:
        steps = [Step("x", action="far.a")]
        queue = QueueSpec("saga.steps.far", ("step.far.a",), "saga.undelivered")
        await broker.declare(queue)
        ids = sorted([(await manager.start("far", steps)).id for _ in range(3)])
        await LoopClock().sleep(70)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(broker, "stats", hang)
            page = await manager.stale_page(MINUTE, seconds=10)
    assert _ids(page) == ids
    assert {one.wait.reason for one in page.sagas} == {WaitReason.UNANSWERED}
    assert page.problem == f"no answer within {queue_looks.LOOK_SECONDS:g} s"
    assert len(asked) == 1
