"""Seata Saga: loops over items, a few at a time."""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import Outcome, RetryPolicy, Step
from saga_orchestrator.testing import Given, action
from tests.scenarios.cases import begun
from tests.scenarios.phases import at, at_end, phases
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)
UNTIL_IT_WORKS = RetryPolicy(max_attempts=None, initial_delay=SECOND, jitter=0)
WAVE = 3
ITEMS = [f"item{number}" for number in range(10)]


def looped() -> Given:
    """First, then ten items, three at a time: each waits for the third before it."""
    before = ["First"] * WAVE + ITEMS
    items = [
        step(name, depends_on=[waits])
        for name, waits in zip(ITEMS, before, strict=False)
    ]
    return saga("First", *items)


def looped_twice() -> Given:
    """Ten items, then ten more of which one throws."""
    first = [step(name, depends_on=[]) for name in ITEMS]
    then = [
        step(f"second-{name}", depends_on=ITEMS, retry=ONCE, compensation="")
        for name in ITEMS[:2]
    ]
    return saga(*first, *then)


async def one_item_unknown(stage: Stage) -> None:
    """One item throws: it is unknown, and still unknown later; nothing is undone."""
    items = [step(name, depends_on=[], retry=UNTIL_IT_WORKS) for name in ITEMS[:WAVE]]
    end = Step("end", depends_on=ITEMS[:WAVE])
    kind = saga(*items, end).when(action("item1").errs())
    async with begun(stage, kind, "SEA-11") as play:
        for seconds in (0.5, 1.5):
            outcome = await play.run(seconds * SECOND)
            outcome.expect("started", undone=[], executed={"item0", "item2"})
            assert outcome.saga.status("item1").outcome is Outcome.UNKNOWN


SCENARIOS: list[Scenario] = [
    phases(
        "SEA-08",
        looped().when(*(action(name).answers_after(60 * SECOND) for name in ITEMS)),
        at(30, "started", calls={"First", *ITEMS[:3]}),
        at(90, "started", calls={"First", *ITEMS[:6]}),
        at_end("completed", executed={"First", *ITEMS}),
        deviation="Seata's loop is made at run time and ends when enough items are "
        "done; here the steps are laid out at the start, and all of them are done",
    ),
    row(
        "SEA-09",
        looped_twice().when(action("second-item0").errs()),
        "compensated",
        calls={
            *ITEMS,
            "second-item0: error",
            "second-item1",
            *(f"undo {name}" for name in ITEMS),
        },
        deviation="Seata tells two states, forward unknown and compensation done; "
        "here the saga is compensated, and the step's outcome is unknown",
    ),
    Case("SEA-11", one_item_unknown),
]

LATER: list[Later] = []
