"""The `saga` command as people run it: real processes, real servers, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import ServerProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.rabbitmq import RabbitServer

_ROOT = Path(__file__).parents[2]
_SAGA = [sys.executable, "-m", "saga_orchestrator"]
_ORDER = {
    "customer_id": "c-1",
    "sku": "book",
    "quantity": 2,
    "card": "card-gold",
    "country": "CH",
}
_DECLINED = {**_ORDER, "card": "card-blue", "quantity": 7}

SLOW = '''
"""A step that lasts until a file appears."""
import asyncio
from pathlib import Path
from saga_orchestrator import Handlers, SagaDefinition, Step

slow = SagaDefinition("slow", steps=[Step("wait", action="slow.wait")])
service = Handlers("slow")


@service.step("slow.wait")
async def wait(ctx):
    """Say that it has begun; go on when told to."""
    Path("begun").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    return "waited"
'''

SHOP = '''
"""Sagas that need a person: the bank is closed until a file appears."""
from pathlib import Path
from saga_orchestrator import Handlers, RetryPolicy, SagaDefinition, Step, StepFailed

bank = Handlers("bank")
pay = Step(
    "pay", action="bank.pay", compensation="bank.refund",
    compensation_retry=RetryPolicy(max_attempts=1),
)
sold_out = SagaDefinition("sold_out", steps=[pay, Step("send", action="bank.send")])
receipt = Step(
    "receipt", action="bank.receipt",
    input={"number": {"$ref": "outputs.transfer.number"}},
)
by_hand = SagaDefinition(
    "by_hand", steps=[Step("transfer", action="bank.transfer"), receipt],
    on_failure="park",
)


@bank.step("bank.pay")
async def charge(ctx):
    return {"paid": 5}


@bank.compensation("bank.refund")
async def refund(ctx, done):
    if not Path("open").exists():
        raise ConnectionError("the bank is closed")
    Path("refunded").write_text(str(done["paid"]))


@bank.step("bank.send")
@bank.step("bank.transfer")
async def refuse(ctx):
    raise StepFailed("no")


@bank.step("bank.receipt")
async def print_receipt(ctx, request):
    return f"receipt of {request['number']}"
'''


class Daemon(ServerProcess):
    """A `saga` process that runs until it is told to stop."""

    def ended(self, seconds: float = 40) -> int:
        """Wait for its end; return its exit code."""
        code: int = self._process.wait(seconds)
        return code

    def says(self, words: str) -> None:
        """Wait until it has written the words."""
        assert wait_until(lambda: words in self.output(), self), self.output()


class Shell:
    """A terminal in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[Daemon] = []
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SAGA_")},
            "ORDERS_DATABASE": str(folder / "orders.db"),
        }

    def export(self, **variables: str) -> None:
        """Set environment variables for what comes."""
        self._environment.update(variables)

    def saga(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*_SAGA, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def on_terminal(self, *arguments: str) -> str:
        """Run a command whose stdout is a terminal; return what it wrote there."""
        ours, theirs = os.openpty()
        subprocess.run(
            [*_SAGA, *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=theirs,
            check=True,
            timeout=60,
        )
        written = os.read(ours, 65536).decode()
        os.close(ours)
        os.close(theirs)
        return written

    def start(self, context: dict[str, Any], *options: str) -> str:
        """Start an order; return its id."""
        done = self.saga(
            "start",
            "handlers.orders:order",
            *("--app-dir", str(_ROOT), "--context", json.dumps(context), *options),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def spawn(self, *arguments: str, ready: str = "ready") -> Daemon:
        """Start a process that goes on; return once it is ready."""
        log = self.folder / f"{len(self.daemons)}-{arguments[0]}.log"
        daemon = Daemon(
            [*_SAGA, *arguments], log, cwd=self.folder, env=self._environment
        )
        self.daemons.append(daemon)
        if ready:
            daemon.says(ready)
        return daemon


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Open a terminal; end what was started in it."""
    opened = Shell(tmp_path)
    yield opened
    for daemon in opened.daemons:
        daemon.kill()


def _history(shell: Shell, saga_id: str) -> list[tuple[str, str, str]]:
    """Return the successes of a saga: kind, direction, step."""
    record = json.loads(shell.saga("get", saga_id, "--json").stdout)
    return [
        (entry["kind"], entry["direction"], entry["step"])
        for entry in record["history"]
        if entry["kind"] == "step_succeeded"
    ]


def _undone(shell: Shell, saga_id: str) -> list[str]:
    told = _history(shell, saga_id)
    return [step for _, direction, step in told if direction == "compensation"]


def test_dev_is_all_one_needs(shell: Shell) -> None:
    """One process runs everything on SQLite; sagas are started from elsewhere."""
    dev = shell.spawn("dev", "handlers.orders", "--app-dir", str(_ROOT))
    dev.says("saga start handlers.orders:order")
    done = shell.saga(
        "start",
        "order_processing",
        *("--app", "handlers.orders", "--app-dir", str(_ROOT)),
        *("--context", json.dumps(_ORDER), "--wait"),
    )
    assert done.returncode == 0, done.stderr
    declined = shell.start(_DECLINED)
    watched = shell.saga("watch", declined)
    assert watched.returncode == 10
    assert "CardDeclined: card declined (refused)" in watched.stdout
    assert _undone(shell, declined) == ["reserve_inventory", "create_order"]
    second = shell.saga("serve")
    assert second.returncode == 4
    assert str(dev.pid) in second.stderr
    assert "stop it, or use it: `saga start`" in second.stderr
    dev.signal(signal.SIGINT)
    assert dev.ended() == 0


def test_an_undo_that_gave_up_is_retried(shell: Shell) -> None:
    """A person mends what was broken and retries: the saga ends as undone."""
    (shell.folder / "shop.py").write_text(SHOP)
    shell.spawn("dev", "shop")
    stuck = shell.saga("start", "shop:sold_out", "--wait", "--timeout", "40")
    assert stuck.returncode == 11, stuck.stderr
    saga_id = stuck.stdout.split()[0]
    assert f"saga retry {saga_id} --reason TEXT" in shell.saga("get", saga_id).stdout
    (shell.folder / "open").touch()
    retried = shell.saga("retry", saga_id, "--reason", "the bank has opened")
    assert retried.returncode == 0, retried.stderr
    assert shell.saga("watch", saga_id, "--timeout", "40").returncode == 10
    assert (shell.folder / "refunded").read_text() == "5"


def test_what_was_done_by_hand_is_read(shell: Shell) -> None:
    """A parked saga completes; the next step has the output that a person gave."""
    (shell.folder / "shop.py").write_text(SHOP)
    shell.spawn("dev", "shop")
    parked = shell.saga("start", "shop:by_hand", "--wait", "--timeout", "40")
    assert parked.returncode == 11, parked.stderr
    saga_id = parked.stdout.split()[0]
    reason = ("--reason", "at the counter", "--output", '{"number": 7}')
    resolved = shell.saga("resolve", saga_id, "transfer", *reason)
    assert resolved.returncode == 0, resolved.stderr
    assert shell.saga("watch", saga_id, "--timeout", "40").returncode == 0
    record = json.loads(shell.saga("get", saga_id, "--json").stdout)
    assert record["outputs"]["receipt"] == "receipt of 7"


def test_nobody_works_on_the_store(shell: Shell) -> None:
    """Who waits for a saga without an engine is told why, and the doctor sees it."""
    shell.saga("migrate")
    (shell.folder / "slow.py").write_text(SLOW)
    waited = shell.saga("start", "slow:slow", "--wait", "--timeout", "6")
    assert waited.returncode == 7
    assert waited.stderr.count("nobody has taken it yet") == 1
    doctor = shell.saga("doctor")
    assert doctor.returncode == 1
    assert "✗ outbox: 1 command not sent" in doctor.stdout


def test_an_installation(
    shell: Shell, postgres_url: str, rabbit_url: str, rabbit_server: RabbitServer
) -> None:
    """Migrate, serve, two workers: sagas complete, are undone, survive a lost queue."""
    shell.export(SAGA_STORE=postgres_url, SAGA_BROKER=rabbit_url)
    assert shell.saga("serve").returncode == 2  # says: saga migrate
    assert shell.saga("migrate").stdout.startswith("applied 0001_")
    folder = ("--app-dir", str(_ROOT))
    serve = shell.spawn("serve", "handlers.orders:order", *folder)
    services = ("orders", "inventory", "payments", "shipping", "notifications")
    names = [f"handlers.orders:{service}" for service in services]
    first = shell.spawn("worker", *names[:3], *folder)
    second = shell.spawn("worker", *names[3:], *folder)

    completed = shell.start(_ORDER, "--key", "o-1")
    assert shell.saga("watch", completed, "--timeout", "40").returncode == 0
    assert shell.start(_ORDER, "--key", "o-1") == completed
    declined = shell.start(_DECLINED)
    assert shell.saga("watch", declined, "--timeout", "40").returncode == 10
    assert _undone(shell, declined) == ["reserve_inventory", "create_order"]
    well = shell.saga("doctor", *names, *folder)
    assert well.returncode == 0, well.stdout

    first.signal(signal.SIGTERM)
    assert first.ended() == 0
    unread = shell.saga("doctor", *names, *folder)
    assert unread.returncode == 1
    assert "✗ queue saga.steps.orders: 0 ready, 0 consumers" in unread.stdout
    assert "fix: start its `saga worker`" in unread.stdout

    lost = shell.start(_ORDER)
    _wait_for_ready(rabbit_server, rabbit_url, "saga.steps.orders")
    rabbit_server.delete_queue(rabbit_url, "saga.steps.orders")
    third = shell.spawn("worker", "handlers.orders", *folder)
    assert shell.saga("doctor", "--resend").returncode == 0
    assert shell.saga("watch", lost, "--timeout", "40").returncode == 0
    for daemon in (serve, second, third):
        daemon.signal(signal.SIGTERM)
    assert [daemon.ended() for daemon in (serve, second, third)] == [0, 0, 0]


def test_sigterm_drains(shell: Shell) -> None:
    """A step that has begun is finished and recorded before the process ends."""
    (shell.folder / "slow.py").write_text(SLOW)
    dev = shell.spawn("dev", "slow")
    saga_id = shell.saga("start", "slow:slow").stdout.strip()
    assert wait_until((shell.folder / "begun").exists, dev)
    dev.signal(signal.SIGTERM)
    dev.says("stopping")
    assert dev.is_running
    (shell.folder / "go").touch()
    assert dev.ended() == 0
    assert _history(shell, saga_id) == [("step_succeeded", "action", "wait")]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_second_signal_ends_at_once(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    """Who does not want to wait for the drain signals again."""
    (shell.folder / "slow.py").write_text(SLOW)
    dev = shell.spawn("dev", "slow")
    shell.saga("start", "slow:slow")
    assert wait_until((shell.folder / "begun").exists, dev)
    dev.signal(number)
    dev.says("stopping")
    dev.signal(number)
    assert dev.ended(10) == code


def test_drain_seconds_bound_the_drain(shell: Shell) -> None:
    """What does not finish in time is left to the next process; the exit is clean."""
    (shell.folder / "slow.py").write_text(SLOW)
    dev = shell.spawn("dev", "slow", "--drain-seconds", "0.2")
    saga_id = shell.saga("start", "slow:slow").stdout.strip()
    assert wait_until((shell.folder / "begun").exists, dev)
    dev.signal(signal.SIGTERM)
    assert dev.ended(15) == 0
    (shell.folder / "go").touch()
    shell.spawn("dev", "slow")
    assert shell.saga("watch", saga_id, "--timeout", "40").returncode == 0


def test_a_signal_while_it_still_connects(shell: Shell) -> None:
    """Before there is anything to drain, the first signal ends the process."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (shell.folder / "slow.py").write_text(SLOW)
        url = f"amqp://127.0.0.1:{silent.getsockname()[1]}/"
        worker = shell.spawn("worker", "slow", "--broker", url, ready="")
        silent.settimeout(30)
        connection, _ = silent.accept()
        with contextlib.closing(connection):
            worker.signal(signal.SIGTERM)
            assert worker.ended(15) == 143
    assert "Traceback" not in worker.output()


def test_doctor_finds_what_is_broken(
    shell: Shell, postgres_url: str, rabbit_url: str, unused: Callable[[str], str]
) -> None:
    """Each fault is told with its fix, and the exit code says that there is one."""
    no_schema = shell.saga("doctor", "--store", postgres_url)
    assert no_schema.returncode == 1
    assert "✗ store schema: lacks 0001_" in no_schema.stdout
    assert "fix: run `saga migrate`" in no_schema.stdout
    no_store = shell.saga("doctor", "--store", unused("postgresql://saga:secret@"))
    assert no_store.returncode == 6
    assert "secret" not in no_store.stdout
    shell.saga("migrate")
    no_engine = shell.saga("doctor", "--broker", rabbit_url)
    assert no_engine.returncode == 1
    assert re.findall("✗ queue (.*): does not exist", no_engine.stdout) == [
        "saga.replies",
        "saga.undelivered",
        "saga.dead",
    ]
    assert "fix: start `saga serve`" in no_engine.stdout
    no_broker = shell.saga("doctor", "--broker", unused("amqp://guest:secret@"))
    assert no_broker.returncode == 6
    assert "secret" not in no_broker.stdout


def test_doctor_finds_dead_letters(shell: Shell, rabbit_url: str) -> None:
    """A message that nobody could read is set aside, and the doctor knows of it."""
    shell.export(SAGA_BROKER=rabbit_url)
    serve = shell.spawn("serve")
    _publish_nonsense(rabbit_url, "saga.replies")
    serve.says("message set aside")
    done = shell.saga("doctor", "--json")
    assert done.returncode == 1
    findings = {one["about"]: one for one in json.loads(done.stdout)}
    assert findings["queue saga.dead"]["text"] == "1 dead letter"
    assert findings["queue saga.replies"]["level"] == "well"


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals(shell: Shell, no_color: str, coloured: bool) -> None:
    """A terminal sees colours, unless NO_COLOR is set; a pipe never does."""
    shell.saga("migrate")
    shell.export(NO_COLOR=no_color, TERM="xterm")
    assert "\x1b" not in shell.saga("doctor").stdout
    assert ("\x1b[32m✓" in shell.on_terminal("doctor")) is coloured


@pytest.fixture
def unused() -> Callable[[str], str]:
    """Complete a URL with an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return lambda start: f"{start}127.0.0.1:{port}/saga"


def _wait_for_ready(server: RabbitServer, url: str, queue: str) -> None:
    """Wait until a command waits in the queue."""
    for _ in range(60):
        rows = {row["name"]: row["messages"] for row in server.queues(url)}
        if rows.get(queue):
            return
    raise AssertionError(rows)


def _publish_nonsense(url: str, queue: str) -> None:
    import asyncio

    import aio_pika

    async def publish() -> None:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            message = aio_pika.Message(b"nonsense")
            await channel.default_exchange.publish(message, routing_key=queue)

    asyncio.run(publish())
