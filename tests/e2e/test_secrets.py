"""No output of any command holds a password, also when all goes wrong (F99)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_port
from tests.support.processes import ServerProcess, wait_until

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "hunter2canary"
SAGA = [sys.executable, "-m", "saga_orchestrator"]
ID = "01JGFJJZ00000000000000000A"
NO_STORE = f"postgresql://saga:{CANARY}@127.0.0.1:1/saga?sslpassword={CANARY}"
SHOP = '''
"""A service that fails with what it was given."""
from saga_orchestrator import Handlers, SagaDefinition, Step
shop = Handlers("shop")
sale = SagaDefinition("sale", steps=[Step("pay", action="shop.pay")])


@shop.step("shop.pay")
async def pay(ctx):
    card = ctx.context["card"]
    raise RuntimeError("declined")
'''


@pytest.fixture
def environment() -> dict[str, str]:
    """Everything that can be made to talk does."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SAGA_")}
    return plain | {"SAGA_DEBUG": "1", "SAGA_LOG_LEVEL": "debug"}


def no_broker() -> str:
    """Return the address of a broker that is not there."""
    return f"amqp://saga:{CANARY}@127.0.0.1:{free_port()}/"


@pytest.mark.parametrize(
    "command",
    [
        ["config", "show"],
        ["config", "show", "--json"],
        ["doctor"],
        ["doctor", "--json"],
        ["get", ID],
        ["stale"],
        ["why", ID],
        ["migrate"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_command_that_fails_hides_its_passwords(
    environment: dict[str, str], tmp_path: Path, command: list[str]
) -> None:
    """Neither in its error, nor in the traceback of --debug, nor in a log line."""
    servers = {"SAGA_STORE": NO_STORE, "SAGA_BROKER": no_broker()}
    done = subprocess.run(
        [*SAGA, *command],
        cwd=tmp_path,
        env=environment | servers,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.postgres
def test_daemons_hide_passwords_and_payloads(
    environment: dict[str, str], tmp_path: Path, postgres_url: str
) -> None:
    """With a store that answers, a broker that is away, and a handler that fails."""
    (tmp_path / "shop.py").write_text(SHOP)
    store = postgres_url.replace("postgres@", f"postgres:{CANARY}@")
    environment |= {"SAGA_STORE": store, "SAGA_BROKER": "memory://"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*SAGA, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr

    def spawn(name: str, ready: str, *arguments: str) -> ServerProcess:
        process = ServerProcess(
            [*SAGA, *arguments], tmp_path / name, cwd=tmp_path, env=environment
        )
        assert wait_until(lambda: ready in process.output(), process), process.output()
        return process

    told = run("migrate")
    serve = spawn("serve", "ready", "serve", "shop")
    context = f'{{"card": "{CANARY}"}}'
    run("start", "shop:sale", "--context", context, "--wait")
    broker = ["--broker", no_broker()]
    away = spawn("away", "problem", "serve", "shop:sale", *broker)
    worker = spawn("worker", "problem", "worker", "shop:shop", *broker)
    told += run("doctor") + run("stale", "--older-than", "1s")
    for process in (serve, away, worker):
        process.kill()
        told += process.output()
    assert "declined" in told
    assert CANARY not in told
