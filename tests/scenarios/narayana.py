"""Narayana LRA: order of callbacks, a store that fails, what fails for good."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import httpx
import pytest

from saga_orchestrator import (
    Manager,
    Saga,
    SagaDefinition,
    SqliteBarrier,
    Step,
    Store,
)
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.server import open_http
from saga_orchestrator.errors import (
    ConcurrencyError,
    SagaNotFoundError,
    StoreUnavailableError,
    TransitionRefused,
)
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.store import SagaFilter
from saga_orchestrator.runtime.operator import Operator
from saga_orchestrator.testing import action, operator, undo
from tests.scenarios.cases import begun, careful, played, while_time_passes
from tests.scenarios.sagas import saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row
from tests.unit.api.stage import problem
from tests.unit.runtime.stage import WatchedStore

HOUR = dt.timedelta(hours=1)
SECOND = dt.timedelta(seconds=1)

OPEN = step("decide", compensation="")
CANCEL = (action("decide").comes_later(HOUR), operator.compensates(at=SECOND))
two = saga("one", "two", OPEN)

DISK_FULL = StoreUnavailableError("disk full")


@contextlib.asynccontextmanager
async def watched(stage: Stage) -> AsyncIterator[tuple[WatchedStore, Manager]]:
    """A store that can be made to fail, and a manager on it."""
    store = WatchedStore(await stage.open_store())
    async with Manager.open(
        store=cast("Store", store), engine=False, clock=stage.clock
    ) as manager:
        yield store, manager


@contextlib.asynccontextmanager
async def served(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP API of a manager on the stage's store, and a client of it."""
    address = Address.parse("127.0.0.1:0")
    async with (
        Manager.open(
            store=await stage.open_store(),
            engine=False,
            clock=stage.clock,
            definitions=[SagaDefinition("nar-13", [step("one")])],
        ) as manager,
        open_http(manager, address, SystemClock()) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        yield client


async def a_start_by_the_version_there_is(stage: Stage) -> None:
    """It answers with a place, and the saga is found there."""
    async with served(stage) as client:
        answer = await client.post("/v1/sagas", json={"name": "nar-13"})
        assert answer.status_code == 202
        place = answer.headers["Location"]
        found = await client.get(place)
        assert found.status_code == 200
        assert (found.json()["id"], found.json()["state"]) == (
            answer.json()["id"],
            "started",
        )


async def a_start_by_a_version_that_there_is_not(stage: Stage) -> None:
    """The caller is told, and nothing is started."""
    async with served(stage) as client:
        before = (await client.get("/v1/sagas?name=nar-13")).json()["sagas"]
        for version in ("v0", "v2", "V1", "1"):
            place = f"/{version}/sagas"
            answer = await client.post(place, json={"name": "nar-13"})
            assert problem(answer) == (404, "not-found", [])
            assert place in answer.json()["detail"]
        after = (await client.get("/v1/sagas?name=nar-13")).json()["sagas"]
        assert after == before


async def a_start_that_cannot_be_written(stage: Stage) -> None:
    """The caller is told, and nothing is left behind."""
    start = partial(Manager.start, definition="nar-04", steps=[step("one")], key="k")
    async with watched(stage) as (store, manager):
        store.fail("transact", DISK_FULL)
        with pytest.raises(StoreUnavailableError, match="disk full"):
            await while_time_passes(stage.clock, start(manager))
        assert await store.find(SagaFilter(name="nar-04")) == []
        store.gates.clear()
        saga = await while_time_passes(stage.clock, start(manager))
        found = await store.find(SagaFilter(name="nar-04"))
        assert [one.id for one in found] == [saga.id]


async def an_end_that_cannot_be_written(stage: Stage) -> None:
    """The caller is told, and the saga is what it was."""
    async with watched(stage) as (store, manager):
        saga = await manager.start("nar-05", [step("one")])
        store.fail("transact", DISK_FULL)
        with pytest.raises(StoreUnavailableError, match="disk full"):
            await while_time_passes(stage.clock, cancel(manager, saga.id))
        assert (await manager.get(saga.id)).version == saga.version
        store.gates.clear()
        cancelled = await while_time_passes(stage.clock, cancel(manager, saga.id))
        assert cancelled.is_compensating


async def a_lock_that_is_not_obtained(stage: Stage) -> None:
    """The request is tried again, by itself, and its caller sees no error."""
    async with watched(stage) as (store, manager):
        saga = await manager.start("nar-06", [step("one")])
        store.fail("transact", ConcurrencyError("the row is locked"), times=1)
        cancelled = await while_time_passes(stage.clock, cancel(manager, saga.id))
        assert store.calls["transact"] == 3
        assert cancelled.is_compensating
        assert cancelled.version == saga.version + 1


async def cancel(operator: Operator, saga_id: str) -> Saga:
    """Ask for the saga to be undone."""
    return await operator.compensate(saga_id, reason="cancel")


async def cancelled_twice(stage: Stage) -> None:
    """The second time changes nothing and is no error; each is undone once."""
    async with begun(stage, two.when(action("decide").defers()), "NAR-09") as play:
        lra = (await play.run(until=SECOND)).saga
        first = await cancel(play.operator, lra.id)
        second = await cancel(play.operator, lra.id)
        assert second == first
        await play.operator.give_up(lra.id, "decide", reason="cancelled")
        ended = (await play.run()).expect("compensated", undone=["two", "one"])
        third = await cancel(play.operator, lra.id)
        assert third.version == ended.saga.version


async def closed_and_then_cancelled(stage: Stage) -> None:
    """What has completed is not undone by mistake; the error says what would do it."""
    async with begun(stage, saga("one"), "NAR-09-close") as play:
        lra = (await play.run()).expect("completed").saga
        with pytest.raises(TransitionRefused, match="needs force"):
            await cancel(play.operator, lra.id)
        (await play.run()).expect("completed", undone=[])


async def enlisted_twice(stage: Stage) -> None:
    """A command that comes twice has one effect."""
    effects: list[str] = []
    async with SqliteBarrier(stage.folder / "participant.db") as barrier:
        participant = careful("nar-10", barrier, effects)
        one = Step("one", action="nar-10.act", compensation="nar-10.undo")
        twice = saga(one, handlers=[participant]).when(action("one").runs_twice())
        outcome = await played(stage, twice, "NAR-10")
        outcome.expect("completed", calls=["one", "one"])
    assert effects == ["one"]


async def kept_until_it_is_settled(stage: Stage) -> None:
    """A failed saga is listed, and cannot be deleted, until a person settled it."""
    store = await stage.open_store()
    fails = saga("one", OPEN).when(*CANCEL, undo("one").refuses("cannot"))
    async with begun(stage, fails, "NAR-17") as play:
        failed = (await play.run()).expect("failed", reason="cannot").saga
        assert failed.id in [saga.id for saga in await store.list_active()]
        with pytest.raises(TransitionRefused):
            await store.delete(failed.id)
        await play.operator.resolve(failed.id, "one", reason="undone by hand")
        (await play.run()).expect("compensated", steps={"one": "compensated"})
    assert failed.id not in [saga.id for saga in await store.list_active()]
    await store.delete(failed.id)
    assert await store.record(failed.id) is None
    with pytest.raises(SagaNotFoundError):
        await store.delete(failed.id)
    await store.close()


SCENARIOS: list[Scenario] = [
    row(
        "NAR-01",
        two.when(*CANCEL),
        "compensated",
        calls=["one", "two", "decide: later", "undo two", "undo one"],
    ),
    Case("NAR-04", a_start_that_cannot_be_written),
    Case("NAR-05", an_end_that_cannot_be_written),
    Case(
        "NAR-06",
        a_lock_that_is_not_obtained,
        deviation="the peer asks its caller to come again; here the request is tried "
        "again by itself, for as long as its caller is patient",
    ),
    Case(
        "NAR-09",
        cancelled_twice,
        variant="cancel",
        deviation="the peer answers the second request with an error; here it "
        "changes nothing and answers the same: who lost the answer may repeat",
    ),
    Case("NAR-09", closed_and_then_cancelled, variant="close"),
    Case("NAR-10", enlisted_twice),
    Case("NAR-13", a_start_by_the_version_there_is, variant="known"),
    Case(
        "NAR-13",
        a_start_by_a_version_that_there_is_not,
        variant="unknown",
        deviation="the peer is asked for one of several versions in a header; here "
        "there is one, in the path, and any other is no route",
    ),
    Case("NAR-17", kept_until_it_is_settled, variant="compensate"),
    row(
        "NAR-17",
        saga("one", Step("pivot", pivot=True), "complete").when(
            action("complete").refuses("cannot")
        ),
        "failed",
        variant="complete",
        calls=["one", "complete: refused"],
        steps={"one": "completed", "complete": "failed"},
        reason="cannot",
    ),
]

LATER: list[Later] = [Later("NAR-02", "child sagas")]
