"""deploy/rabbitmq on a private node: its users can do their work, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from handlers import orders
from saga_orchestrator import Handlers, Manager
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.brokers.rabbitmq.queues import queue_arguments
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.runtime.receiver import queue_of
from saga_orchestrator.settings import Settings
from saga_orchestrator.wire.topology import Topology
from tests.support.exposition import total
from tests.support.rabbitmq import RabbitServer
from tests.support.waiting import eventually
from tests.unit.handlers.books import books_of, services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.slow

_FOLDER = Path(__file__).parents[2] / "deploy" / "rabbitmq"
_DEFINITIONS = json.loads((_FOLDER / "definitions.json").read_text())
_SERVICES = services_of(orders)
_ORDER = {
    "customer_id": "c-1",
    "sku": "book",
    "quantity": 2,
    "card": "card-gold",
    "country": "CH",
}
_NAMES = Topology()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A password for each user of the file."""
    folder = tmp_path_factory.mktemp("secrets")
    for user in _DEFINITIONS["users"]:
        (folder / user["name"]).write_text(f"password of {user['name']}\n")
    return folder


@pytest.fixture(scope="module")
def definitions(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the passwords filled in."""
    spec = importlib.util.spec_from_file_location(
        "fill_in_passwords", _FOLDER / "fill_in_passwords.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    filled = tmp_path_factory.mktemp("etc") / "definitions.json"
    filled.write_text(module.filled_in(_FOLDER / "definitions.json", secrets))
    return filled


@pytest.fixture(scope="module")
def node(definitions: Path) -> Iterator[RabbitServer]:
    """A node with our rabbitmq.conf, but for the place of the file, and disk space."""
    config = (_FOLDER / "rabbitmq.conf").read_text()
    config = config.replace("/etc/rabbitmq/definitions.json", str(definitions))
    server = RabbitServer(config=config.replace("disk_free_limit.relative = 1.0", ""))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def url_of(node: RabbitServer) -> Callable[[str], str]:
    """The address for a user."""
    return lambda user: node.url("saga", f"{user}:password%20of%20{user}")


@contextlib.asynccontextmanager
async def _channel(url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel(on_return_raises=True)


def _user(service: Handlers) -> str:
    return f"saga-{service.service}"


async def test_a_system_runs_with_these_users(
    postgres_url, url_of, monkeypatch, tmp_path
):
    """An orchestrator and a worker for each service: sagas complete and are undone."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(books_of(orders, tmp_path, monkeypatch))
        manager = await stack.enter_async_context(
            Manager.open(
                store=postgres_url,
                migrate=True,
                broker=url_of("saga-orchestrator"),
                engine=True,
            )
        )
        workers = [
            await stack.enter_async_context(
                open_worker(_settings_of(url_of(_user(service))), [service])
            )
            for service in _SERVICES
        ]
        good = await manager.start(orders.order, context=_ORDER)
        bad = await manager.start(orders.order, context={**_ORDER, "country": "AQ"})
        assert (await manager.wait(good.id, timeout=60)).is_completed
        assert (await manager.wait(bad.id, timeout=60)).is_compensated
        for process in (manager, *workers):
            assert process.problems() == []
        for service in _SERVICES:
            queue = queue_of(service, Direction.ACTION, _NAMES).name
            assert total("saga_queue_consumers", queue=queue) == 1


def _settings_of(url: str) -> Settings:
    """Return a worker's, with the gauges of its queues: it may look at them."""
    return Settings(broker=url, metrics="127.0.0.1:0")


def test_every_sample_service_has_a_user() -> None:
    """And its rights on the exchange cover all that it serves."""
    topics = {right["user"]: right for right in _DEFINITIONS["topic_permissions"]}
    assert set(topics) == {_user(service) for service in _SERVICES}
    for service in _SERVICES:
        stem = topics[_user(service)]["read"]
        for direction in Direction:
            for key in queue_of(service, direction, _NAMES).routing_keys:
                assert re.search(stem, key)


def test_queues_are_as_the_program_declares_them() -> None:
    """Else the program would be refused with its arguments."""
    found = {queue["name"]: queue["arguments"] for queue in _DEFINITIONS["queues"]}
    assert found == {
        _NAMES.replies: queue_arguments(
            QueueSpec(_NAMES.replies, dead_letter=_NAMES.dead)
        ),
        _NAMES.undelivered: queue_arguments(QueueSpec(_NAMES.undelivered)),
        _NAMES.dead: queue_arguments(QueueSpec(_NAMES.dead)),
    }
    (exchange,) = _DEFINITIONS["exchanges"]
    assert (exchange["name"], exchange["type"]) == (_NAMES.exchange, "topic")


@pytest.fixture
async def administrator(node: RabbitServer) -> AsyncIterator[str]:
    """The address of a user who may do everything."""
    ctl = node.rabbitmqctl
    await asyncio.to_thread(ctl, "add_user", "admin", "admin")
    rights = ("set_permissions", "-p", "saga", "admin", ".*", ".*", ".*")
    await asyncio.to_thread(ctl, *rights)
    yield node.url("saga", "admin:admin")
    await asyncio.to_thread(ctl, "delete_user", "admin")


async def test_a_queue_without_arguments_gets_them_by_policy(administrator):
    """What a foreign service cannot process ends where the orchestrator looks."""
    async with _channel(administrator) as channel:
        quorum = {"x-queue-type": "quorum"}
        queue = await channel.declare_queue(
            "saga.steps.foreign", durable=True, arguments=quorum
        )
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), queue.name)
        deliveries = 0

        async def is_gone() -> bool:
            nonlocal deliveries
            if message := await queue.get(fail=False):
                deliveries += 1
                await message.reject(requeue=True)
            undelivered = await channel.get_queue(_NAMES.undelivered)
            return undelivered.declaration_result.message_count == 1

        await eventually(is_gone)
        assert deliveries == 21
        await (await channel.get_queue(_NAMES.undelivered)).purge()
        await queue.delete(if_unused=False, if_empty=False)


