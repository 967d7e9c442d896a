"""The sample in Node, which knows docs/wire.md only, beside a worker in Python."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator import Manager, Step, StepState
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
from tests.foreign.npm import npm_ci
from tests.support.processes import ServerProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from saga_orchestrator import Handlers, Saga, SagaDefinition
    from tests.support.rabbitmq import RabbitServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("npm")]

_HERE = Path(__file__).parent
_SAMPLE = _HERE.parents[1] / "examples" / "node"
_ORDER = {"gift": "scarf", "cents": 2500, "country": "CH"}
_ALONE = [Step("voucher", action="vouchers.issue", compensation="vouchers.void")]


class Node:
    """Processes of the sample, one after the other, with their vouchers."""

    def __init__(
        self, program: Path, server: RabbitServer, broker: str, folder: Path
    ) -> None:
        self._program = program
        self._server = server
        self._broker = broker
        self._folder = folder
        self.log = folder / "node.log"
        (folder / "vouchers").mkdir()
        self._environment = {
            "PATH": os.environ["PATH"],
            "SAGA_BROKER": broker,
            "VOUCHERS": str(folder / "vouchers"),
        }
        self.process: ServerProcess | None = None

    async def start(self, script: str = "main.mjs") -> ServerProcess:
        """Run a script; return when it consumes, or has died of what it got."""
        known = self.says("ready")
        self.process = ServerProcess(
            ["node", script], self.log, cwd=self._program, env=self._environment
        )
        process = self.process
        await eventually(
            lambda: self.says("ready") > known or not process.is_running, seconds=60
        )
        return process

    def says(self, words: str) -> int:
        """Count words in the log."""
        return self.log.read_text().count(words) if self.log.exists() else 0

    def waiting(self) -> int:
        """Count the messages that wait for a process."""
        return sum(
            queue["messages"]
            for queue in self._server.queues(self._broker)
            if queue["name"] == "saga.steps.vouchers"
        )

    def vouchers(self) -> list[dict[str, Any]]:
        """Read what was issued, and not issued."""
        return [
            json.loads(path.read_text())
            for path in (self._folder / "vouchers").iterdir()
        ]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with its packages, and the program that crashes."""
    folder = tmp_path_factory.mktemp("node")
    npm_ci(_SAMPLE, folder)
    shutil.copy(_HERE / "crashing.mjs", folder)
    return folder


@pytest.fixture
def node(
    program: Path, rabbit_server: RabbitServer, rabbit_url: str, tmp_path: Path
) -> Iterator[Node]:
    """The sample on the test's vhost, to be started."""
    opened = Node(program, rabbit_server, rabbit_url, tmp_path)
    yield opened
    if opened.process is not None:
        opened.process.kill()


