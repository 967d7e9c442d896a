"""Starting sagas: numbers are taken once, and a late start hides no wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from saga_orchestrator.bench.load import Load, LoadOrder
from saga_orchestrator.bench.plan import Shape
from saga_orchestrator.bench.subject import Subject
from saga_orchestrator.bench.tickets import Tickets
from saga_orchestrator.core.states import SagaState
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

_TAKE_ALL = """
import sys
from pathlib import Path
from saga_orchestrator.bench.tickets import Tickets
with Tickets(Path(sys.argv[1]), 2000) as tickets:
    while (number := tickets.take()) is not None:
        print(number)
"""


class Time:
    """A clock that moves only when somebody waits for it."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        """Return the instant."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds


class SlowStarts:
    """What of a manager a load needs; each start takes a second."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.count = 0

    async def start(self, *_: Any, **__: Any) -> SimpleNamespace:
        """Start nothing, slowly."""
        self.count += 1
        self._time.at += 1
        return SimpleNamespace(id=f"saga {self.count}")


def _load(time: Time, starts: SlowStarts, **order: Any) -> Load:
    whole = {"tickets": "", "window": 1, "rate": None, "begin_at": 100.0, **order}
    return Load(starts, Subject(Shape(), "x"), {}, LoadOrder(**whole), time)


async def test_an_open_load_counts_from_the_intended_instant(tmp_path: Path) -> None:
    """A start that is held up by others is not counted as later than it was due."""
    time = Time()
    load = _load(time, SlowStarts(time), sagas=4, rate=10.0)
    with Tickets(tmp_path / "tickets", 4) as tickets:
        await load.run(tickets)
    assert sorted(load.started.values()) == [100.0, 100.1, 100.2, 100.3]
    assert time.at >= 104


async def test_a_closed_load_starts_the_next_when_one_ends(tmp_path: Path) -> None:
    """As many sagas are under way as it was told, whoever started them."""
    time = Time()
    starts = SlowStarts(time)
    load = _load(time, starts, sagas=3, window=2)
    with Tickets(tmp_path / "tickets", 3) as tickets:
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(tickets))
            await eventually(lambda: starts.count == 2)
            ended = SimpleNamespace(
                id="started by another process",
                state=SagaState.COMPLETED,
                plan=SimpleNamespace(definition=Subject(Shape(), "x").definition),
            )
            for _ in "ab":  # hearing of an end twice makes no room for two
                load.notice([SimpleNamespace(saga=ended)])
            await eventually(lambda: starts.count == 3)
            ended.id = "the next"  # else it waits for ever that there is room
            load.notice([SimpleNamespace(saga=ended)])
    assert starts.count == 3
    assert list(load.ended) == ["started by another process", "the next"]


def test_numbers_are_taken_once(tmp_path: Path) -> None:
    """Processes that take numbers at once get all of them, each one of them once."""
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", _TAKE_ALL, tmp_path / "tickets"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    taken = [int(line) for one in takers for line in one.communicate()[0].split()]
    assert sorted(taken) == list(range(2000))