async def test_what_is_parked_has_no_such_limit(node):
    """A policy of 20 on saga.dead would drop what a person has looked at 20 times."""
    listed = await asyncio.to_thread(
        node.rabbitmqctl,
        *("list_queues", "-p", "saga", "--formatter", "json", "name", "policy"),
    )
    policies = {row["name"]: row["policy"] for row in json.loads(listed)}
    for parked in (_NAMES.replies, _NAMES.undelivered, _NAMES.dead):
        assert not policies[parked]


def test_a_running_node_takes_them_too(node, definitions):
    """An import by hand, again and again, changes nothing that is there."""
    before = node.rabbitmqctl("list_permissions", "-p", "saga", "--formatter", "json")
    node.rabbitmqctl("import_definitions", str(definitions))
    after = node.rabbitmqctl("list_permissions", "-p", "saga", "--formatter", "json")
    assert len(json.loads(before)) == len(_DEFINITIONS["users"])
    assert before == after


async def test_guest_is_not_there(node):
    """A node that takes its users from the file makes none of its own."""
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(node.url("saga"))


async def test_a_password_is_needed(node):
    """A user with another password is refused."""
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(node.url("saga", "saga-orchestrator:"))


_FORBIDDEN: dict[str, tuple[str, Callable[[Any], Any]]] = {}


def _forbidden(user: str):
    def note(attempt: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _FORBIDDEN[attempt.__name__.strip("_")] = (user, attempt)
        return attempt

    return note


@_forbidden("saga-payments")
async def _read_the_answers_of_others(channel):
    await (await channel.get_queue(_NAMES.replies, ensure=False)).get(fail=False)


@_forbidden("saga-payments")
async def _send_commands(channel):
    exchange = await channel.get_exchange(_NAMES.exchange, ensure=False)
    await exchange.publish(aio_pika.Message(b"{}"), "step.shipping.schedule")


@_forbidden("saga-payments")
async def _take_the_commands_of_others(channel):
    queue = await channel.declare_queue(
        "saga.steps.payments",
        durable=True,
        arguments=queue_arguments(
            QueueSpec("saga.steps.payments", dead_letter=_NAMES.undelivered)
        ),
    )
    await queue.bind(_NAMES.exchange, "step.shipping.schedule")


@_forbidden("saga-payments")
async def _take_all_commands(channel):
    queue = await channel.get_queue("saga.steps.payments", ensure=False)
    await queue.bind(_NAMES.exchange, "#")


@_forbidden("saga-payments")
async def _make_a_queue_for_another_service(channel):
    await channel.declare_queue("saga.steps.shipping", durable=True)


@_forbidden("saga-payments")
async def _delete_the_queue_of_answers(channel):
    await channel.queue_delete(_NAMES.replies)


@_forbidden("saga-orchestrator")
async def _delete_a_service_queue(channel):
    await channel.queue_delete("saga.steps.payments")


@_forbidden("saga-orchestrator")
async def _take_a_service_queue(channel):
    queue = await channel.get_queue("saga.steps.payments", ensure=False)
    await queue.get(fail=False)


@_forbidden("saga-monitoring")
async def _publish(channel):
    await channel.default_exchange.publish(aio_pika.Message(b"{}"), _NAMES.replies)


@_forbidden("saga-monitoring")
async def _read(channel):
    await (await channel.get_queue(_NAMES.dead, ensure=False)).get(fail=False)


@pytest.mark.parametrize("attempt", _FORBIDDEN)
async def test_what_they_must_not_do_is_refused(url_of, attempt):
    """The broker says access refused."""
    async with open_worker(
        Settings(broker=url_of("saga-payments")),
        [service for service in _SERVICES if service.service == "payments"],
    ):
        user, act = _FORBIDDEN[attempt]
        async with _channel(url_of(user)) as channel:
            with pytest.raises(ChannelAccessRefused):
                await act(channel)
