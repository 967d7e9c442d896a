"""Queues that are lost or replaced, acks that are late: rows F26 to F30 of the faults.

A private RabbitMQ, with what an administrator does to the queues behind the back
of a running engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aio_pika
import pytest

from saga_orchestrator import Handlers, Manager, Step
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.errors import TopologyError
from saga_orchestrator.settings import Settings
from tests.support.administrator import Administrator, attentive_engine
from tests.support.waiting import eventually, until_well
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saga_orchestrator.core.saga import Saga
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow


@pytest.fixture
def administrator(rabbit_server: RabbitServer, rabbit_url: str) -> Administrator:
    """Whoever else has access to the test's virtual host."""
    return Administrator(rabbit_server, rabbit_url)


async def _completes(manager: Manager, service: Service) -> None:
    saga = await manager.start("s", service.chain())
    assert (await manager.wait(saga.id, timeout=30)).is_completed


# -- queues that are not there -------------------------------------------------


@pytest.mark.usefixtures("short_claims")
async def test_a_command_whose_queue_was_deleted(
    postgres_url, rabbit_url, administrator
):
    """It is returned, not "sent": visible, asked again, and goes on by itself."""
    far = Service("far")
    settings = Settings(broker=rabbit_url)
    async with attentive_engine(postgres_url, rabbit_url) as manager:
        async with open_worker(settings, [far.handlers]):
            await _completes(manager, far)
        await administrator.delete("saga.steps.far")
        saga = await manager.start("s", far.chain())
        await eventually(lambda: _was_returned(manager, saga, times=2))
        async with open_worker(settings, [far.handlers]):
            saga = await manager.wait(saga.id, timeout=30)
    assert saga.is_completed
    assert saga.status("a").attempt == 1
    assert far.runs == ["a", "b", "c"] * 2


async def _was_returned(manager: Manager, saga: Saga, *, times: int) -> bool:
    (row,) = (await manager.record(saga.id)).outbox
    return row.attempts >= times and row.error == "no service handles far.a"


async def test_queues_deleted_under_a_running_engine(
    postgres_url, rabbit_url, administrator
):
    """The broker cancels the consumers: told at once, and mended without help."""
    near, far = Service("near"), Service("far")
    async with (
        attentive_engine(postgres_url, rabbit_url, near.handlers) as manager,
        open_worker(Settings(broker=rabbit_url), [far.handlers]),
    ):
        for queue in ("saga.replies", "saga.steps.near"):
            await administrator.delete(queue)
            await eventually(lambda: _names(manager, queue))  # noqa: B023 - waits here
            await until_well(manager)
        await _completes(manager, near)
        await _completes(manager, far)


def _names(manager: Manager, queue: str) -> bool:
    return any(queue in problem for problem in manager.problems())


async def test_a_reply_queue_of_another_type_is_refused_at_the_start(
    postgres_url, rabbit_url, administrator
):
    """Opening fails, loudly and soon, with the queue and what to do."""
    await administrator.declare_classic("saga.replies")
    async with asyncio.timeout(20):
        with pytest.raises(TopologyError, match=r"'saga\.replies'.*delete the other"):
            await Manager.open(
                store=postgres_url, migrate=True, broker=rabbit_url, engine=True
            )


async def test_a_reply_queue_replaced_by_another_type(
    postgres_url, rabbit_url, administrator
):
    """Its consumer says so, the others work, and it is back when that one is gone."""
    near, far = Service("near"), Service("far")
    async with attentive_engine(postgres_url, rabbit_url, near.handlers) as manager:
        while not _names(manager, "quorum"):  # who declares it first wins
            await administrator.delete("saga.replies")
            with contextlib.suppress(aio_pika.exceptions.ChannelPreconditionFailed):
                await administrator.declare_classic("saga.replies")
            await eventually(
                lambda: _names(manager, "quorum") or not manager.problems()
            )
        for _ in range(3):
            await _completes(manager, near)
        assert _names(manager, "saga.replies")
        await administrator.delete("saga.replies")
        await until_well(manager)
        async with open_worker(Settings(broker=rabbit_url), [far.handlers]):
            await _completes(manager, far)


# -- the broker's patience -----------------------------------------------------


@pytest.fixture
def impatient(rabbit_server: RabbitServer) -> Iterator[None]:
    """Let the broker wait a second for an acknowledgement, where it waits 30 min."""
    setting = "[application:set_env(rabbit, K, V) || {K, V} <- [%s]]."
    names = "{consumer_timeout, %d}, {channel_tick_interval, %d}"
    rabbit_server.rabbitmqctl("eval", setting % (names % (1000, 300)))
    yield
    rabbit_server.rabbitmqctl("eval", setting % (names % (1_800_000, 60_000)))


@pytest.mark.usefixtures("impatient")
async def test_a_handler_that_outlasts_the_brokers_patience(postgres_url, rabbit_url):
    """The channel is closed and opened again; the run counts, and is not repeated."""
    near = Service("near")
    go_on = asyncio.Event()
    near.does["a"] = lambda _: go_on.wait()
    async with attentive_engine(postgres_url, rabbit_url, near.handlers) as manager:
        slow = await manager.start("slow", near.chain("a"))
        await eventually(lambda: near.runs == ["a"])
        quick = await manager.start("quick", near.chain("bc"))
        await eventually(lambda: _names(manager, "saga.steps.near"))
        await until_well(manager)
        go_on.set()
        for saga in (slow, quick):
            assert (await manager.wait(saga.id, timeout=30)).is_completed
    assert sorted(near.runs) == ["a", "b", "c"]


@pytest.mark.usefixtures("impatient")
async def test_a_long_handler_does_not_try_the_brokers_patience(
    postgres_url, rabbit_url
):
    """It is acknowledged when it begins: the channel stays, and it runs once."""
    runs, go_on = [], asyncio.Event()
    slow = Handlers("near")

    @slow.step("near.a", long=True)
    async def long_run(ctx):
        runs.append(ctx.attempt)
        await go_on.wait()
        return "done"

    async with attentive_engine(postgres_url, rabbit_url, slow) as manager:
        saga = await manager.start("s", [Step("a", action="near.a")])
        await eventually(lambda: _has(manager, saga, HistoryKind.STEP_ACCEPTED))
        with pytest.raises(AssertionError):  # twice the patience, and more
            await eventually(manager.problems, seconds=3)
        go_on.set()
        saga = await manager.wait(saga.id, timeout=30)
    assert saga.outputs == {"a": "done"}
    assert runs == [1]


async def _has(manager: Manager, saga: Saga, kind: HistoryKind) -> bool:
    return any(e.kind is kind for e in (await manager.record(saga.id)).history)
