"""Handlers that return or raise what cannot be told: rows F68 and F69 of the faults.

They run in a worker process on RabbitMQ. Whatever one does, its step fails with a
text that everybody can read, and the worker lives.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator import Manager, Outcome, Step
from saga_orchestrator.ports.store import SagaFilter
from tests.support import wild_handlers
from tests.support.poison import told
from tests.unit.runtime.stage import ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from saga_orchestrator.core.saga import Saga

pytestmark = pytest.mark.slow


@pytest.fixture
def worker(rabbit_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process; what it says is read by nobody."""
    command = [sys.executable, "-m", "tests.support.wild_handlers", rabbit_url]
    with (tmp_path / "worker.log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
    yield child
    child.kill()
    child.wait()


@pytest.fixture
async def manager(postgres_url: str, rabbit_url: str) -> AsyncIterator[Manager]:
    """An orchestrator without handlers."""
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, engine=True
    ) as opened:
        yield opened


def _step(action: str, **options: Any) -> Step:
    return Step("a", action=f"wild.{action}", retry=ONCE, **options)


async def _goes_well(manager: Manager, worker: subprocess.Popen[bytes]) -> None:
    saga = await manager.start("well", [_step("well")])
    ended = await manager.wait(saga.id, timeout=60)
    assert ended.outputs == {"a": {"pid": worker.pid}}
    assert worker.poll() is None


async def test_whatever_a_handler_does_the_worker_lives(manager, worker) -> None:
    """Async or sync: one attempt, unknown, with a safe text; others are done."""
    sagas: dict[str, list[Saga]] = {}
    for name in wild_handlers.WILD:
        sagas[name] = [
            await manager.start("s", [_step(kind)], {"does": name})
            for kind in ("do", "sync")
        ]
    await _goes_well(manager, worker)
    for name, reason in wild_handlers.WILD.items():
        for saga in sagas[name]:
            ended = await manager.wait(saga.id, timeout=60)
            assert ended.is_compensated, name
            assert ended.status("a").outcome is Outcome.UNKNOWN, name
            assert ended.status("a").attempt == 1, name
            assert reason in ended.reason, name
            assert len(ended.reason) < 3_000, name
    await _goes_well(manager, worker)
    page = await manager.store.page(SagaFilter())
    assert page.unreadable == []
    assert manager.problems() == []


# -- pydantic --------------------------------------------------------------------

FITS: dict[str, Any] = {
    "a number as text": {"count": "1"},
    "a truth as number": {"count": True},
    "a large decimal": {"amount": "1" * 60 + "." + "9" * 60},
    "the last year": {"at": "9999-12-31T23:59:59.999999Z"},
    "the first year": {"at": "0001-01-01T00:00:00Z"},
    "an offset": {"at": "2026-06-30T23:59:59+14:00"},
}
UNFIT: dict[str, Any] = {
    "the year 0": {"at": "0000-01-01T00:00:00Z"},
    "the year 10000": {"at": "10000-01-01T00:00:00Z"},
    "no time zone": {"at": "2026-01-01T00:00:00"},
    "a leap second": {"at": "2016-12-31T23:59:60Z"},
    "a fraction as whole": {"count": 1.5},
    "no number": {"amount": "NaN"},
    "a strict one as text": {"exact": "1"},
    "a strict one as truth": {"exact": True},
}


async def test_what_fits_is_the_same_for_action_undo_and_reader(
    manager, worker
) -> None:
    """Lax as pydantic is: what was made of the input is what everybody reads."""
    for name, given in FITS.items():
        steps = [
            _step("typed", compensation="wild.untyped"),
            Step("b", action="wild.refuse", retry=ONCE),
        ]
        saga = await manager.start("s", steps, given)
        ended = await manager.wait(saga.id, timeout=60)
        assert ended.is_compensated, name
        read = ended.outputs["a"]
        assert told(wild_handlers.Typed(**read)) == told(wild_handlers.Typed(**given))
        assert ended.context["undo_saw"] == repr(wild_handlers.Typed(**read)), name
    await _goes_well(manager, worker)


async def test_what_does_not_fit_is_refused_before_it_runs(manager, worker) -> None:
    """A definite no, not retried, that names the field and not the value."""
    for name, given in UNFIT.items():
        saga = await manager.start("s", [_step("typed")], given)
        ended = await manager.wait(saga.id, timeout=60)
        assert ended.status("a").outcome is Outcome.REFUSED, name
        (field, value), *_ = given.items()
        assert f"InvalidInput: {field}: " in ended.reason, name
        assert isinstance(value, bool | int | float) or value not in ended.reason
    await _goes_well(manager, worker)
