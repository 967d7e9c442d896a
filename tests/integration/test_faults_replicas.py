"""Replicas in each other's way: rows F11, F12, F14, F15 and F35 of the faults."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Manager, Step
from saga_orchestrator.core.decision import HistoryKind
from tests.support.books import Books, chain, fan
from tests.support.engine_process import CLAIM_SECONDS, engine_process
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually
from tests.support.wiretap import AmqpTap
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from pathlib import Path

    from saga_orchestrator import SagaDefinition
    from tests.support.rabbitmq import RabbitServer
    from tests.support.wires import Wires
    from tests.support.wiretap import Seen

pytestmark = pytest.mark.slow


# -- a process that was frozen -------------------------------------------------


async def test_a_frozen_engines_answer_comes_too_late(
    wires: Wires, books: Books, client: Manager, tmp_path: Path
) -> None:
    """Frozen in a handler for twice its claim, it goes on and changes nothing."""
    with engine_process(
        **wires.urls, folder=tmp_path, hold=True, heartbeat=1
    ) as process:
        await process.ready()
        saga = await client.start(chain())
        await eventually(process.held.exists)
        process.freeze()
        frozen_at = asyncio.get_running_loop().time()
        async with Manager.open(**wires.direct, handlers=[books.handlers]) as manager:
            saga = await manager.wait(saga.id, timeout=60)
            ended = await manager.record(saga.id)
            await eventually(lambda: _seconds_since(frozen_at) > 2 * CLAIM_SECONDS)
            process.thaw()
            process.hold.touch()
            await eventually(lambda: _is_ignored(manager, saga.id))
            after = await manager.record(saga.id)
        assert process.is_alive
        other = await client.start(chain())  # it works, when it is alone again
        assert (await client.wait(other.id, timeout=30)).is_completed
    assert ended.saga.is_completed
    assert after.history == ended.history
    assert {worker for _, worker in books.runs("a")} == {"child", "test"}
    assert len({key for key, _ in books.runs("a")}) == 2  # of two sagas
    assert set(books.effects().values()) == {1}


def _seconds_since(instant: float) -> float:
    return asyncio.get_running_loop().time() - instant


async def _is_ignored(manager: Manager, saga_id: str) -> bool:
    """Tell whether an answer was counted and dropped; it must be a repetition."""
    reasons = {one.reason for one in (await manager.record(saga_id)).ignored}
    assert reasons <= {"repeated"}
    return bool(reasons)


# -- two at once ---------------------------------------------------------------


async def test_two_relays_that_reorder_skip_nothing(
    wires: Wires, books: Books, client: Manager, rabbit_server: RabbitServer
) -> None:
    """Commands that overtake each other are each published, and done once."""
    sagas = [await client.start(kind) for kind in _kinds(20)]
    async with AmqpTap(rabbit_server.port) as other_wire:
        taps = (wires.broker, other_wire)
        for seed, tap in enumerate(taps):
            tap.rule = _delaying(random.Random(seed))
        brokers = [tap.through(wires.direct["broker"]) for tap in taps]
        first, second = (
            Manager.open(
                store=wires.direct["store"], broker=broker, handlers=[books.handlers]
            )
            for broker in brokers
        )
        async with first as one, second:
            for saga in sagas:
                assert (await one.wait(saga.id, timeout=60)).is_completed
            await eventually(lambda: _all_settled(one, sagas))
        assert all(tap.published for tap in taps)
    for saga in sagas:
        entries = (await client.record(saga.id)).history
        done = [e.step for e in entries if e.kind is HistoryKind.STEP_SUCCEEDED]
        assert len(done) == len(set(done)) == len(saga.steps)
    assert set(books.effects().values()) == {1}
    assert len(books.effects()) == 10 * 3 + 10 * 5


def _kinds(count: int) -> list[SagaDefinition]:
    return [(chain(), fan())[number % 2] for number in range(count)]


def _delaying(rng: random.Random):
    async def rule(seen: Seen) -> bool:
        if seen.is_publish:
            await asyncio.sleep(rng.random() * 0.1)
        return True

    return rule


async def _all_settled(manager: Manager, sagas) -> bool:
    records = [await manager.record(saga.id) for saga in sagas]
    return not any(record.outbox for record in records)


async def test_a_command_that_two_consumers_got(
    wires: Wires, books: Books, client: Manager, rabbit_server: RabbitServer
) -> None:
    """Reset in the middle of a run, the other does it too: one effect, one step."""
    go_on = asyncio.Event()
    books.gate = lambda ctx: go_on.wait() if ctx.step == "a" else asyncio.sleep(0)
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        Manager.open(
            store=wires.direct["store"],
            broker=proxy.through(wires.direct["broker"]),
            handlers=[books.handlers],
        ) as first,
    ):
        saga = await client.start(chain())
        await eventually(lambda: len(books.runs("a")) == 1)
        async with Manager.open(**wires.direct, handlers=[books.handlers]) as second:
            proxy.refuse(on=True)
            proxy.cut()
            await eventually(lambda: len(books.runs("a")) == 2)
            proxy.refuse(on=False)
            await eventually(lambda: first.problems() == [])
            go_on.set()
            assert (await second.wait(saga.id, timeout=30)).is_completed
            await eventually(lambda: _is_ignored(second, saga.id))
    assert books.effects() == {(saga.id, name, "action"): 1 for name in "abc"}


# -- commands that cannot be sent ----------------------------------------------


async def test_a_command_that_is_too_large_holds_up_nobody(postgres_url, rabbit_url):
    """Its step is refused with the limit in the reason; the later ones go on."""
    service = Service("near")

    async def much(ctx):
        del ctx
        return "x" * 1_000_000

    service.does["a"] = much
    sources = [
        Step(f"s{n}", action="near.a", depends_on=["root"], undo_failed="never")
        for n in range(9)
    ]
    last = Step("z", action="near.b", depends_on=[s.name for s in sources])
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, handlers=[service.handlers]
    ) as manager:
        poison = await manager.start("much", [Step("root"), *sources, last])
        others = [await manager.start("s", service.chain("bc")) for _ in range(5)]
        for saga in others:
            assert (await manager.wait(saga.id, timeout=30)).is_completed
        poison = await manager.wait(poison.id, timeout=60)
    assert poison.is_compensated
    assert "the limit is 8388608; pass references instead" in poison.reason


async def test_a_row_that_cannot_be_read_holds_up_nobody(
    wires: Wires, books: Books, client: Manager, postgres_url
) -> None:
    """Its command stays in the outbox with the reason; the later ones go out."""
    poison = await client.start(chain())
    others = [await client.start(chain()) for _ in range(5)]
    psql = await asyncpg.connect(postgres_url)
    await psql.execute(
        "UPDATE saga_data SET patch = $1 WHERE saga_id = $2",
        '{"deeper than can be read":' + "[" * 2000 + "]" * 2000 + "}",
        poison.id,
    )
    async with Manager.open(**wires.direct, handlers=[books.handlers]) as manager:
        for saga in others:
            assert (await manager.wait(saga.id, timeout=30)).is_completed
        noted = "SELECT error FROM saga_outbox WHERE saga_id = $1 AND error <> ''"
        await eventually(lambda: psql.fetchval(noted, poison.id))
        assert poison.id in await psql.fetchval(noted, poison.id)
    await psql.close()
