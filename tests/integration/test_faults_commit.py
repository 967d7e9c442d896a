"""Commits that are held, lost, or not answered: rows F06 to F10 and F13 of the faults.

The database is real, and between it and the engine is a proxy that knows the
``COMMIT`` and its answer: it holds either, or drops it with the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, Store
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.errors import SagaNotFoundError, StoreUnavailableError
from saga_orchestrator.ports.store import SagaFilter
from saga_orchestrator.settings import Settings
from tests.support.books import Books, chain, fan
from tests.support.waiting import eventually
from tests.support.wiretap import pass_all

if TYPE_CHECKING:
    from tests.support.rabbitmq import RabbitServer
    from tests.support.wires import Wires
    from tests.support.wiretap import Seen

pytestmark = pytest.mark.slow

LOST = ["the commit is lost", "its answer is lost"]


class Loss:
    """Loses every other commit, or the answers to them, with the connection.

    Attributes:
        count: how many were lost.
    """

    def __init__(self, what: str, *, most: int = 1000) -> None:
        self._answers = what == "its answer is lost"
        self._most = most
        self._commits = 0
        self.count = 0

    async def rule(self, seen: Seen) -> bool:
        """Pass what is not to be lost."""
        if not (seen.is_committed if self._answers else seen.is_commit):
            return True
        self._commits += 1
        if self._commits % 2 == 0 or self.count >= self._most:
            return True
        self.count += 1
        return False


# -- the order of things -------------------------------------------------------


async def _unsettled(server: RabbitServer, url: str, queue: str) -> int:
    listed = await asyncio.to_thread(server.queues, url, "messages_unacknowledged")
    found = {row["name"]: row["messages_unacknowledged"] for row in listed}
    return found[queue]


@pytest.mark.parametrize("queue", ["saga.steps.book", "saga.replies"])
async def test_a_delivery_is_the_brokers_while_its_commit_is_held(
    queue: str, wires: Wires, books: Books, client: Manager, rabbit_server
) -> None:
    """A command, or an answer from outside, is acknowledged after the commit only."""
    released, held = asyncio.Event(), asyncio.Event()

    async def holding(seen: Seen) -> bool:
        if seen.is_commit:
            held.set()
            await released.wait()
        return True

    wires.store.rule = holding
    is_local = queue != "saga.replies"
    async with contextlib.AsyncExitStack() as stack:
        if not is_local:  # the answer comes from a process without a store
            settings = Settings(broker=wires.direct["broker"])
            await stack.enter_async_context(open_worker(settings, [books.handlers]))
        handlers = [books.handlers] if is_local else []
        manager = await stack.enter_async_context(
            Manager.open(**wires.urls, handlers=handlers, engine=True)
        )
        saga = await client.start(chain("a"))
        await held.wait()
        # The broker counts every few seconds.
        broker = rabbit_server, wires.direct["broker"], queue
        await eventually(lambda: _is_one(_unsettled(*broker)))
        assert wires.broker.acks == 0
        released.set()
        assert (await manager.wait(saga.id, timeout=30)).is_completed
        await eventually(lambda: wires.broker.acks == 1)
    assert len(books.runs("a")) == 1


async def _is_one(number) -> bool:
    return await number == 1


# -- commits that nobody hears of ----------------------------------------------


@pytest.mark.parametrize("what", LOST)
@pytest.mark.usefixtures("short_claims")
async def test_a_commit_is_never_guessed_at(
    what: str, wires: Wires, books: Books, client: Manager
) -> None:
    """Run again until it is known: one story, whichever way the lost ones went."""
    loss = Loss(what)
    async with Manager.open(**wires.urls, handlers=[books.handlers]) as manager:
        wires.store.rule = loss.rule
        saga = await manager.start(chain(), context={"refuse": "c"})
        saga = await client.wait(saga.id, timeout=60)
    record = await client.record(saga.id)
    told = Counter(
        (entry.kind, entry.step, entry.direction) for entry in record.history
    )
    assert saga.is_compensated
    assert loss.count >= 5
    assert set(told.values()) == {1}
    assert [status.generation for status in saga.steps] == [2, 2, 1]
    assert bool(saga.ignored) == (what == "its answer is lost")
    assert set(books.effects().values()) == {1}
    assert len(books.effects()) == 4


@pytest.mark.parametrize("what", LOST)
async def test_a_start_that_died_left_all_or_nothing(
    what: str, wires: Wires, books: Books, client: Manager
) -> None:
    """A saga with all its five commands, or none; the key finds the one there is."""
    loss = Loss(what, most=1)
    wires.store.rule = loss.rule
    dying = await Manager.open(store=wires.urls["store"])
    starting = asyncio.ensure_future(dying.start(fan(), key="once"))
    await eventually(lambda: loss.count == 1)
    starting.cancel()  # it is dead: it does not try again
    await dying.close()
    left = await client.store.find(SagaFilter())
    records = [await client.record(saga.id) for saga in left]
    assert [len(record.outbox) for record in records] in ([], [5])
    assert len(records) == (what == "its answer is lost")
    saga = await client.start(fan(), key="once")
    assert {one.id for one in left} <= {saga.id}
    async with Manager.open(**wires.direct, handlers=[books.handlers]) as manager:
        assert (await manager.wait(saga.id, timeout=30)).is_completed
    assert books.effects() == {(saga.id, name, "action"): 1 for name in "abcde"}


@pytest.mark.parametrize("what", LOST)
async def test_a_deletion_that_was_cut_off_is_whole(
    what: str, wires: Wires, books: Books, client: Manager
) -> None:
    """The saga is there with all that belongs to it, or gone; it is deleted again."""
    async with Manager.open(**wires.direct, handlers=[books.handlers]) as manager:
        saga = await manager.start(chain())
        await manager.wait(saga.id, timeout=30)
        await eventually(lambda: _has_no_commands(manager, saga.id))
    before = await client.record(saga.id)
    store = await Store.open(wires.urls["store"])
    wires.store.rule = Loss(what, most=1).rule
    with pytest.raises(StoreUnavailableError):
        await store.delete(saga.id)
    wires.store.rule = pass_all
    if what == "the commit is lost":
        assert await client.record(saga.id) == before
        await store.delete(saga.id)
    with pytest.raises(SagaNotFoundError):
        await store.delete(saga.id)
    with pytest.raises(SagaNotFoundError):
        await client.record(saga.id)
    await store.close()


async def _has_no_commands(manager: Manager, saga_id: str) -> bool:
    return not (await manager.record(saga_id)).outbox