@pytest.fixture(scope="module")
def sample() -> Any:
    """The module that has the saga."""
    spec = importlib.util.spec_from_file_location("gift", _SAMPLE / "gift.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.asynccontextmanager
async def _others(store: str, broker: str, shelf: Handlers) -> AsyncIterator[Manager]:
    """An orchestrator without handlers, and the Python worker."""
    async with (
        Manager.open(store=store, broker=broker, engine=True) as manager,
        open_worker(Settings(broker=broker), [shelf]),
    ):
        yield manager


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[Manager]:
    """What starts sagas; it publishes nothing."""
    async with Manager.open(store=postgres_url, migrate=True) as manager:
        yield manager


async def _start(
    client: Manager, gift: SagaDefinition, count: int = 1, **changes: Any
) -> list[Saga]:
    context = {**_ORDER, **changes}
    return [await client.start(gift, context=context) for _ in range(count)]


async def _ended(client: Manager, sagas: list[Saga]) -> list[Saga]:
    return [await client.wait(saga.id, timeout=60) for saga in sagas]


async def test_both_languages_serve_one_saga(
    client, postgres_url, rabbit_url, node, sample
):
    """It completes, is undone by Node, and is undone by Python; Node stops cleanly."""
    process = await node.start()
    async with _others(postgres_url, rabbit_url, sample.shelf):
        sagas = [
            *await _start(client, sample.gift),
            *await _start(client, sample.gift, country="AQ"),
            *await _start(client, sample.gift, cents=20_000),
        ]
        sent, voided, refused = await _ended(client, sagas)
    by_code = {voucher["code"]: voucher for voucher in node.vouchers()}
    assert len(by_code) == 2
    assert sent.is_completed
    assert by_code[sent.outputs["voucher"]["code"]]["void"] is False
    assert voided.is_compensated
    assert by_code[voided.outputs["voucher"]["code"]]["void"] is True
    assert refused.is_compensated
    assert refused.status("pick").state is StepState.COMPENSATED
    assert "no vouchers of more than" in refused.reason
    process.stop(signal.SIGTERM)
    assert process.returncode == 0


async def test_a_frame_of_several_commands(
    client, postgres_url, rabbit_url, node, sample
):
    """Each command of a message gets its answer, and every saga its own voucher."""
    process = await node.start()  # so that there is a queue
    process.stop(signal.SIGTERM)
    sagas = [await client.start("alone", _ALONE, _ORDER) for _ in range(20)]
    async with _others(postgres_url, rabbit_url, sample.shelf):
        await eventually(lambda: node.waiting() == 1)
        await node.start()
        assert all(saga.is_completed for saga in await _ended(client, sagas))
    assert node.says("saga.steps.vouchers: 20 commands") == 1
    assert len({voucher["code"] for voucher in node.vouchers()}) == 20


async def test_a_frame_that_came_back_is_split(
    client, postgres_url, rabbit_url, node, sample
):
    """Killed with a message of ten in hand: ten come back, each alone."""
    process = await node.start()
    process.stop(signal.SIGTERM)
    sagas = [await client.start("alone", _ALONE, _ORDER) for _ in range(10)]
    async with _others(postgres_url, rabbit_url, sample.shelf):
        await eventually(lambda: node.waiting() == 1)
        dying = await node.start("crashing.mjs")
        await eventually(lambda: not dying.is_running)
        await node.start()
        assert all(saga.is_completed for saga in await _ended(client, sagas))
    assert node.says("10 commands, came back") == 1
    assert node.says("1 commands, came back") == 10


async def test_killed_between_its_effect_and_its_answer(
    client, postgres_url, rabbit_url, node, sample
):
    """The next process gets the command again, and answers with the same voucher."""
    dying = await node.start("crashing.mjs")
    async with _others(postgres_url, rabbit_url, sample.shelf):
        sagas = await _start(client, sample.gift)
        await eventually(lambda: not dying.is_running)
        (issued,) = node.vouchers()
        await node.start()
        (saga,) = await _ended(client, sagas)
    assert saga.is_completed
    assert saga.status("voucher").attempt == 1
    assert node.vouchers() == [issued]
    assert saga.outputs["voucher"] == {"code": issued["code"]}


async def test_what_node_cannot_read_is_set_aside(
    client, postgres_url, rabbit_url, node, sample
):
    """A message of another version goes to saga.dead with the reason, once."""
    import aio_pika

    await node.start()
    async with (
        _others(postgres_url, rabbit_url, sample.shelf),
        await aio_pika.connect(rabbit_url) as connection,
    ):
        channel = await connection.channel()
        await channel.default_exchange.publish(
            aio_pika.Message(b'{"v": 2, "commands": []}'), "saga.steps.vouchers"
        )
        dead = await channel.get_queue("saga.dead", ensure=False)
        found: list[aio_pika.abc.AbstractIncomingMessage] = []

        async def look() -> bool:
            message = await dead.get(fail=False, no_ack=True)
            found.extend([message] if message else [])
            return bool(found)

        await eventually(look)
        assert found[0].headers["saga-reason"] == "v: is 2, this program speaks 1"
        (saga,) = await _ended(client, await _start(client, sample.gift))
        assert saga.is_completed
