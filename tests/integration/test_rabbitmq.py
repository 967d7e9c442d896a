"""What only the real RabbitMQ has: lost connections, alarms, deleted queues."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aio_pika
import pytest

from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    TopologyError,
)
from saga_orchestrator.ports.broker import (
    Delivery,
    OutgoingMessage,
    QueueSpec,
    Receipt,
)
from tests.support.inbox import Inbox
from tests.support.ports import free_port
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually, until_well

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow

WORK = QueueSpec("work", ("step.a",), dead_letter="parked", delivery_limit=3)
PARKED = QueueSpec("parked")


@contextlib.asynccontextmanager
async def opened(
    url: str, *, publish_timeout: float = 10, check_interval: float = 0.3
) -> AsyncIterator[RabbitBroker]:
    """Open a handle that mends itself faster than a user's."""
    broker = RabbitBroker(
        url,
        publish_timeout=publish_timeout,
        check_interval=check_interval,
        reconnect_interval=0.2,
    )
    try:
        await broker.open()
        yield broker
    finally:
        await broker.close()


def message(body: bytes = b"{}") -> OutgoingMessage:
    """Return a message for the work queue."""
    return OutgoingMessage("step.a", body, "saga.commands")


@contextlib.asynccontextmanager
async def administrator(url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Lend a plain channel for what our adapter never does."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        yield channel
        await channel.close()


# -- connecting --------------------------------------------------------------


async def test_a_wrong_password_is_told_and_not_shown(
    rabbit_server: RabbitServer,
) -> None:
    """A refused login is raised at once, with the user and without the password."""
    broker = RabbitBroker(rabbit_server.url(login="guest:s3cret"), open_timeout=60)
    with pytest.raises(BrokerUnavailableError, match="login 'guest'") as caught:
        await broker.open()
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(broker.problems())
    await broker.close()


async def test_a_missing_vhost_is_told(rabbit_server: RabbitServer) -> None:
    """A virtual host that does not exist is raised with the fix, which helps."""
    broker = RabbitBroker(rabbit_server.url("nowhere"), open_timeout=60)
    with pytest.raises(BrokerUnavailableError, match=r"'nowhere'.*add_vhost"):
        await broker.open()
    await asyncio.to_thread(rabbit_server.rabbitmqctl, "add_vhost", "nowhere")
    await asyncio.to_thread(
        rabbit_server.rabbitmqctl,
        *("set_permissions", "-p", "nowhere", "guest", ".*", ".*", ".*"),
    )
    await broker.open()
    assert broker.problems() == []
    await broker.close()


async def test_nobody_listening_is_told() -> None:
    """No broker at the address is raised when the patience ends."""
    broker = RabbitBroker(
        f"amqp://u:s3cret@127.0.0.1:{free_port()}/",
        open_timeout=0.3,
        reconnect_interval=0.1,
    )
    with pytest.raises(BrokerUnavailableError, match="is RabbitMQ running") as caught:
        await broker.open()
    assert "s3cret" not in str(caught.value)
    await broker.close()


async def test_open_waits_for_a_broker_that_comes_late(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """A start before the broker's is no error while the patience lasts."""
    late = TcpProxy(rabbit_server.port)
    late.port = free_port()
    broker = RabbitBroker(late.through(rabbit_url), reconnect_interval=0.1)
    opening = asyncio.ensure_future(broker.open())
    await eventually(lambda: "is RabbitMQ running" in str(broker.problems()))
    async with late:
        await opening
        assert broker.problems() == []
        await broker.close()


# -- losing the connection ---------------------------------------------------


async def test_a_cut_connection_leaves_no_receipt_open(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """With hundreds in flight each receipt is told, and no confirmed one is lost."""
    inbox = Inbox(ack=True)
    bodies = [b"%d" % number for number in range(2000)]
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        opened(rabbit_url) as receiver,
        opened(proxy.through(rabbit_url)) as sender,
    ):
        await receiver.consume(WORK, inbox, prefetch=200)
        async with asyncio.timeout(9):  # well before the publish timeout
            sending = asyncio.ensure_future(
                sender.publish([message(body) for body in bodies])
            )
            await inbox.take(20)
            proxy.cut()
            receipts = await sending
        confirmed = {
            body
            for body, receipt in zip(bodies, receipts, strict=True)
            if receipt is Receipt.CONFIRMED
        }
        assert set(receipts) == {Receipt.CONFIRMED, Receipt.UNKNOWN}
        await eventually(lambda: confirmed <= set(inbox.bodies))
        assert await sender.publish([message()]) == [Receipt.CONFIRMED]
        await until_well(sender)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await eventually(lambda: all(task.done() for task in others))


async def test_a_cut_connection_brings_the_consumer_back(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Unsettled messages come again, and an ack of the old delivery does nothing."""
    inbox = Inbox()
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        opened(proxy.through(rabbit_url)) as broker,
    ):
        consumer = await broker.consume(WORK, inbox, prefetch=10)
        await broker.publish([message()])
        old = await inbox.next()
        proxy.refuse(on=True)
        proxy.cut()
        await eventually(lambda: not consumer.is_live)
        assert broker.problems()
        proxy.refuse(on=False)
        again = await inbox.next()
        assert again.redelivered
        await eventually(lambda: consumer.is_live and not broker.problems())
        await old.ack()
        await again.ack()
        await broker.publish([message(b"new")])
        assert (await inbox.next()).body == b"new"
        assert consumer.is_live


async def test_a_cut_connection_does_not_end_handlers(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """A handler in the middle of its work goes on; only its ack is lost."""
    inside, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        inside.set()
        await go_on.wait()
        await delivery.ack()
        done.set()

    async with (
        TcpProxy(rabbit_server.port) as proxy,
        opened(proxy.through(rabbit_url)) as broker,
    ):
        consumer = await broker.consume(WORK, handler, prefetch=1)
        await broker.publish([message()])
        await inside.wait()
        proxy.cut()
        await eventually(lambda: not consumer.is_live)
        go_on.set()
        async with asyncio.timeout(5):
            await done.wait()


async def test_a_silent_network_makes_receipts_unknown(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """When nothing answers and nothing is closed, publish ends at its timeout."""
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        opened(proxy.through(rabbit_url), publish_timeout=0.5) as broker,
    ):
        await broker.declare(WORK)
        proxy.pause()
        async with asyncio.timeout(3):
            assert await broker.publish([message()] * 50) == [Receipt.UNKNOWN] * 50
        proxy.resume()
        await eventually(lambda: _confirms(broker))


async def test_a_dead_peer_is_found_by_heartbeats(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """A consumer that nothing reaches any more is given up, and comes back."""
    inbox = Inbox(ack=True)
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        opened(
            proxy.through(rabbit_url) + "?heartbeat=1", publish_timeout=40
        ) as broker,
    ):
        consumer = await broker.consume(WORK, inbox, prefetch=1)
        proxy.pause()
        sending = asyncio.ensure_future(broker.publish([message()]))
        await eventually(lambda: not consumer.is_live, seconds=30)
        assert "connection" in str(broker.problems())
        async with asyncio.timeout(10):
            assert await sending == [Receipt.UNKNOWN]
        proxy.resume()
        await eventually(lambda: consumer.is_live and not broker.problems())
        await eventually(lambda: _confirms(broker))
        await inbox.next()


async def test_an_administrator_closes_the_connections(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Closed from the broker's side, both connections come back."""
    inbox = Inbox(ack=True)
    async with opened(rabbit_url) as broker:
        await broker.consume(WORK, inbox, prefetch=10)
        await asyncio.to_thread(rabbit_server.close_connections)
        await eventually(lambda: _confirms(broker))
        await inbox.next()
        await until_well(broker)


async def test_a_killed_broker_loses_nothing_confirmed(
    killable_rabbit: RabbitServer,
) -> None:
    """After SIGKILL and restart every confirmed message and the consumers are there."""
    url = killable_rabbit.create_vhost()
    inbox = Inbox(ack=True)
    async with opened(url, publish_timeout=2) as broker:
        await broker.declare(WORK)
        await asyncio.to_thread(killable_rabbit.flush_new_queues)
        bodies = [b"%d" % number for number in range(500)]
        receipts = await broker.publish([message(body) for body in bodies])
        assert receipts == [Receipt.CONFIRMED] * 500
        blocked = Inbox()  # settles nothing
        await broker.consume(WORK, blocked, prefetch=10)
        await blocked.take(10)
        await asyncio.to_thread(killable_rabbit.kill)
        assert await broker.publish([message()]) == [Receipt.UNKNOWN]
        assert broker.problems()
        await asyncio.to_thread(killable_rabbit.start)
        await broker.consume(WORK, inbox, prefetch=100)
        unsettled = await blocked.take(10)
        for delivery in unsettled:
            await delivery.ack()
        ended = {delivery.body for delivery in unsettled}
        await eventually(
            lambda: set(bodies) <= {*inbox.bodies, *blocked.bodies} | ended
        )
        await until_well(broker)


# -- queues ------------------------------------------------------------------


async def test_a_deleted_queue_comes_back_with_its_consumer(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Deleted behind our back, queue, bindings and consumer are restored."""
    inbox = Inbox(ack=True)
    async with opened(rabbit_url) as broker:
        await broker.consume(WORK, inbox, prefetch=10)
        for _ in range(2):
            await asyncio.to_thread(rabbit_server.delete_queue, rabbit_url, "work")
            await eventually(lambda: _confirms(broker))
            await inbox.next()
        await until_well(broker)


async def test_a_deleted_exchange_comes_back_with_its_bindings(
    rabbit_url: str,
) -> None:
    """The periodic check restores an exchange that somebody deleted."""
    inbox = Inbox(ack=True)
    async with opened(rabbit_url) as broker:
        await broker.consume(WORK, inbox, prefetch=10)
        async with administrator(rabbit_url) as channel:
            await channel.exchange_delete("sagas")
        await eventually(lambda: _confirms(broker))
        await inbox.next()


async def test_a_classic_queue_of_the_same_name_is_refused(rabbit_url: str) -> None:
    """A queue of another type is a topology error that says so."""
    async with opened(rabbit_url) as broker:
        async with administrator(rabbit_url) as channel:
            await channel.declare_queue("work", durable=True)
        with pytest.raises(TopologyError, match=r"'work'.*ours is a durable quorum"):
            await broker.declare(WORK)
        with pytest.raises(TopologyError, match=r"'work'.*ours is a durable quorum"):
            await broker.consume(WORK, Inbox(), prefetch=1)
        assert broker.problems() == []


async def test_a_queue_replaced_by_another_type_is_a_problem(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """A running consumer reports the wrong queue, and is back when it is gone."""
    inbox = Inbox(ack=True)
    async with opened(rabbit_url) as broker, administrator(rabbit_url) as channel:
        consumer = await broker.consume(WORK, inbox, prefetch=10)
        while "quorum" not in str(broker.problems()):  # who declares first wins
            await asyncio.to_thread(rabbit_server.delete_queue, rabbit_url, "work")
            with contextlib.suppress(aio_pika.exceptions.ChannelPreconditionFailed):
                async with administrator(rabbit_url) as hasty:
                    await hasty.declare_queue("work", durable=True)
            await eventually(
                lambda: "quorum" in str(broker.problems()) or consumer.is_live
            )
        assert not consumer.is_live
        await channel.queue_delete("work")
        await eventually(lambda: consumer.is_live and not broker.problems())
        await eventually(lambda: _confirms(broker))
        await inbox.next()


async def test_crashed_consumers_lead_to_the_dead_letters(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """A message whose consumer dies each time is parked, with the reason."""
    inbox, parked = Inbox(), Inbox(ack=True)
    async with (
        TcpProxy(rabbit_server.port) as proxy,
        opened(proxy.through(rabbit_url)) as victim,
        opened(rabbit_url) as other,
    ):
        await other.consume(PARKED, parked, prefetch=1)
        await victim.consume(WORK, inbox, prefetch=1)
        await other.publish([message(b"poison")])
        for _ in range(3):
            await inbox.next()
            proxy.cut()
        dead = await parked.next()
        assert dead.body == b"poison"
        assert dead.headers["x-first-death-reason"] == "delivery_limit"
        assert dead.headers["x-first-death-queue"] == "work"
        assert len(inbox.seen) == 3


async def test_all_queues_are_durable_quorum_queues(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Every queue of ours survives a node; no message is dropped for length."""
    async with opened(rabbit_url) as broker:
        await broker.declare(WORK)
        await broker.publish([message()])
        listed = await asyncio.to_thread(
            rabbit_server.queues, rabbit_url, "type", "durable"
        )
    assert {(row["name"], row["type"], row["durable"]) for row in listed} == {
        ("work", "quorum", True),
        ("parked", "quorum", True),
    }


async def test_messages_are_persistent_json(rabbit_url: str) -> None:
    """Another client sees delivery mode 2, the kind as type, ids that differ."""
    async with opened(rabbit_url) as broker, administrator(rabbit_url) as channel:
        await broker.declare(WORK)
        await broker.publish([message(), message()])
        queue = await channel.get_queue("work")
        one, two = [await queue.get(timeout=5) for _ in range(2)]
        for got in (one, two):
            await got.ack()
    assert (one.delivery_mode, one.type) == (2, "saga.commands")
    assert one.content_type == "application/json"
    assert one.message_id != two.message_id


# -- alarms ------------------------------------------------------------------


async def test_a_memory_alarm_blocks_publishing_and_passes(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Publish ends at its timeout, acks still work, problems say blocked; it mends."""
    inbox = Inbox()
    async with opened(rabbit_url, publish_timeout=0.5) as broker:
        await broker.consume(WORK, inbox, prefetch=10)
        await broker.publish([message(b"before")])
        before = await inbox.next()
        await asyncio.to_thread(rabbit_server.set_memory_alarm, on=True)
        try:
            async with asyncio.timeout(5):
                assert await broker.publish([message()]) == [Receipt.UNKNOWN]
            await eventually(lambda: "blocked" in str(broker.problems()))
            await before.ack()
            await broker.declare(QueueSpec("other"))
        finally:
            await asyncio.to_thread(rabbit_server.set_memory_alarm, on=False)
        await eventually(lambda: _confirms(broker))
        await until_well(broker)


async def _confirms(broker: RabbitBroker) -> bool:
    return await broker.publish([message()]) == [Receipt.CONFIRMED]


@pytest.mark.parametrize(
    "url", ["amqp://", "amqp://h:99999/", "amqp://h:abc", "amqp://[::1"]
)
def test_a_url_that_cannot_be_read_is_a_configuration_error(url):
    """A typing mistake is told at once, with an example of the right form."""
    with pytest.raises(ConfigurationError, match="write amqp://user:password@host"):
        RabbitBroker(url)
