"""`saga worker --metrics` as a process: probes while the broker goes, and a drain."""

from __future__ import annotations

import re
import signal
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from saga_orchestrator import Manager, SagaDefinition, Step
from tests.support.ports import free_port
from tests.support.proxy import TcpProxy
from tests.support.saga_command import daemon, saga
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import ServerProcess

pytestmark = pytest.mark.slow

SECONDS = 60
SLOW = SagaDefinition("slow", [Step("wait", action="slow.wait")])
HANDLERS = '''
"""A step that lasts until a file appears."""
import asyncio
from pathlib import Path
from saga_orchestrator import Handlers

service = Handlers("slow")


@service.step("slow.wait")
async def wait(ctx):
    Path("begun").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    return "waited"
'''


def started(folder: Path, broker: str) -> tuple[ServerProcess, httpx.AsyncClient]:
    """Run a worker whose probes are on a free port; return it and a client."""
    (folder / "slow.py").write_text(HANDLERS)
    process = daemon(
        *("worker", "slow:service", "--metrics", "127.0.0.1:0"),
        folder=folder,
        log="worker.log",
        SAGA_BROKER=broker,
        SAGA_LOG_FORMAT="json",
    )
    found = re.search(r'"url": "(http\S+)"', process.output())
    assert found, process.output()
    return process, httpx.AsyncClient(base_url=found[1], timeout=SECONDS)


async def test_it_turns_red_with_the_broker_and_green_again(
    tmp_path, rabbit_server, rabbit_url
):
    """Alive all the time; ready when it can work, and the log has no more to say."""
    proxy = TcpProxy(rabbit_server.port)
    proxy.port = free_port()
    process, client = started(tmp_path, proxy.through(rabbit_url))
    try:
        async with client:
            red = await client.get("/readyz?verbose=1")
            assert red.status_code == 503
            assert "[-]broker " in red.text
            assert str(proxy.port) in red.text
            assert "guest:***@" in red.text
            assert (await client.get("/livez")).status_code == 200
            async with proxy:
                await eventually(lambda: _is_ready(client))
            await eventually(lambda: _is_red(client))
            assert (await client.get("/livez")).status_code == 200
    finally:
        process.kill()


async def test_it_is_not_ready_while_it_drains_and_then_ends_with_0(
    tmp_path, postgres_url, rabbit_url
):
    """From SIGTERM on /readyz is 503, and metrics can be had; what runs is finished."""
    process, client = started(tmp_path, rabbit_url)
    try:
        async with (
            client,
            Manager.open(
                store=postgres_url, migrate=True, broker=rabbit_url, engine=True
            ) as manager,
        ):
            begun = await manager.start(SLOW)
            await eventually((tmp_path / "begun").exists)
            process.signal(signal.SIGTERM)
            await eventually(lambda: _is_red(client))
            assert "[-]process stopping" in (await client.get("/readyz")).text
            assert "saga_problems 0.0" in (await client.get("/metrics")).text
            (tmp_path / "go").touch()
            assert (await manager.wait(begun.id, timeout=SECONDS)).is_completed
            await eventually(lambda: not process.is_running)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in process.output()


async def test_a_port_that_is_taken_costs_no_command_a_delivery(
    tmp_path, postgres_url, rabbit_url
):
    """It ends with 2 before it takes anything: a supervisor may start it for ever."""
    (tmp_path / "slow.py").write_text(HANDLERS)
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, engine=True
    ) as manager:
        process, client = started(tmp_path, rabbit_url)  # makes the queues
        await client.aclose()
        process.stop(signal.SIGTERM)
        waiting = await manager.start(SLOW)
        with socket.create_server(("127.0.0.1", 0)) as other:
            place = f"127.0.0.1:{other.getsockname()[1]}"
            done = saga(
                *("worker", "slow:service", "--metrics", place),
                folder=tmp_path,
                SAGA_BROKER=rabbit_url,
            )
        assert done.returncode == 2
        assert f"error: metrics: cannot listen on {place}" in done.stderr
        assert not (tmp_path / "begun").exists()
        assert (await manager.get(waiting.id)).state == "started"


async def _is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def _is_red(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 503
