"""The watch: gauges of the store, and who turns stale."""

from __future__ import annotations

import datetime as dt
import random

import pytest
import structlog
from structlog.testing import capture_logs

from saga_orchestrator import Manager, RetryPolicy, Step
from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.core.waiting import StaleAfter, WaitReason
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.ports.broker import QueueSpec, QueueStats
from saga_orchestrator.runtime.process_watch import ProcessWatch
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.support.exposition import forget_names, total
from tests.support.inbox import Inbox
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    open_worker,
    seconds,
    until,
    virtual,
)

MINUTE = StaleAfter(seconds(60))


@pytest.fixture(autouse=True)
def _audible(_quiet) -> None:
    """Let the watch be heard; the other tests here are quiet."""
    forget_names()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))


class _LosingBroker(MemoryBroker):
    """A broker whose queues are gone when it is told so."""

    is_lost = False

    async def stats(self, queue: str) -> QueueStats | None:
        """Find nothing."""
        return None if self.is_lost else await super().stats(queue)


def _nobody(name: str) -> list[Step]:
    """Return a step whose action no service handles."""
    return [Step(name, action="nowhere.to_be_found")]


@virtual
async def test_a_queue_that_is_gone_is_read_by_nobody():
    """Its last numbers would say for ever that all is well."""
    broker = _LosingBroker(f"memory://{fresh_name()}", clock=LoopClock())
    await broker.open()
    await broker.consume(QueueSpec("lost"), Inbox(ack=True), prefetch=1)
    watch = ProcessWatch(broker, LoopClock(), queues=["lost"], problems=list)
    await watch.refresh()
    assert total("saga_queue_consumers", queue="lost") == 1
    broker.is_lost = True
    await watch.refresh()
    assert total("saga_queue_consumers", queue="lost") == 0
    assert total("saga_queue_messages", queue="lost") == 0
    await broker.close()


@virtual
async def test_the_gauges_follow_the_store():
    """Live sagas by state, the outbox, the age of the oldest: every 15 seconds."""
    service = Service("gauged", "a")

    async with open_manager(service.handlers, watch=MINUTE) as manager:
        await manager.start("gauged-stuck", _nobody("x"))
        await until(lambda: total("saga_sagas_active", saga="gauged-stuck") == 1)
        await until(lambda: total("saga_outbox_oldest_age_seconds") > 20)
        assert total("saga_outbox_pending") == 1
        assert total("saga_oldest_active_saga_age_seconds", saga="gauged-stuck") > 20
        assert total("saga_unroutable_total", action="nowhere.to_be_found") >= 1
        assert total("saga_queue_consumers", queue="saga.replies") == 1
        assert total("saga_queue_consumers", queue="saga.steps.gauged") == 1
        done = await manager.start("gauged-stuck", service.chain("a"))
        assert (await manager.wait(done.id)).is_completed
        active = {"saga": "gauged-stuck", "state": SagaState.STARTED}
        assert total("saga_sagas_active", **active) == 1


@virtual
async def test_a_saga_turns_stale_once_and_is_stale_no_more():
    """One line when its threshold passes, one when it goes on; a gauge between."""
    name = fresh_name()
    broker = await open_broker(name)
    async with open_manager(
        engine=True, broker=await open_broker(name), watch=MINUTE
    ) as manager:
        with capture_logs() as lines:
            saga = await manager.start("late", [Step("x", action="far.a")])
            labels = {"saga": "late", "reason": "unroutable"}
            await LoopClock().sleep(50)
            assert total("saga_stale_sagas", **labels) == 0
            await LoopClock().sleep(120)
            assert total("saga_stale_sagas", **labels) == 1
            assert total("saga_stale_oldest_age_seconds", **labels) > 100
            worker = await open_worker(broker, Service("far", "a").handlers)
            assert (await manager.wait(saga.id)).is_completed
            await LoopClock().sleep(20)
            assert total("saga_stale_sagas", **labels) == 0
        await worker.close()
    told = [line for line in lines if line["event"].startswith("saga is")]
    assert [line["event"] for line in told] == [
        "saga is stale",
        "saga is stale no more",
    ]
    assert {line["saga_id"] for line in told} == {saga.id}
    assert told[0]["reason"] == "unroutable"
    assert "far.a" in told[0]["fix"]


@virtual
async def test_a_definition_has_a_threshold_of_its_own():
    """What is slow by nature is stale later than the rest."""
    after = StaleAfter(seconds(60), {"slow": dt.timedelta(days=1)})
    async with open_manager(Service().handlers) as manager:
        fast = await manager.start("fast", _nobody("x"))
        await manager.start("slow", _nobody("x"))
        await LoopClock().sleep(120)
        assert [one.id for one in await manager.stale(after)] == [fast.id]
        young = await manager.start("fast", _nobody("x"))
        assert young.id not in [one.id for one in await manager.stale(after)]


@virtual
async def test_a_store_that_is_away_leaves_the_gauges():
    """The gauges keep what they said, their time says how old they are, and go on."""
    store = WatchedStore(await open_store())
    async with open_manager(Service().handlers, store=store, watch=MINUTE) as manager:
        await manager.start("away", _nobody("x"))
        await until(lambda: total("saga_sagas_active", saga="away") == 1)
        store.fail("overview", StoreUnavailableError("gone"), times=3)
        at = total("saga_watched_timestamp_seconds")
        await LoopClock().sleep(40)
        assert total("saga_sagas_active", saga="away") == 1
        assert total("saga_watched_timestamp_seconds") == at
        await until(lambda: total("saga_watched_timestamp_seconds") > at)


@virtual
async def test_why_names_the_last_error_and_the_next_attempt():
    """One diagnosis: what it waits for, what went wrong before, what to do."""
    service = Service("shop", "a")

    async def err(ctx):
        raise OSError("the network is down")

    service.does["a"] = err
    patient = RetryPolicy(max_attempts=5, initial_delay=seconds(600), jitter=0)
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("patient", service.chain("a", retry=patient))
        await until(lambda: len(service.runs) == 1)
        await LoopClock().sleep(5)
        (cause,) = (await manager.why(saga.id)).causes
    assert cause.wait.reason is WaitReason.RETRYING
    assert "OSError: the network is down" in cause.last_error
    assert cause.wait.until is not None
    assert "comes by itself" in cause.remedy


@virtual
async def test_why_of_a_client_asks_no_broker():
    """A manager without an engine says what the store knows."""
    name = fresh_name()
    async with Manager.open(
        store=f"memory://{name}", clock=LoopClock(), rng=random.Random(1)
    ) as client:
        saga = await client.start("alone", _nobody("x"))
        await LoopClock().sleep(4)
        (cause,) = (await client.why(saga.id)).causes
    assert cause.wait.reason is WaitReason.UNPUBLISHED
    assert "no engine has taken it" in cause.wait.detail


@virtual
async def test_why_of_an_ended_saga_says_that_it_ended():
    """There is nothing that it waits for."""
    service = Service("shop", "a")
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("done", service.chain("a"))
        await manager.wait(saga.id)
        diagnosis = await manager.why(saga.id)
    assert diagnosis.causes == ()
    assert diagnosis.notes[0].endswith("UTC: completed")
