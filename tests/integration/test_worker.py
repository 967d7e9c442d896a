"""Workers in processes of their own, on RabbitMQ; one that dies of a command."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from saga_orchestrator import Direction, Manager, Outcome, StepFailed, StepState
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
from tests.support.waiting import eventually
from tests.unit.runtime.stage import ONCE, Service, raising

ROOT = Path(__file__).parents[2]

_WORKER = """
import asyncio, os, sys
from saga_orchestrator import Handlers, StepFailed
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
service = Handlers("far")
async def act(ctx, given):
    if ctx.context.get("deadly") and ctx.step == "a":
        print("deadly", ctx.saga_id, flush=True)
        os._exit(1)
    if ctx.context.get("declined") and ctx.step == "b":
        raise StepFailed("declined")
    await asyncio.sleep(0.05)
    print(ctx.step, ctx.saga_id, flush=True)
    return {"by": ctx.step}
async def undo(ctx, done):
    print("undo_" + ctx.step, ctx.saga_id, done, flush=True)
for name in "abc":
    service.step(f"far.{name}")(act)
    service.compensation(f"far.undo_{name}")(undo)
async def main():
    async with open_worker(Settings(broker=sys.argv[1]), [service]) as worker:
        print("ready", flush=True)
        await worker.run()
asyncio.run(main())
"""


class WorkerProcess:
    """One worker after the other, with one log."""

    def __init__(self, broker: str, log: Path) -> None:
        self._broker = broker
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self.deaths = -1

    @property
    def lines(self) -> list[str]:
        """What the workers said so far."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Run a worker."""
        self.deaths += 1
        with self._log.open("a") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _WORKER, self._broker], stdout=output, cwd=ROOT
            )

    def kill(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()


@pytest.fixture
def worker(rabbit_url, tmp_path):
    """A worker on the test's vhost, to be started."""
    process = WorkerProcess(rabbit_url, tmp_path / "worker.log")
    yield process
    process.kill()


FAR = Service("far")


async def test_a_worker_without_a_database_answers_over_the_broker(
    postgres_url, rabbit_url, worker
):
    """Actions, a refusal and undos go out and their answers come back."""
    worker.start()
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, engine=True
    ) as manager:
        good = await manager.start("s", FAR.chain())
        bad = await manager.start("s", FAR.chain(), {"declined": True})
        good = await manager.wait(good.id, timeout=60)
        bad = await manager.wait(bad.id, timeout=60)
        assert good.is_completed
        assert good.outputs["c"] == {"by": "c"}
        assert bad.is_compensated
        assert bad.status("a").state is StepState.COMPENSATED
        assert f"undo_a {bad.id} {{'by': 'a'}}" in worker.lines


async def test_actions_and_undos_in_workers_of_their_own(postgres_url, rabbit_url):
    """One serves steps only, one compensations only; undos wait for the second."""
    settings = Settings(broker=rabbit_url)
    doing, undoing = Service("far"), Service("far")
    doing.does["c"] = raising(StepFailed("declined"))
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, engine=True
    ) as manager:
        async with open_worker(
            settings, [doing.handlers], frozenset({Direction.ACTION})
        ):
            saga = await manager.start("s", FAR.chain())
            await eventually(lambda: _no_service(manager, saga.id), seconds=30)
            async with open_worker(
                settings, [undoing.handlers], frozenset({Direction.COMPENSATION})
            ):
                saga = await manager.wait(saga.id, timeout=60)
        assert saga.is_compensated
        assert doing.runs == ["a", "b", "c"]
        assert undoing.runs == ["undo_b", "undo_a"]


async def _no_service(manager: Manager, saga_id: str) -> bool:
    record = await manager.record(saga_id)
    return any("no service handles" in row.error for row in record.outbox)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_command_that_kills_its_worker_takes_no_neighbour_with_it(
    postgres_url, rabbit_url, worker
):
    """Ten that came with it complete; it is dead-lettered, unknown, and undone."""
    async with Manager.open(store=postgres_url, migrate=True) as client:
        steps = FAR.chain("a", retry=ONCE)
        sagas = [await client.start("s", steps) for _ in range(5)]
        deadly = await client.start("s", steps, {"deadly": True})
        sagas += [await client.start("s", steps) for _ in range(5)]
        async with Manager.open(
            store=postgres_url, broker=rabbit_url, engine=True
        ) as manager:
            running = asyncio.ensure_future(_keep_alive(worker))
            try:
                for saga in sagas:
                    ended = await manager.wait(saga.id, timeout=120)
                    assert ended.is_completed
                    assert ended.status("a").attempt == 1
                saga = await manager.wait(deadly.id, timeout=180)
            finally:
                running.cancel()
            assert saga.is_compensated
            assert saga.status("a").outcome is Outcome.UNKNOWN
            assert "Undeliverable" in saga.reason
            # Once in its frame, then alone up to the limit of 20.
            assert 2 <= sum(line.startswith("deadly") for line in worker.lines) <= 21
            assert f"undo_a {deadly.id} None" in worker.lines


async def _keep_alive(worker: WorkerProcess) -> None:
    while True:
        worker.start()
        await eventually(lambda: not worker.is_alive(), seconds=1000)
