"""What a person reads while no engine, or no worker, takes the commands."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, SagaDefinition, Step
from saga_orchestrator.cli.following import follow
from saga_orchestrator.cli.get import describe
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

URL = "sqlite:///saga.db"
MINUTE = dt.timedelta(minutes=1)
ORDER = SagaDefinition("order", steps=[Step("pay", action="payment.charge")])
HINT = "nobody has taken it yet: is `saga serve` or `saga dev` running on this store?\n"


async def _started_a_minute_ago(error: str = "") -> None:
    """Start a saga, in the store of the working directory; put its command off."""
    store = await Store.open(URL, clock=ManualClock(SystemClock().now() - MINUTE))
    async with Manager.open(store=store, engine=False) as manager:
        saga = await manager.start(ORDER)
        if error:
            await store.defer([saga.fence_of(0)], error, LEASE)


@pytest.mark.usefixtures("store")
def test_doctor_finds_commands_nobody_took(saga: Callable[..., Result]) -> None:
    """A command that lies for a minute means that no engine runs: wrong, code 1."""
    asyncio.run(_started_a_minute_ago())
    done = saga("doctor")
    assert done.exit_code == 1
    assert "✗ outbox: 1 command not sent, the oldest since " in done.stdout
    assert "fix: start `saga serve` or `saga dev` on this store" in done.stdout


@pytest.mark.usefixtures("store")
def test_doctor_finds_commands_without_a_worker(saga: Callable[..., Result]) -> None:
    """A command that no service handles is wrong; the fix names the worker."""
    asyncio.run(_started_a_minute_ago("no service handles payment.charge"))
    done = saga("doctor")
    assert done.exit_code == 1
    assert (
        "✗ outbox: 1 command not sent: no service handles payment.charge\n"
        "    fix: run a worker for payment.charge\n"
    ) in done.stdout
    assert "no engine" not in done.stdout


@pytest.mark.parametrize(
    ("state", "remark"),
    [
        ("untaken", "not sent yet: no engine has taken it"),
        ("taken", "being sent: the broker has not confirmed it yet"),
        ("put off", "not sent: no service handles payment.charge"),
        (
            "confirmed",
            "sent 12.0 s ago, its answer is awaited; asked again in 1 min 48 s",
        ),
    ],
)
async def test_get_tells_where_a_command_is(state: str, remark: str) -> None:
    """Only what the broker confirmed is told as sent."""
    clock = ManualClock()
    store = await Store.open("memory://", clock=clock)
    async with Manager.open(store=store, engine=False, clock=clock) as manager:
        saga = await manager.start(ORDER)
        fences = [saga.fence_of(0)]
        if state == "taken":
            await store.claim(1, LEASE)
        elif state == "put off":
            await store.defer(fences, "no service handles payment.charge", MINUTE)
        elif state == "confirmed":
            await store.settle(fences)
            clock.advance(12)
        record = await manager.record(saga.id)
    told = list(describe(record, clock.now()))
    assert any(line.endswith(remark) for line in told), told


@pytest.mark.parametrize("taken", [False, True])
async def test_who_follows_is_told_once(
    capsys: pytest.CaptureFixture[str], taken: bool
) -> None:
    """After 3 seconds, once; not at all where an engine has the command in hand."""
    clock = ManualClock()
    store = await Store.open("memory://", clock=clock)
    async with Manager.open(store=store, engine=False, clock=clock) as manager:
        saga = await manager.start(ORDER)
        if taken:
            await store.claim(1, MINUTE)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(follow(manager, saga.id, clock))
            for told in ("", HINT, ""):
                await _advance(clock, 2.5)
                assert capsys.readouterr().err == ("" if taken else told)
            watching.cancel()


async def _advance(clock: ManualClock, seconds: float) -> None:
    """Move on in small steps, as polling does; let the others run in between."""
    for _ in range(round(seconds / 0.05)):
        clock.advance(0.05)
        for _ in range(10):
            await asyncio.sleep(0)
