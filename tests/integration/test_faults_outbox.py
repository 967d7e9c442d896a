"""Commands that cannot be sent, confirms that do not come: rows F15 and F41."""

from __future__ import annotations

import random
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Manager
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from tests.support.waiting import eventually, until_well
from tests.support.wiretap import AmqpTap, Seen, unaltered
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.rabbitmq import RabbitServer
    from tests.support.wires import Wires

pytestmark = pytest.mark.slow


async def test_a_row_that_was_damaged_goes_out_when_it_is_mended(
    postgres_url: str, rabbit_url: str
) -> None:
    """It keeps its reason and holds up nobody, not even in its own frame."""
    near = Service("near")
    async with Manager.open(store=postgres_url, migrate=True) as client:
        sagas = [await client.start("s", near.chain("a"), {"n": 1}) for _ in range(9)]
        damaged = sagas.pop(4)
        psql = await asyncpg.connect(postgres_url)
        write = "UPDATE saga_data SET patch = $1 WHERE saga_id = $2"
        await psql.execute(write, '{"n": 1e400}', damaged.id)
        async with Manager.open(
            store=postgres_url, broker=rabbit_url, handlers=[near.handlers]
        ) as manager:
            for saga in sagas:
                assert (await manager.wait(saga.id, timeout=90)).is_completed
            await eventually(lambda: _reason(psql, damaged.id, "cannot be read"))
            later = await manager.start("s", near.chain("a"))
            assert (await manager.wait(later.id, timeout=90)).is_completed
            await psql.execute(write, '{"n": 1}', damaged.id)
            assert (await manager.wait(damaged.id, timeout=90)).is_completed
        await psql.close()
    assert len(near.runs) == len(sagas) + 2


async def _reason(psql: asyncpg.Connection, saga_id: str, words: str) -> bool:
    query = "SELECT error FROM saga_outbox WHERE saga_id = $1"
    return words in str(await psql.fetchval(query, saga_id))


# -- confirms ------------------------------------------------------------------

ACK, NACK = 80, 120


def confirm(frame: bytes, method: int, tag: int, *, multiple: bool) -> bytes:
    """Return a confirm, for the channel of another one."""
    payload = struct.pack(">HHQB", 60, method, tag, multiple)
    return frame[:3] + struct.pack(">I", len(payload)) + payload + b"\xce"


def confirmed_by(frame: bytes) -> range:
    """Return the tags that a confirm from the broker is about."""
    tag, multiple = struct.unpack_from(">QB", frame, 11)
    return range(1 if multiple else tag, tag + 1)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RabbitBroker]:
    """Open a handle that does not wait long for a confirm."""
    broker = RabbitBroker(url, publish_timeout=1, rng=random.Random(1))
    try:
        await broker.open()
        yield broker
    finally:
        await broker.close()


def lost(seen: Seen, data: bytes) -> bytes:
    """Let no confirm through; the connection stays."""
    return b"" if seen.is_confirm else data


def refused(seen: Seen, data: bytes) -> bytes:
    """Make a refusal of each confirm."""
    if not seen.is_confirm:
        return data
    tags = confirmed_by(data)
    return confirm(data, NACK, tags[-1], multiple=len(tags) > 1)


@pytest.mark.parametrize("alter", [lost, refused])
@pytest.mark.usefixtures("short_claims")
async def test_a_confirm_that_does_not_come(
    wires: Wires, alter, postgres_url: str
) -> None:
    """Lost, or negative: sent again and told, until it is confirmed; done once."""
    near = Service("near")
    sent_again = wires.broker.published
    near.does["a"] = lambda _: eventually(lambda: sent_again["a"] >= 2)
    async with opened(wires.urls["broker"]) as broker:
        wires.broker.alter = alter
        async with Manager.open(
            store=postgres_url, migrate=True, broker=broker, handlers=[near.handlers]
        ) as manager:
            saga = await manager.start("s", near.chain("ab"))
            await eventually(lambda: "near.a: commands not" in str(manager.problems()))
            wires.broker.alter = unaltered
            assert (await manager.wait(saga.id, timeout=90)).is_completed
            other = await manager.start("s", near.chain("a"))
            assert (await manager.wait(other.id, timeout=90)).is_completed
            await until_well(manager)
            await eventually(lambda: _is_settled(manager, saga.id))


async def _is_settled(manager: Manager, saga_id: str) -> bool:
    return not (await manager.record(saga_id)).outbox


async def test_one_confirm_for_several(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Each message it speaks for gets its receipt, yes or no, and no other does."""
    told: set[int] = set()

    def gathered(seen: Seen, data: bytes) -> bytes:
        if not seen.is_confirm:
            return data
        told.update(confirmed_by(data))
        if len(told) < 50:
            return b""
        yes = confirm(data, ACK, 20, multiple=True)
        no = confirm(data, NACK, 40, multiple=True)
        return yes + no + confirm(data, ACK, 50, multiple=True)

    work = QueueSpec("work", ("step.a",))
    async with (
        AmqpTap(rabbit_server.port) as tap,
        opened(tap.through(rabbit_url)) as broker,
    ):
        await broker.declare(work)
        tap.alter = gathered
        messages = [OutgoingMessage("step.a", b'{"n": %d}' % n, "x") for n in range(50)]
        receipts = await broker.publish(messages)
        tap.alter = unaltered
        assert await broker.publish(messages) == [Receipt.CONFIRMED] * 50
    yes, no = Receipt.CONFIRMED, Receipt.UNKNOWN
    assert receipts == [yes] * 20 + [no] * 20 + [yes] * 10
