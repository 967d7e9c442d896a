"""What an administrator takes away, or limits: rows F42, and F44 to F46.

The engine's user is its own, with a password and permissions that can be changed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aio_pika
import pytest

from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.errors import BrokerUnavailableError, TopologyError
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from saga_orchestrator.settings import Settings
from saga_orchestrator.wire.envelope import MESSAGE_BYTES_MAX
from tests.support.administrator import Administrator, attentive_engine
from tests.support.inbox import Inbox
from tests.support.rabbitmq import vhost_of
from tests.support.waiting import eventually, until_well
from tests.support.wiretap import AmqpTap
from tests.unit.runtime.stage import TOPOLOGY, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow

ALL = (".*", ".*", ".*")  # to configure, to write, to read
OPENINGS_A_SECOND = 40.0
"""Channels: two for each look at a queue, and one for each publish that failed."""


class Permits:
    """What the engine's user may do.

    Attributes:
        url: the virtual host, as that user.
    """

    def __init__(self, server: RabbitServer, vhost_url: str) -> None:
        self._vhost = vhost_of(vhost_url)
        self._user = f"user-{self._vhost}"
        self._server = server
        self._administrator = Administrator(server, vhost_url)
        self.url = server.url(self._vhost, login=f"{self._user}:right")

    async def grant(self, *permissions: str) -> None:
        """Set what the user may configure, write and read."""
        await self.ctl("set_permissions", "-p", self._vhost, self._user, *permissions)

    async def ctl(self, *arguments: str) -> None:
        """Run ``rabbitmqctl``."""
        await self._administrator.ctl(*arguments)

    async def take(self, what: str) -> None:
        """Take something away."""
        match what:
            case "write":
                await self.grant(".*", "^$", ".*")
            case "password":
                await self.ctl("change_password", self._user, "wrong")
                await asyncio.to_thread(self._server.close_connections)
            case "vhost":
                await self.ctl("delete_vhost", self._vhost)
            case "connections":
                limits = '{"max-connections": 0}'
                await self.ctl("set_vhost_limits", "-p", self._vhost, limits)
                await asyncio.to_thread(self._server.close_connections)

    async def give_back(self, what: str) -> None:
        """Give it back."""
        match what:
            case "password":
                await self.ctl("change_password", self._user, "right")
            case "vhost":
                await self.ctl("add_vhost", self._vhost)
                await self.grant(*ALL)
            case "connections":
                await self.ctl("clear_vhost_limits", "-p", self._vhost)
            case _:
                await self.grant(*ALL)

    async def add_user(self) -> None:
        """Make the user."""
        await self.ctl("add_user", self._user, "right")
        await self.grant(*ALL)

    async def remove_user(self) -> None:
        """Delete the user."""
        await self.ctl("delete_user", self._user)


@pytest.fixture
async def permits(
    rabbit_server: RabbitServer, rabbit_url: str
) -> AsyncIterator[Permits]:
    """A user of the test alone, who may do everything."""
    made = Permits(rabbit_server, rabbit_url)
    await made.add_user()
    yield made
    await made.remove_user()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("write", "permit it (rabbitmqctl set_permissions)"),
        ("password", "was refused; check the user and the password"),
        ("vhost", "was refused; create it (rabbitmqctl add_vhost)"),
        ("connections", "have more connections (rabbitmqctl set_vhost_limits)"),
    ],
)
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("short_claims")
async def test_what_an_administrator_takes_away(
    postgres_url: str,
    rabbit_server: RabbitServer,
    permits: Permits,
    what: str,
    told: str,
) -> None:
    """Told with what to do, asked for without haste, and well when it is back."""
    near = Service("near")
    async with (
        AmqpTap(rabbit_server.port) as tap,
        attentive_engine(
            postgres_url, tap.through(permits.url), near.handlers
        ) as manager,
    ):
        first = await manager.start("s", near.chain())
        assert (await manager.wait(first.id, timeout=90)).is_completed
        await permits.take(what)
        await eventually(lambda: told in str(manager.problems()))
        sagas = [await manager.start("s", near.chain()) for _ in range(20)]
        before, since = tap.channels, time.monotonic()
        await eventually(lambda: time.monotonic() > since + 1)
        rate = (tap.channels - before) / (time.monotonic() - since)
        assert rate < OPENINGS_A_SECOND
        await permits.give_back(what)
        for saga in sagas:
            # What a virtual host took with it is sent again after two minutes.
            assert (await manager.wait(saga.id, timeout=240)).is_completed
        await until_well(manager)


# -- queues that are not ours --------------------------------------------------


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize("queue", ["saga.replies", "saga.steps.far", "saga.dead"])
async def test_a_classic_queue_by_mistake(
    rabbit_url: str, queue: str, is_durable: bool
) -> None:
    """Refused at the start, by name: what it takes may be lost with its node."""
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=is_durable)
    with pytest.raises(TopologyError, match=rf"'{queue}'.* durable quorum queue"):
        await open_worker(Settings(broker=rabbit_url), [Service("far").handlers])


async def test_an_exchange_that_is_not_durable_by_mistake(rabbit_url: str) -> None:
    """Refused at the start, and told from a queue."""
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange("sagas", "topic", durable=False)
    broker = RabbitBroker(rabbit_url)
    with pytest.raises(TopologyError, match=r"'sagas'.* durable topic exchange"):
        await broker.open()
    await broker.close()


async def test_a_user_who_may_not_declare_is_told(permits: Permits) -> None:
    """A missing permission is an error at the start, also where it may be away."""
    await permits.grant("^$", ".*", ".*")
    for may_be_away in (False, True):
        broker = RabbitBroker(permits.url)
        with pytest.raises(BrokerUnavailableError, match=r"'sagas'.*set_permissions"):
            await broker.open(may_be_away=may_be_away)
        await broker.close()


# -- sizes and times -----------------------------------------------------------


async def test_the_largest_message_of_ours_arrives(rabbit_url: str) -> None:
    """Our limit is below the broker's: what passes ours arrives as it was."""
    body = b"[" + b"1," * (MESSAGE_BYTES_MAX // 2 - 1) + b"1]"
    assert len(body) in (MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1)
    inbox = Inbox(ack=True)
    broker = RabbitBroker(rabbit_url)
    await broker.open()
    await broker.consume(QueueSpec("work", ("step.a",)), inbox, prefetch=1)
    message = OutgoingMessage("step.a", body, "saga.commands")
    assert await broker.publish([message]) == [Receipt.CONFIRMED]
    assert (await inbox.next()).body == body
    await broker.close()


async def test_nothing_of_ours_expires_on_the_broker(
    postgres_url: str, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """No TTL on a queue or a message: deadlines are rows, by the store's clock."""
    far = Service("far")
    async with attentive_engine(postgres_url, rabbit_url) as manager:
        async with open_worker(Settings(broker=rabbit_url), [far.handlers]):
            pass
        await manager.start("s", far.chain("a"))
        async with await aio_pika.connect(rabbit_url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("saga.steps.far")
            found: list[aio_pika.abc.AbstractIncomingMessage] = []

            async def look() -> bool:
                got = await queue.get(fail=False)
                found.extend([got] if got else [])
                return bool(found)

            await eventually(look)
            assert found[0].expiration is None
            assert found[0].delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        columns = ("arguments", "durable", "auto_delete", "type")
        queues = await asyncio.to_thread(rabbit_server.queues, rabbit_url, *columns)
    assert {one["name"] for one in queues} == {
        *(TOPOLOGY.replies, TOPOLOGY.undelivered, TOPOLOGY.dead),
        *("saga.steps.far", "saga.compensate.far"),
    }
    for one in queues:
        kind = one["type"], one["durable"], one["auto_delete"]
        assert kind == ("quorum", True, False)
        assert not {"x-message-ttl", "x-expires"} & {
            name for name, *_ in one["arguments"]
        }
