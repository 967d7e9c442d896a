"""What only the in-process broker does: faults on request, crashes, names."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.ports.broker import (
    OutgoingMessage,
    QueueSpec,
    QueueStats,
    Receipt,
)
from tests.support.inbox import Inbox
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

WORK = QueueSpec("work", ("step.a",), dead_letter="parked")


@dataclass
class Faults:
    """Does wrong what the test says, and the acks of the first few deliveries."""

    stored: int = 1
    confirm_lost: bool = False
    delay: float = 0
    acks_to_lose: int = 0

    def copies(self, message: OutgoingMessage) -> int:
        """Return how often the message is stored."""
        del message
        return self.stored

    def loses_confirm(self, message: OutgoingMessage) -> bool:
        """Tell whether the confirm is lost."""
        del message
        return self.confirm_lost

    def delivery_delay(self, queue: str) -> float:
        """Return the delay."""
        del queue
        return self.delay

    def loses_ack(self, queue: str) -> bool:
        """Tell whether this ack is one of the lost."""
        del queue
        self.acks_to_lose -= 1
        return self.acks_to_lose >= 0


@dataclass
class HeldClock:
    """A clock whose sleepers wake when the test says so."""

    slept: list[float] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> dt.datetime:
        """Return a fixed instant."""
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def monotonic(self) -> float:
        """Return a fixed reading."""
        return 0

    async def sleep(self, seconds: float) -> None:
        """Note the duration; wait for the test unless it is zero."""
        if seconds:
            self.slept.append(seconds)
            await self.wake.wait()


async def opened(
    faults: Faults | None = None, *, name: str = "", clock: HeldClock | None = None
) -> MemoryBroker:
    """Return an open handle with the work queue declared."""
    broker = MemoryBroker(f"memory://{name}", faults=faults, clock=clock)
    await broker.open()
    await broker.declare(WORK)
    return broker


def messages(count: int) -> Sequence[OutgoingMessage]:
    """Return messages for the work queue that differ in their body."""
    return [OutgoingMessage("step.a", b"%d" % n, "t") for n in range(count)]


async def test_a_duplicated_message_is_stored_twice() -> None:
    """A fault makes two of one publish; the publisher sees one receipt."""
    broker = await opened(Faults(stored=2))
    assert await broker.publish(messages(1)) == [Receipt.CONFIRMED]
    assert await broker.stats("work") == QueueStats(ready=2, consumers=0)


async def test_a_lost_message_is_confirmed_all_the_same() -> None:
    """A broker that loses messages says nothing of it."""
    broker = await opened(Faults(stored=0))
    assert await broker.publish(messages(1)) == [Receipt.CONFIRMED]
    assert await broker.stats("work") == QueueStats(ready=0, consumers=0)


async def test_a_lost_confirm_leaves_the_message() -> None:
    """The receipt is unknown and the message is there."""
    broker = await opened(Faults(confirm_lost=True))
    assert await broker.publish(messages(1)) == [Receipt.UNKNOWN]
    assert await broker.stats("work") == QueueStats(ready=1, consumers=0)


async def test_a_delayed_delivery_waits_on_the_clock() -> None:
    """The handler is called when the clock has passed the delay, not before."""
    clock = HeldClock()
    broker, inbox = await opened(Faults(delay=2.5), clock=clock), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=5)
    await broker.publish(messages(2))
    await eventually(lambda: clock.slept == [2.5, 2.5])
    assert inbox.seen == []
    clock.wake.set()
    await inbox.take(2)
    await broker.close()


async def test_a_lost_ack_brings_the_message_again() -> None:
    """The message comes again, marked, until an ack arrives."""
    broker, inbox = await opened(Faults(acks_to_lose=2)), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=1)
    await broker.publish(messages(1))
    got = await inbox.take(3)
    assert [delivery.redelivered for delivery in got] == [False, True, True]
    assert await broker.stats("work") == QueueStats(ready=0, consumers=1)
    await broker.close()


async def test_a_crashed_handle_gives_back_what_it_had() -> None:
    """After a crash its consumers are gone, and its acks do nothing."""
    broker, inbox = await opened(name="crash"), Inbox()
    consumer = await broker.consume(WORK, inbox, prefetch=5)
    await broker.publish(messages(2))
    held = await inbox.take(2)
    broker.crash()
    await held[0].ack()
    assert not consumer.is_live
    assert await broker.publish(messages(1)) == [Receipt.UNKNOWN]
    other, second = await opened(name="crash"), Inbox(ack=True)
    await other.consume(WORK, second, prefetch=5)
    again = await second.take(2)
    assert all(delivery.redelivered for delivery in again)
    await other.close()


async def test_a_cut_connection_redelivers_to_the_same_consumer() -> None:
    """The old delivery's ack does nothing, the new one's counts."""
    broker, inbox = await opened(), Inbox()
    consumer = await broker.consume(WORK, inbox, prefetch=5)
    await broker.publish(messages(1))
    old = await inbox.next()
    broker.cut_connection()
    new = await inbox.next()
    await old.ack()
    broker.cut_connection()
    await (await inbox.next()).ack()
    await new.ack()
    broker.cut_connection()
    assert consumer.is_live
    assert len(inbox.seen) == 3
    assert await broker.stats("work") == QueueStats(ready=0, consumers=1)
    await broker.close()


async def test_the_empty_name_is_private() -> None:
    """Two handles without a name share nothing; two with the same name do."""
    alone, apart = await opened(), await opened()
    one, two = await opened(name="shared"), await opened(name="shared")
    await alone.publish(messages(1))
    await one.publish(messages(1))
    assert await apart.stats("work") == QueueStats(ready=0, consumers=0)
    assert await two.stats("work") == QueueStats(ready=1, consumers=0)


async def test_deliveries_start_in_the_order_of_publishing() -> None:
    """With one consumer and no faults every run is the same."""
    broker, inbox = await opened(), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=3)
    await broker.publish(messages(20))
    got = await inbox.take(20)
    assert [delivery.body for delivery in got] == [b"%d" % n for n in range(20)]
    await broker.close()
