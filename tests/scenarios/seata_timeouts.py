"""Seata Saga: a machine of two states that may take longer than its 1.5 s."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from saga_orchestrator import StepContext
from saga_orchestrator.testing import Given, action, operator
from tests.scenarios.engines import Service
from tests.scenarios.sagas import ONCE, saga
from tests.scenarios.table import Later, Row, Scenario, row

TIMEOUT = 1.5
# Which state sleeps, for how long, and how it then ends.
VARIANTS = list(
    itertools.product(("First", "Second"), (TIMEOUT, 2.5), ("succeeds", "throws"))
)


def machine(slow: str, seconds: float, end: str, **options: Any) -> Given:
    """First, then Second; what throws does so the first time."""
    service = Service()

    def sleeper(ctx: StepContext) -> None:
        if end == "throws" and ctx.step == slow and ctx.fence.generation == 1:
            raise RuntimeError("demo")

    steps = [service.step(name, sleeper, retry=ONCE) for name in ("First", "Second")]
    deadline = dt.timedelta(seconds=TIMEOUT)
    whole = saga(*steps, handlers=[service.handlers], deadline=deadline, **options)
    return whole.when(action(slow).answers_after(dt.timedelta(seconds=seconds)))


def undone_in_the_end(slow: str, seconds: float, end: str) -> Row:
    """Out of time: what runs is awaited, then all that may have happened is undone."""
    ran = f"{slow}: error" if end == "throws" else slow
    calls = [ran] if slow == "First" else ["First", ran, "undo Second"]
    variant = f"{slow}-{seconds}-{end}"
    if end == "succeeds" and seconds <= TIMEOUT:
        return row(
            "SEA-14",
            machine(slow, seconds, end),
            "completed",
            calls=["First", "Second"],
            variant=variant,
            deviation="Seata's coordinator also undoes a machine that has just ended; "
            "here what was answered by the deadline counts",
        )
    return row(
        "SEA-14",
        machine(slow, seconds, end),
        "compensated",
        calls=[*calls, "undo First"],
        reason="its deadline passed" if seconds > TIMEOUT else "demo",
        variant=variant,
    )


def forward_in_the_end(slow: str, seconds: float, end: str) -> Row:
    """Nothing is undone: the saga stops, and goes forward when a person says so."""
    kind = machine(slow, seconds, end, on_deadline="suspend", on_failure="park")
    is_out_of_time = seconds > TIMEOUT and slow == "First"
    stops = is_out_of_time or end == "throws"
    if stops:
        kind = kind.when(operator.retries())
    calls = ["First", "Second"]
    if end == "throws":
        calls.insert(calls.index(slow), f"{slow}: error")
    return row(
        "SEA-15",
        kind,
        "completed",
        calls=calls,
        variant=f"{slow}-{seconds}-{end}",
        deviation="Seata recovers forward by itself; here the saga stops for a "
        "person, who lets it go on"
        if stops
        else "",
    )


SCENARIOS: list[Scenario] = [
    *itertools.starmap(undone_in_the_end, VARIANTS),
    *itertools.starmap(forward_in_the_end, VARIANTS),
]

LATER: list[Later] = []
