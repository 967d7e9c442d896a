"""DBOS: messages that count once, deduplication, a database in chaos, migrations."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
from collections.abc import AsyncIterator
from typing import cast

import pytest

from saga_orchestrator import (
    KeyConflict,
    Manager,
    SagaDefinition,
    Step,
    StepContext,
    Store,
)
from saga_orchestrator.core.events import StepSucceeded
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.ports.adapters import STORES, adapter_for
from saga_orchestrator.testing import action
from tests.scenarios.cases import begun, own_url
from tests.scenarios.engines import SECONDS, Service
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage
from tests.unit.runtime.stage import WatchedStore

SECOND = dt.timedelta(seconds=1)


async def a_message_is_received_once(stage: Stage) -> None:
    """The answer of a commit that was run again stands; a second one is ignored."""
    receives = saga("recv", "recv-2").when(
        action("recv").defers(), action("recv-2").defers()
    )
    async with begun(stage, receives, "DBO-07-retry") as play:
        fence = (await play.run(until=SECOND)).saga.fence_of(0)
        for message in ("first", "first", "second"):
            await play.submit(StepSucceeded(fence, message))
        outcome = await play.run(until=2 * SECOND)
        outcome.expect(
            "started", outputs={"recv": "first"}, steps={"recv-2": "started"}
        )
        assert outcome.saga.ignored == 2


async def a_message_that_comes_after_the_timeout(stage: Stage) -> None:
    """That nothing came is on record; what comes later does not change it."""
    recv = step("recv", compensation="", timeout=SECOND, limit=SECOND, retry=ONCE)
    async with begun(
        stage, saga(recv).when(action("recv").defers()), "DBO-07-timeout"
    ) as play:
        fence = (await play.run(until=SECOND / 2)).saga.fence_of(0)
        ended = (await play.run()).expect("compensated", reason="its limit passed")
        await play.submit(StepSucceeded(fence, "late"))
        outcome = (await play.run()).expect("compensated", residuals=1)
        assert outcome.saga.outputs == ended.saga.outputs == {}


async def a_key_finds_its_saga(stage: Stage) -> None:
    """One saga for a key and a name, as long as it is kept."""
    url = await own_url(stage)
    active = [Step("far", action="far.away")]  # nobody is there to do it
    ended = [Step("nothing")]
    async with Manager.open(store=url, engine=False, migrate=True) as manager:
        first = await manager.start("active", active, key="k")
        assert (await manager.start("active", active, key="k")).id == first.id
        with pytest.raises(KeyConflict):
            await manager.start("active", active, {"n": 2}, key="k")
        done = await manager.start("ended", ended, key="k")  # of another name
        assert done.is_completed
        assert (await manager.start("ended", ended, key="k")).id == done.id
        await manager.store.delete(done.id)
        assert (await manager.start("ended", ended, key="k")).id != done.id


@contextlib.asynccontextmanager
async def in_chaos(stage: Stage, service: Service) -> AsyncIterator[Manager]:
    """An engine on a store that is away at every other commit."""
    store = WatchedStore(await Store.open(await own_url(stage), migrate=True))
    commits = itertools.count(1)

    async def restarts(*_: object, **__: object) -> None:
        if next(commits) % 2:
            raise StoreUnavailableError("the database restarts")

    store.gates["transact"] = restarts
    async with Manager.open(
        store=cast("Store", store), handlers=[service.handlers]
    ) as manager:
        yield manager


# On a server that is killed: tests/integration/test_engine_faults.py,
# test_a_database_that_is_killed_and_comes_back; with lost answers: tests/simulation.
async def every_result_is_right(stage: Stage) -> None:
    """Whatever happens to the commits, f(i) is i + 6."""
    adder = Service("dbo-09")

    def add(ctx: StepContext) -> int:
        given = [*ctx.outputs.values(), ctx.context["i"]][0]
        return int(str(given)) + int(ctx.step)

    kind = SagaDefinition("dbo-09", [adder.step(number, add) for number in "123"])
    async with in_chaos(stage, adder) as manager:
        started = await asyncio.gather(
            *(manager.start(kind, context={"i": i}, key=f"{i}") for i in range(20))
        )
        results = [
            (await manager.wait(one.id, SECONDS)).outputs["3"] for one in started
        ]
    assert results == [i + 6 for i in range(20)]
    assert len(adder.runs) == 60


# A migration that fails in the middle, and one that was changed:
# tests/integration/test_postgres_schema.py and test_sqlite.py.
async def migrations_are_applied_once(stage: Stage) -> None:
    """Of many who start at once each finds the schema; nothing is made twice."""
    url = await own_url(stage)
    adapter: type[Store] = adapter_for(STORES, "store", url)
    async with asyncio.TaskGroup() as group:
        starters = [group.create_task(adapter.migrate(url)) for _ in range(5)]
    applied = [one.number for starter in starters for one in starter.result()]
    assert len(applied) == len(set(applied))
    assert await adapter.migrate(url) == []
    async with Manager.open(store=url, engine=False, migrate=False) as manager:
        assert (await manager.start("dbo-10", [])).is_completed


SCENARIOS: list[Scenario] = [
    Case("DBO-07", a_message_is_received_once, variant="retry"),
    Case("DBO-07", a_message_that_comes_after_the_timeout, variant="timeout"),
    Case(
        "DBO-08",
        a_key_finds_its_saga,
        deviation="the peer refuses a second one while the first is active, takes it "
        "later; here the same start returns its saga, active or ended, until that is "
        "deleted, so that a caller may always repeat; another body is refused",
    ),
    Case("DBO-09", every_result_is_right),
    Case("DBO-10", migrations_are_applied_once),
]

LATER: list[Later] = []
