"""Dead letters and limits on our queues: rows F31 to F33 of the faults.

A private RabbitMQ, with the policies that an administrator may set on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aio_pika
import pytest

from saga_orchestrator import Manager, Outcome
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from saga_orchestrator.settings import Settings
from tests.support.administrator import Administrator, attentive_engine
from tests.support.inbox import Inbox
from tests.support.stranger import stranger
from tests.support.waiting import eventually, until_well
from tests.unit.runtime.stage import ONCE, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow

WORK = QueueSpec("work", dead_letter="parked", delivery_limit=3)
FAR = Service("far")


@pytest.fixture
def administrator(rabbit_server: RabbitServer, rabbit_url: str) -> Administrator:
    """Whoever else has access to the test's virtual host."""
    return Administrator(rabbit_server, rabbit_url)


class Rejecting:
    """A consumer that gives every message back.

    Attributes:
        count: how many it gave back.
    """

    def __init__(self, url: str, queue: str) -> None:
        self._url = url
        self._queue = queue
        self.count = 0

    async def __aenter__(self) -> Rejecting:
        self._connection = await aio_pika.connect(self._url)
        channel = await self._connection.channel()
        await channel.set_qos(50)
        queue = await channel.get_queue(self._queue)
        await queue.consume(self._reject)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._connection.close()

    async def _reject(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.count += 1
        await message.reject(requeue=True)


async def _make_queues(url: str) -> None:
    """Let the service ``far`` make its queues, and go."""
    async with open_worker(Settings(broker=url), [Service("far").handlers]):
        pass


# -- dead letters --------------------------------------------------------------


async def test_dead_letters_do_not_go_round(postgres_url, rabbit_url, administrator):
    """Under a policy that leads every queue back, each is set aside once."""
    near = Service("near")
    async with (
        attentive_engine(postgres_url, rabbit_url, near.handlers) as manager,
        stranger(rabbit_url, serves=False) as other,
    ):
        await administrator.policy(".*", **_BACK)
        doors = ["saga.steps.near", "saga.replies", "saga.undelivered"]
        for queue in doors:
            await other.send(b"{", queue)
        parked = [await other.parked() for _ in doors]
        assert sorted(one.headers["saga-queue"] for one in parked) == sorted(doors)
        saga = await manager.start("s", near.chain())
        assert (await manager.wait(saga.id, timeout=30)).is_completed
        assert manager._engine._intake._parking.parked == len(doors)


_BACK = {"dead-letter-exchange": "", "dead-letter-routing-key": "saga.steps.far"}


async def test_a_command_that_is_rejected_for_ever_ends_as_unknown(
    postgres_url, rabbit_url, administrator
):
    """Twenty deliveries, then it settles its step, once; its saga turns back."""
    await administrator.policy(".*", **_BACK)
    await _make_queues(rabbit_url)
    async with attentive_engine(postgres_url, rabbit_url) as manager:
        async with Rejecting(rabbit_url, "saga.steps.far") as rejecting:
            saga = await manager.start("s", FAR.chain("a", retry=ONCE))
            await eventually(lambda: _turned_back(manager, saga.id))
        async with open_worker(Settings(broker=rabbit_url), [Service("far").handlers]):
            saga = await manager.wait(saga.id, timeout=30)
    assert rejecting.count == 20
    assert saga.is_compensated
    assert saga.status("a").outcome is Outcome.UNKNOWN
    assert "delivery_limit in saga.steps.far" in saga.reason


async def _turned_back(manager: Manager, saga_id: str) -> bool:
    return (await manager.get(saga_id)).state is not SagaState.STARTED


@pytest.fixture
def hasty(rabbit_server: RabbitServer) -> Iterator[None]:
    """Let the broker try a dead letter again after a second, not three minutes."""
    setting = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout"
    rabbit_server.rabbitmqctl("eval", f"{setting}, 1000).")
    yield
    rabbit_server.rabbitmqctl("eval", f"{setting}, 180000).")


@pytest.fixture
async def broker(rabbit_url: str) -> AsyncIterator[RabbitBroker]:
    """A handle that does not look at its queues by itself."""
    opened = RabbitBroker(rabbit_url, check_interval=600)
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.usefixtures("hasty")
async def test_a_dead_letter_waits_for_its_queue(broker, administrator, rabbit_url):
    """With its target deleted it stays where it is, and arrives when that is back."""
    await broker.declare(WORK)
    await administrator.delete("parked")
    message = OutgoingMessage("work", b"poison", "saga.commands", exchange="")
    assert await broker.publish([message]) == [Receipt.CONFIRMED]
    async with Rejecting(rabbit_url, "work") as rejecting:
        await eventually(lambda: rejecting.count == WORK.delivery_limit)
        inbox = Inbox(ack=True)
        await broker.declare(WORK)
        await broker.consume(QueueSpec("parked"), inbox, prefetch=10)
        dead = await inbox.next()
    assert (dead.body, rejecting.count) == (b"poison", WORK.delivery_limit)
    assert dead.headers["x-first-death-reason"] == "delivery_limit"
    assert dead.headers["x-first-death-queue"] == "work"


# -- limits --------------------------------------------------------------------


@pytest.mark.usefixtures("short_claims")
async def test_a_queue_that_may_hold_three_messages(
    wires, postgres_url, rabbit_url, administrator
):
    """What it refuses stays in the outbox and is published again: none is lost."""
    await administrator.policy("^saga.steps", **{"max-length": 3})
    await _make_queues(rabbit_url)
    far = Service("far")
    async with attentive_engine(postgres_url, wires.urls["broker"]) as manager:
        sagas = [await manager.start("s", far.chain("a")) for _ in range(40)]
        await eventually(lambda: wires.broker.published["a"] > len(sagas))
        assert wires.broker.refused
        async with open_worker(Settings(broker=rabbit_url), [far.handlers]):
            for saga in sagas:
                assert (await manager.wait(saga.id, timeout=60)).is_completed


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"message-ttl": 50}, "expired"),
        ({"max-length": 1, "overflow": "drop-head"}, "maxlen"),
    ],
)
async def test_a_queue_that_drops_what_it_took(
    postgres_url, rabbit_url, administrator, policy, reason
):
    """Its step counts as unknown, with the reason; the queue is among the problems."""
    await administrator.policy("^saga.steps", **policy)
    await _make_queues(rabbit_url)
    far = Service("far")
    async with attentive_engine(postgres_url, rabbit_url) as manager:
        dropped = await manager.start("s", FAR.chain("a", retry=ONCE))
        await eventually(lambda: _is_sent(manager, dropped.id))
        await manager.start("s", FAR.chain("a", retry=ONCE))
        await eventually(lambda: _turned_back(manager, dropped.id))
        assert "'saga.steps.far' drops messages" in str(manager.problems())
        async with open_worker(Settings(broker=rabbit_url), [far.handlers]):
            saga = await manager.wait(dropped.id, timeout=30)
    assert saga.is_compensated
    assert f"was dead-lettered: {reason} in saga.steps.far" in saga.reason


async def test_dead_letters_that_may_be_two(postgres_url, rabbit_url, administrator):
    """The oldest stay; what is too many waits where it was, and that is told."""
    async with (
        attentive_engine(postgres_url, rabbit_url) as manager,
        stranger(rabbit_url, serves=False) as other,
    ):
        await administrator.policy("^saga.dead$", **{"max-length": 2})
        bodies = [b"[%d" % number for number in range(9)]
        for body in bodies:
            await other.send(body)
        await eventually(lambda: "saga.dead: dead letter" in str(manager.problems()))
        await administrator.policy("^saga.dead$", **{"max-length": 100})
        parked = [await other.parked() for _ in bodies]
        assert sorted(one.body for one in parked) == bodies
        await until_well(manager)


async def _is_sent(manager: Manager, saga_id: str) -> bool:
    return not (await manager.record(saga_id)).outbox
