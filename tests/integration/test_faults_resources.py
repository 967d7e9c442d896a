"""No disk for logs, no descriptors, no threads: row F89 of the faults."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Handlers, Manager, Step
from tests.support.books import chain
from tests.support.engine_process import engine_process
from tests.support.waiting import eventually
from tests.support.worker_process import worker_process

if TYPE_CHECKING:
    from tests.support.books import Books
    from tests.support.rabbitmq import RabbitServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 90
ROOT = Path(__file__).parents[2]
NEAR = """
from saga_orchestrator import Handlers
near = Handlers("near")
@near.step("near.a")
async def act(ctx, given):
    ctx.logger.warning("acting")
    if ctx.attempt == 1:
        raise ConnectionError("a defect, which is logged with its place")
"""


_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Servers:
    """Both servers, and how they drop whoever is connected."""

    def __init__(self, store: str, broker: str, rabbit: RabbitServer) -> None:
        self.urls = (store, broker)
        self._rabbit = rabbit

    async def cut(self) -> None:
        """Close every connection."""
        await asyncio.to_thread(self._rabbit.close_connections)
        connection = await asyncpg.connect(self.urls[0])
        await connection.execute(_CUT)
        await connection.close()


@pytest.fixture
def servers(postgres_url: str, rabbit_url: str, rabbit_server: RabbitServer) -> Servers:
    """The servers of the test."""
    return Servers(postgres_url, rabbit_url, rabbit_server)


def _serve_without_logs(
    store: str, broker: str, folder: Path
) -> subprocess.Popen[bytes]:
    """Run an orchestrator with a handler; the disk of its log is full."""
    (folder / "near.py").write_text(NEAR)
    with Path("/dev/full").open("wb") as full:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "saga_orchestrator", "serve", "near"),
                *("--store", store, "--broker", broker, "--app-dir", str(folder)),
            ],
            cwd=ROOT,
            stdout=full,
            stderr=full,
        )


async def test_logs_on_a_full_disk(
    postgres_url: str, rabbit_url: str, client: Manager, tmp_path: Path
) -> None:
    """They are lost, and nothing else: it works, and ends when it is told to."""
    serving = _serve_without_logs(postgres_url, rabbit_url, tmp_path)
    try:
        saga = await client.start("s", [Step("a", action="near.a")])
        await client.start("s", [Step("a", action="nobody.a")])
        saga = await client.wait(saga.id, SECONDS)
        assert (saga.is_completed, saga.status("a").attempt) == (True, 2)
        serving.send_signal(signal.SIGTERM)
        await eventually(lambda: serving.poll() is not None, seconds=SECONDS)
        assert serving.returncode == 0
    finally:
        serving.kill()
        serving.wait()


async def test_no_descriptors(
    servers: Servers, client: Manager, books: Books, tmp_path: Path
) -> None:
    """Cut off and unable to connect it waits; given some, it goes on by itself."""
    store, broker = servers.urls
    talks = {"environment": {"PYTHONUNBUFFERED": "1"}, "serves": False}
    with (
        engine_process(store, broker, tmp_path, **talks) as engine,
        worker_process(broker, tmp_path) as worker,
    ):
        await engine.ready()
        await worker.ready()
        pids = (engine.pid, worker.child.pid)
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
        for pid in pids:
            few = (3, limits[pid][1])  # what is open stays; nothing is opened
            resource.prlimit(pid, resource.RLIMIT_NOFILE, few)
        await servers.cut()
        saga = await client.start(chain())
        log = tmp_path / "engine.log"
        await eventually(lambda: "Too many open files" in log.read_text())
        assert not books.effects()
        assert engine.is_alive
        assert worker.is_alive
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits[pid])
        saga = await client.wait(saga.id, SECONDS)
        assert saga.is_completed
        assert {status.attempt for status in saga.steps} == {1}
    assert set(books.effects().values()) == {1}


async def test_no_threads(
    postgres_url: str,
    rabbit_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler whose thread cannot be started errs; its place is not lost."""
    near = Handlers("near")

    @near.step("near.a")
    def act(_given: object) -> str:
        return "done"

    real = threading.Thread.start
    refused: list[str] = []

    def start(thread: threading.Thread) -> None:
        if thread.name == "saga-handler" and len(refused) < 4:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    urls = {"store": postgres_url, "broker": rabbit_url}
    async with Manager.open(
        **urls, migrate=True, handlers=[near], concurrency=1
    ) as manager:
        starts = [manager.start("s", [Step("a", action="near.a")]) for _ in range(4)]
        for saga in await asyncio.gather(*starts):
            ended = await manager.wait(saga.id, SECONDS)
            assert ended.outputs == {"a": "done"}
    assert len(refused) == 4
