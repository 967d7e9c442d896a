"""An engine that dies at a chosen point: rows F01 to F05 and F10 of the faults.

The engine is a process of its own. Proxies that know the protocols see what it
sends and gets, and it is killed with SIGKILL at the message that is the point.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, StepState
from saga_orchestrator.core.decision import HistoryKind
from tests.support.books import Books, chain
from tests.support.engine_process import engine_process
from tests.support.waiting import eventually
from tests.support.wiretap import Rule, Seen, pass_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine_process import EngineProcess
    from tests.support.wires import Wires

pytestmark = [pytest.mark.slow]


class CrashPoint:
    """Kills the engine at one message; nobody hears of that message.

    Attributes:
        process: what is killed; nothing before it is set.
        is_reached: whether it was.
    """

    def __init__(self, name: str, books: Books) -> None:
        self._name = name
        self._books = books
        self._confirms = 0
        self.process: EngineProcess | None = None
        self.is_reached = False

    async def rule(self, seen: Seen) -> bool:
        """Pass the message, or die of it."""
        if self.process and not self.is_reached and self._is_point(seen):
            self.process.kill()
            self.is_reached = True
        return not self.is_reached

    def _is_point(self, seen: Seen) -> bool:
        match self._name:
            case "after the handler, before the commit":
                return seen.is_commit and bool(self._books.effects())
            case "after the commit, before the publish":
                return seen.is_publish and bool(self._books.effects())
            case "after the commit, before the ack":
                return seen.is_ack
            case "after the publish, before the confirm":
                return seen.is_confirm
            case "after the confirm, before the row is gone":
                self._confirms += seen.is_confirm
                return self._confirms > 0 and _SETTLE in seen.payload[:80]
            case _:
                raise AssertionError(self._name)


_SETTLE = b"\0DELETE FROM saga_outbox"
"""How the statement begins that does nothing but forget confirmed commands."""

RUNS_OF_A = {
    "after the handler, before the commit": 2,
    "after the commit, before the publish": 1,
    "after the publish, before the confirm": 3,
    "after the confirm, before the row is gone": 3,
    "after the commit, before the ack": 1,
}


@pytest.mark.parametrize("point", RUNS_OF_A)
async def test_a_crash_loses_nothing_and_doubles_nothing(
    point: str, wires: Wires, books: Books, client: Manager, tmp_path: Path
) -> None:
    """Whatever the engine dies at, another finishes the saga, each effect once."""
    crash = CrashPoint(point, books)
    wires.obey(crash.rule)
    holds = "row is gone" in point  # or the next commit would take it along
    with engine_process(**wires.urls, folder=tmp_path, hold=holds) as process:
        await process.ready()
        crash.process = process
        saga = await client.start(chain())
        await eventually(lambda: not process.is_alive)
    assert crash.is_reached
    wires.obey(pass_all)
    if "confirm" in point:  # nobody knows that it arrived, so it goes out again
        assert wires.broker.published["a"] == 1
        books.gate = lambda _: eventually(lambda: wires.broker.published["a"] == 2)
    async with Manager.open(**wires.urls, handlers=[books.handlers]) as manager:
        saga = await manager.wait(saga.id, timeout=30)
        await eventually(lambda: _is_quiet(manager, saga.id))
    assert saga.is_completed
    assert len(books.effects()) == 3
    assert set(books.effects().values()) == {1}
    runs = books.runs("a")
    assert len({key for key, _ in runs}) == 1
    assert len(runs) <= RUNS_OF_A[point]


async def _is_quiet(manager: Manager, saga_id: str) -> bool:
    """Hold a saga's history to its rules; tell whether its outbox is empty."""
    record = await manager.record(saga_id)
    assert [e.seq for e in record.history] == list(range(1, len(record.history) + 1))
    kinds = Counter(entry.kind for entry in record.history)
    assert kinds[HistoryKind.STEP_SUCCEEDED] == 3
    return not record.outbox


DEATHS = ("before", "after", "after", "before", "after")
"""Of one commit after the other: two steps' answers, then the undo's."""


async def test_an_engine_that_dies_of_every_commit_gets_there(
    wires: Wires, books: Books, client: Manager, tmp_path: Path
) -> None:
    """Killed in recovery and while it undoes, again and again; then at rest."""
    saga = await client.start(chain("ab"), context={"refuse": "b"})
    for when in DEATHS:
        with engine_process(**wires.urls, folder=tmp_path) as process:
            wires.store.rule = _dying_at_commit(process, when)
            await eventually(lambda: not process.is_alive)
        wires.store.rule = pass_all
    saga = await client.get(saga.id)
    assert saga.is_compensated
    assert saga.status("a").state is StepState.COMPENSATED
    counts = books.effects()
    assert counts == {(saga.id, "a", "action"): 1, (saga.id, "a", "compensation"): 1}
    assert len(books.runs("a")) == 2  # the first commit never came to be
    assert len(books.runs("a", "compensation")) == 2
    ended = await client.record(saga.id)
    async with Manager.open(**wires.urls, handlers=[books.handlers]) as manager:
        other = await manager.start(chain())
        assert (await manager.wait(other.id, timeout=30)).is_completed
    after = await client.record(saga.id)
    assert (after.saga, after.history) == (ended.saga, ended.history)


def _dying_at_commit(process: EngineProcess, when: str) -> Rule:
    async def rule(seen: Seen) -> bool:
        if seen.is_commit if when == "before" else seen.is_committed:
            process.kill()
        return process.is_alive

    return rule
