"""A store that is away for long: no storm, one problem, two lines of the log."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
import structlog
from structlog.testing import capture_logs

from saga_orchestrator import Deferred, SagaDefinition
from saga_orchestrator.errors import StoreDataError, StoreUnavailableError
from saga_orchestrator.runtime.backoff import LAST_SECONDS, Backoff
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    open_manager,
    open_store,
    raising,
    seconds,
    until,
    virtual,
)

AWAY = StoreUnavailableError("away")
CALLS = (
    *("due", "next_due", "now", "claim", "transact", "settle", "extend", "load"),
    "claim_events",
)


@pytest.fixture(autouse=True)
def _audible(_quiet) -> None:
    """Let warnings be captured; the other tests here are quiet."""
    audible = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=audible)


def _go_away(store: WatchedStore) -> None:
    for name in CALLS:
        store.fail(name, AWAY)
    store.calls.clear()


@virtual
async def test_a_minute_without_the_store_is_no_storm():
    """Each loop asks some twenty times, at instants that no two processes share."""
    stores = [WatchedStore(await open_store()) for _ in range(2)]
    instants: list[list[float]] = [[], []]
    async with (
        open_manager(store=stores[0], engine=True, rng=random.Random(1)) as one,
        open_manager(store=stores[1], engine=True, rng=random.Random(2)) as two,
    ):
        for store, seen in zip(stores, instants, strict=True):
            _go_away(store)
            _note_instants(store, seen)
        with capture_logs() as logs:
            await LoopClock().sleep(60)
            assert [*one.problems(), *two.problems()] == ["store: away"] * 2
            for store in stores:
                store.gates.clear()
            await until(lambda: not [*one.problems(), *two.problems()], limit=6)
    told = [entry["event"] for entry in logs]
    assert sorted(told) == ["store is away"] * 2 + ["store is back"] * 2
    for store, seen in zip(stores, instants, strict=True):
        assert 10 <= len(seen) <= 30
        assert store.calls.total() <= 125
    assert set(instants[0]).isdisjoint(instants[1])


def _note_instants(store: WatchedStore, seen: list[float]) -> None:
    async def gate(*_args, **_options):
        seen.append(LoopClock().monotonic())
        raise AWAY

    store.gates["claim"] = gate


@virtual
async def test_what_was_due_meanwhile_is_done_when_the_store_is_back():
    """A timer, a start that waits, one who follows: all within one longest pause."""
    service = Service()
    service.does["a"] = raising(Deferred())
    store = WatchedStore(await open_store())
    kind = SagaDefinition(
        "s", service.chain("a", undo_failed="never"), deadline=seconds(10)
    )
    async with open_manager(service.handlers, store=store) as manager:
        saga = await manager.start(kind)
        following = [asyncio.ensure_future(manager.wait(saga.id)) for _ in range(50)]
        await until(lambda: service.runs)
        _go_away(store)
        await LoopClock().sleep(40)
        starting = asyncio.ensure_future(manager.start("other", []))
        await LoopClock().sleep(20)
        assert store.calls["load"] <= 50 * 30
        assert manager.problems() == ["store: away"]
        store.gates.clear()
        async with asyncio.timeout(2 * LAST_SECONDS):
            assert (await starting).is_completed
        await until(lambda: _turned_back(manager, saga), limit=2 * LAST_SECONDS)
        for task in following:
            task.cancel()


async def _turned_back(manager, saga) -> bool:
    return (await manager.get(saga.id)).reason == "its deadline passed"


def test_pauses_grow_and_begin_anew():
    """From 50 ms to 5 s, each a random share of at least a half."""
    backoff = Backoff(random.Random(1))
    pauses = [backoff.next() for _ in range(20)]
    steps = [min(0.05 * 2**n, LAST_SECONDS) for n in range(20)]
    shares = [pause / step for pause, step in zip(pauses, steps, strict=True)]
    assert all(0.5 <= share <= 1 for share in shares)
    assert len(set(shares)) == 20
    backoff.reset()
    assert backoff.next() <= 0.05


def test_an_outage_is_one_problem_whoever_finds_it():
    """The first who misses the store tells of it, the last who finds it again."""
    outage = Outage()
    with capture_logs() as logs:
        outage.ends("relay")
        outage.begins("relay", AWAY)
        outage.begins("timers", AWAY)
        outage.begins("relay", AWAY)
        assert outage.problems() == ["store: away"]
        outage.ends("relay")
        outage.begins("timers", StoreDataError("damaged"))
        assert outage.problems() == ["store: damaged"]
        outage.ends("timers")
    assert [entry["event"] for entry in logs] == ["store is away", "store is back"]
    assert outage.problems() == []
