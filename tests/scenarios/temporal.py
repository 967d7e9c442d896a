"""Temporal: sagas of its samples, cancellation, attempts.

What needs a process that stops, or a database of a participant, is in
``temporal_cases.py``.
"""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import RetryPolicy, Step
from saga_orchestrator.testing import action, operator, undo
from tests.scenarios.phases import at, at_end, phases
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Later, Scenario, row

SECOND = dt.timedelta(seconds=1)

THROW = step("throw", compensation="", retry=ONCE)
registered_after = ("activity", "child", THROW, "never")
throws = action("throw").errs("an IOException")

transfer = saga("withdraw", "deposit", step("error", compensation=""))

MILK = step("milk", compensation="")
breakfast = saga("bowl", "cereal", MILK)
registered_before = saga(
    step("bowl", undo_failed="always"), step("cereal", undo_failed="always"), MILK
)

account = saga(step("account", compensation=""), "address", "client", "bank")

# The last step has nothing to do; it makes a graph of the two before it.
handled = saga(
    step("main", undo_failed="always"),
    "handler",
    Step("end", depends_on=["main", "handler"]),
)
handler_is_slow = action("handler").answers_after(10 * SECOND)

endless = action("endless").comes_later(dt.timedelta(days=1))
slow = saga("slow", "next").when(action("slow").answers_after(10 * SECOND))


SCENARIOS: list[Scenario] = [
    # The undo of a child saga is that of its step.
    row(
        "TMP-01",
        saga(*registered_after).when(throws),
        "compensated",
        calls=["activity", "child", "throw: error", "undo child", "undo activity"],
        steps={"never": "pending"},
        reason="an IOException",
    ),
    phases(
        "TMP-02",
        saga(*registered_after, parallel_compensation=True).when(
            throws,
            undo("activity").answers_after(10 * SECOND),
            undo("child").answers_after(10 * SECOND),
        ),
        at(
            5,
            "compensating",
            steps={"activity": "compensating", "child": "compensating"},
        ),
        at_end(
            "compensated",
            executed=["activity", "child"],
            undone={"activity", "child"},
        ),
    ),
    row(
        "TMP-04",
        transfer.when(action("error").errs("some error")),
        "compensated",
        calls=[
            *("withdraw", "deposit", "error: error", "error: error", "error: error"),
            *("undo deposit", "undo withdraw"),
        ],
        reason="some error",
    ),
    row("TMP-05", breakfast, "completed", calls=["bowl", "cereal", "milk"]),
    row(
        "TMP-06",
        breakfast.when(action("milk").refuses()),
        "compensated",
        calls=["bowl", "cereal", "milk: refused", "undo cereal", "undo bowl"],
    ),
    row(
        "TMP-07",
        registered_before.when(action("cereal").refuses()),
        "compensated",
        calls=["bowl", "cereal: refused", "undo cereal", "undo bowl"],
        steps={"milk": "pending"},
    ),
    row(
        "TMP-09",
        breakfast.when(
            action("milk").refuses("sour"),
            undo("cereal").answers_after(10 * SECOND),
            operator.compensates(at=5 * SECOND),
        ),
        "compensated",
        calls=["bowl", "cereal", "milk: refused", "undo cereal", "undo bowl"],
        reason="sour",
    ),
    row(
        "TMP-10",
        account.when(action("bank").refuses("bank is closed")),
        "compensated",
        calls=[
            *("account", "address", "client", "bank: refused"),
            *("undo client", "undo address"),
        ],
        reason="bank is closed",
    ),
    row(
        "TMP-11",
        account.when(action("account").refuses("no account")),
        "compensated",
        calls=["account: refused"],
        reason="no account",
    ),
    row(
        "TMP-12",
        handled.when(handler_is_slow),
        "completed",
        variant="success",
        calls={"main", "handler"},
    ),
    row(
        "TMP-12",
        handled.when(handler_is_slow, action("main").refuses()),
        "compensated",
        variant="failure",
        calls=["main: refused", "handler", "undo handler", "undo main"],
    ),
    row(
        "TMP-12",
        handled.when(
            handler_is_slow,
            action("main").answers_after(20 * SECOND),
            operator.compensates(at=SECOND),
        ),
        "compensated",
        variant="cancellation",
        calls=["main", "handler", "undo main", "undo handler"],
    ),
    row(
        "TMP-13",
        saga("endless").when(endless, operator.compensates(at=60 * SECOND)),
        "compensated",
        calls=["endless: later", "undo endless"],
        reason="compensate requested",
    ),
    row(
        "TMP-15",
        saga(step("step", retry=RetryPolicy(max_attempts=5))).when(
            action("step")
            .errs("attempt 1", times=1)
            .errs("attempt 2", times=1)
            .errs("attempt 3", times=1)
            .errs("attempt 4", times=1)
            .errs("attempt 5")
        ),
        "compensated",
        calls=["step: error"] * 5 + ["undo step"],
        reason="attempt 5",
    ),
    row(
        "TMP-21",
        saga(step("slow", undo_failed="never"), "next").when(
            action("slow").defers(10 * SECOND),
            operator.compensates(at=SECOND),
            operator.gives_up("slow", at=SECOND),
        ),
        "compensated",
        variant="abandon",
        calls=["slow: deferred", "slow: answered"],
        steps={"slow": "failed", "next": "pending"},
        residuals=1,
    ),
    row(
        "TMP-21",
        slow.when(operator.compensates(at=SECOND)),
        "compensated",
        variant="wait",
        calls=["slow", "undo slow"],
        steps={"next": "pending"},
    ),
    row(
        "TMP-21",
        slow.when(
            operator.compensates(at=SECOND), operator.gives_up("slow", at=SECOND)
        ),
        "compensated",
        variant="try",
        calls=["slow", "undo slow"],
        steps={"next": "pending"},
        residuals=1,
        deviation="the peer tells the activity that runs; here nothing reaches "
        "a handler that runs: its undo tells it, and what it still does is a residual",
    ),
]

LATER: list[Later] = [
    Later("TMP-14", "timers that a signal moves"),
    Later("TMP-16", "child sagas"),
]
