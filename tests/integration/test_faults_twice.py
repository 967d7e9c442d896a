"""Two processes with one command in hand: rows F12 and F35 of the faults.

Nothing here is a matter of time: what has to come first is waited for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
from tests.support.books import Books, chain
from tests.support.engine_process import engine_process
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually
from tests.support.wiretap import pass_all

if TYPE_CHECKING:
    from pathlib import Path

    from saga_orchestrator import StepContext
    from tests.support.engine_process import EngineProcess
    from tests.support.rabbitmq import RabbitServer
    from tests.support.wires import Wires
    from tests.support.wiretap import Seen

pytestmark = pytest.mark.slow


async def test_an_engine_frozen_with_a_handler_in_hand(
    wires: Wires, books: Books, client: Manager, tmp_path: Path
) -> None:
    """Another does its work meanwhile; what it answers then changes nothing."""
    with engine_process(
        **wires.urls, folder=tmp_path, hold=True, serves=True
    ) as process:
        await process.ready()
        saga = await client.start(chain())
        await eventually(process.held.exists)
        process.freeze()
        async with Manager.open(**wires.direct, handlers=[books.handlers]) as manager:
            wires.broker.cut()  # the broker has given it up; it does not know
            saga = await manager.wait(saga.id, timeout=90)
            assert saga.is_completed
            before = await client.record(saga.id)
            process.hold.touch()
            process.thaw()
            await eventually(lambda: _ignored(client, saga.id))
    assert (await client.record(saga.id)).history == before.history
    workers = [worker for _, worker in books.runs("a")]
    assert workers[0] == "child"
    assert set(workers[1:]) == {"test"}  # twice, where the row was not settled yet
    assert len({key for key, _ in books.runs("a")}) == 1
    assert books.effects() == {(saga.id, name, "action"): 1 for name in "abc"}


class Freezing:
    """Freezes an engine when it publishes, with the message on its wire.

    Attributes:
        go_on: lets the message pass.
        is_frozen: whether it was.
    """

    def __init__(self, process: EngineProcess) -> None:
        self._process = process
        self.go_on = asyncio.Event()
        self.is_frozen = False

    async def rule(self, seen: Seen) -> bool:
        """Hold what is published."""
        if seen.is_publish and not self.is_frozen:
            self._process.freeze()
            self.is_frozen = True
            await self.go_on.wait()
        return True


@pytest.mark.usefixtures("short_claims")
async def test_an_engine_frozen_with_a_claimed_command(
    wires: Wires, books: Books, client: Manager, tmp_path: Path
) -> None:
    """Its claim lapses, another publishes; the copy that comes late is absorbed."""
    with engine_process(**wires.urls, folder=tmp_path, serves=False) as process:
        await process.ready()
        freezing = Freezing(process)
        wires.obey(freezing.rule)
        saga = await client.start(chain())
        await eventually(lambda: freezing.is_frozen)
        async with Manager.open(**wires.direct, handlers=[books.handlers]) as manager:
            # Its commands are taken only once the claim of the frozen one lapses.
            saga = await manager.wait(saga.id, timeout=90)
            assert saga.is_completed
            before = await client.record(saga.id)
            process.thaw()
            freezing.go_on.set()
            wires.obey(pass_all)
            await eventually(lambda: len(books.runs("a")) >= 2)
            await eventually(lambda: _ignored(client, saga.id))
    after = await client.record(saga.id)
    assert after.history == before.history
    assert after.outbox == ()
    assert len({key for key, _ in books.runs("a")}) == 1
    assert books.effects() == {(saga.id, name, "action"): 1 for name in "abc"}


async def test_one_command_at_two_workers(
    postgres_url: str,
    rabbit_server: RabbitServer,
    rabbit_url: str,
    books: Books,
    tmp_path: Path,
) -> None:
    """After a reset both run it at once: one effect, one transition."""
    both = asyncio.Barrier(2)

    async def meet(ctx: StepContext) -> None:
        del ctx
        await both.wait()

    other = Books(tmp_path / "books.db", worker="other")
    books.gate = other.gate = meet
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        Manager.open(
            store=postgres_url, migrate=True, broker=rabbit_url, engine=True
        ) as manager,
        open_worker(Settings(broker=proxy.through(rabbit_url)), [books.handlers]),
    ):
        saga = await manager.start(chain("a"))
        await eventually(lambda: both.n_waiting == 1)
        proxy.refuse(on=True)
        proxy.cut()
        async with open_worker(Settings(broker=rabbit_url), [other.handlers]):
            saga = await manager.wait(saga.id, timeout=90)
            proxy.refuse(on=False)
            await eventually(lambda: _ignored(manager, saga.id))
    other.close()
    assert saga.is_completed
    assert sorted(worker for _, worker in books.runs("a")) == ["other", "test"]
    assert len({key for key, _ in books.runs("a")}) == 1
    assert books.effects() == {(saga.id, "a", "action"): 1}


async def _ignored(manager: Manager, saga_id: str) -> bool:
    return bool((await manager.get(saga_id)).ignored)
