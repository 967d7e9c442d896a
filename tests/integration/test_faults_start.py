"""A broker that is away when a process starts: row F38 of the faults."""

from __future__ import annotations

import datetime as dt
import random
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, SagaDefinition, Step
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.errors import BrokerUnavailableError
from tests.support.ports import free_port
from tests.support.processes import ServerProcess
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually, until_well
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow

_HANDLERS = '''
"""A service."""
from saga_orchestrator import Handlers

service = Handlers("far")


@service.step("far.a")
async def act(ctx):
    return "done"
'''
WORK = SagaDefinition("work", [Step("a", action="far.a")])
LATE = SagaDefinition(
    "late",
    [
        Step(
            "a",
            action="far.a",
            timeout=dt.timedelta(seconds=1),
            limit=dt.timedelta(seconds=1),
        )
    ],
)


class Daemons:
    """`saga` processes with a broker URL, and what they write."""

    def __init__(self, folder: Path, broker: str) -> None:
        self._folder = folder
        self._broker = broker
        (folder / "far.py").write_text(_HANDLERS)
        self.running: list[ServerProcess] = []

    def start(self, *arguments: str) -> ServerProcess:
        """Start one."""
        command = [*(sys.executable, "-m", "saga_orchestrator"), *arguments]
        command += ["--broker", self._broker, "--app-dir", str(self._folder)]
        process = ServerProcess(command, self._folder / f"{arguments[0]}.log")
        self.running.append(process)
        return process


@pytest.fixture
def late_broker(rabbit_server: RabbitServer) -> TcpProxy:
    """What stands before the broker, once the test opens it."""
    proxy = TcpProxy(rabbit_server.port)
    proxy.port = free_port()
    return proxy


@pytest.fixture
def daemons(
    tmp_path: Path, late_broker: TcpProxy, rabbit_url: str
) -> Iterator[Daemons]:
    """Processes whose broker is not there yet."""
    kept = Daemons(tmp_path, late_broker.through(rabbit_url))
    yield kept
    for process in kept.running:
        process.kill()


async def test_an_orchestrator_and_a_worker_start_before_their_broker(
    daemons: Daemons, late_broker: TcpProxy, postgres_url: str
) -> None:
    """Both stay up and say why; time is kept meanwhile; the rest is done later."""
    async with Manager.open(store=postgres_url, migrate=True) as client:
        serve = daemons.start("serve", "--store", postgres_url)
        worker = daemons.start("worker", "far:service")
        for process in (serve, worker):
            await eventually(_says(process, "is RabbitMQ running"))
        late = await client.start(LATE)
        saga = await client.start(WORK)
        assert (await client.wait(late.id, timeout=90)).is_compensated
        assert (await client.get(saga.id)).state == "started"
        assert serve.is_running
        assert worker.is_running
        async with late_broker:
            saga = await client.wait(saga.id, timeout=90)
            assert saga.outputs == {"a": "done"}
            for process in (serve, worker):
                await eventually(_says(process, "problem solved"))


def _says(process: ServerProcess, words: str):
    return lambda: words in process.output()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that resolve, to this machine; the others under .test do not."""
    known: set[str] = set()
    real = socket.getaddrinfo

    def resolve(host: str, *args: object, **kwargs: object) -> object:
        if str(host).endswith(".test"):
            if host not in known:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = "127.0.0.1"
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


async def test_a_broker_whose_name_does_not_resolve_yet(
    names: set[str], postgres_url: str, rabbit_url: str
) -> None:
    """Named, with what to look at; the engine goes on when the name is known."""
    near = Service("near")
    url = rabbit_url.replace("127.0.0.1", "rabbit.test")
    async with Manager.open(
        store=postgres_url,
        migrate=True,
        broker=url,
        broker_may_be_away=True,
        handlers=[near.handlers],
        rng=random.Random(1),
    ) as manager:
        assert "not known; is RabbitMQ running" in str(manager.problems())
        saga = await manager.start("s", near.chain())
        names.add("rabbit.test")
        assert (await manager.wait(saga.id, timeout=90)).is_completed
        await until_well(manager)


async def test_a_name_that_does_not_resolve_is_told(names: set[str]) -> None:
    """Where nobody said that the broker may be away, opening ends with an error."""
    assert not names
    broker = RabbitBroker("amqp://u:s3cret@rabbit.test/", open_timeout=0.3)
    with pytest.raises(BrokerUnavailableError, match="not known; is RabbitMQ") as told:
        await broker.open()
    assert "s3cret" not in str(told.value)
    await broker.close()


async def test_a_broker_that_refuses_is_not_away(rabbit_server: RabbitServer) -> None:
    """A wrong password is an error at the start, though the broker may be away."""
    broker = RabbitBroker(rabbit_server.url(login="guest:wrong"))
    with pytest.raises(BrokerUnavailableError, match="login 'guest' was refused"):
        await broker.open(may_be_away=True)
    await broker.close()
