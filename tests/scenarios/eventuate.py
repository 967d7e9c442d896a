"""Eventuate Tram Sagas: conditional, local and remote steps, notifications.

A step that Eventuate runs in the orchestrator's own transaction ("local") is a
step like any other here. An order of a customer is in ``eventuate_orders.py``.
"""

from __future__ import annotations

from saga_orchestrator import RetryPolicy, StepContext
from saga_orchestrator.testing import Given, action, undo
from tests.scenarios.cases import history, played
from tests.scenarios.engines import Service
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

AWAITED = (
    "Eventuate does not wait for a notification; here the answer of every step is "
    "awaited, so that completed means delivered, and undone means undone"
)
DECLARED = RetryPolicy(non_retryable=("OrderRejected",))


def conditional(*, cond: bool) -> Given:
    """Do1 if the condition holds, then ReserveCredit."""
    first = step("Do1", when={"context.cond": True})
    return saga(first, "ReserveCredit", context={"cond": cond})


# LocalSagaTest: local with undo, remote with undo, local.
local = saga("s1", "s2", step("s3", compensation="", retry=ONCE))


def ordering(
    *, approve: RetryPolicy = ONCE, fulfil: bool = True, on_failure: str = "compensate"
) -> Given:
    """The order of the notification tests."""
    return saga(
        "create",
        "reserveCredit",
        "reserveInventory",
        step("approve", compensation="", retry=approve),
        step("fulfil", compensation="", when={"context.fulfil": True}),
        context={"fulfil": fulfil},
        on_failure=on_failure,
    )


RESERVED = ["create", "reserveCredit", "reserveInventory"]
ALL_UNDONE = ["undo reserveInventory", "undo reserveCredit", "undo create"]

ANSWERS = {
    # variant: (condition, who fails, the end, what the history tells)
    "all": (True, "", "completed", ["succeeded Do1", "succeeded ReserveCredit"]),
    "rollback": (
        True,
        "ReserveCredit",
        "compensated",
        ["succeeded Do1", "failed ReserveCredit", "succeeded undo Do1"],
    ),
    "except-1": (False, "", "completed", ["skipped Do1", "succeeded ReserveCredit"]),
    "rollback-except-1": (
        False,
        "ReserveCredit",
        "compensated",
        ["skipped Do1", "failed ReserveCredit"],
    ),
    "first-fails": (True, "Do1", "compensated", ["failed Do1"]),
}


def answered_once(variant: str) -> Case:
    """Each answer makes one entry in the history, though it is told twice."""
    cond, fails, end, answers = ANSWERS[variant]

    async def run(stage: Stage) -> None:
        steps = ("Do1", "ReserveCredit")
        lines = [
            action(name).refuses() if name == fails else action(name).answers_twice()
            for name in steps
        ]
        kind = conditional(cond=cond).when(*lines, undo("Do1").answers_twice())
        outcome = await played(stage, kind, f"EVT-06-{variant}")
        outcome.expect(end)
        entries = [line for line in history(outcome) if line.startswith("step_")]
        assert entries == [f"step_{answer}" for answer in answers]

    return Case("EVT-06", run, variant)


async def rolled_back_by_its_reply(stage: Stage) -> None:
    """The reply to the last undo ends the saga as compensated, in one transition."""
    one = saga(step("command", undo_failed="always")).when(action("command").refuses())
    outcome = await played(stage, one, "EVT-18")
    outcome.expect("compensated", calls=["command: refused", "undo command"])
    assert [(entry.kind, entry.state) for entry in outcome.record.history] == [
        ("saga_started", "started"),
        ("step_failed", "compensating"),
        ("step_succeeded", "compensated"),
    ]


def rejecting() -> Given:
    """The undo of ``create`` notes the rejection in the saga's data."""
    orders = Service()

    def reject(ctx: StepContext) -> None:
        ctx.update({"order": "REJECTED"})

    create = orders.step("create", undoes=reject)
    approve = step("approve", compensation="", retry=DECLARED)
    return saga(
        create,
        "reserveCredit",
        "reserveInventory",
        approve,
        context={"order": "PENDING"},
        handlers=[orders.handlers],
    )


SCENARIOS: list[Scenario] = [
    row(
        "EVT-01",
        conditional(cond=True),
        "completed",
        calls=["Do1", "ReserveCredit"],
    ),
    row(
        "EVT-02",
        conditional(cond=True).when(action("ReserveCredit").refuses()),
        "compensated",
        calls=["Do1", "ReserveCredit: refused", "undo Do1"],
    ),
    row("EVT-03", conditional(cond=False), "completed", calls=["ReserveCredit"]),
    row(
        "EVT-04",
        conditional(cond=False).when(action("ReserveCredit").refuses()),
        "compensated",
        calls=["ReserveCredit: refused"],
        steps={"Do1": "skipped"},
    ),
    row(
        "EVT-05",
        conditional(cond=True).when(action("Do1").refuses()),
        "compensated",
        calls=["Do1: refused"],
        steps={"ReserveCredit": "pending"},
    ),
    *map(answered_once, ANSWERS),
    row("EVT-07", local, "completed", calls=["s1", "s2", "s3"]),
    row(
        "EVT-08",
        local.when(action("s2").refuses()),
        "compensated",
        calls=["s1", "s2: refused", "undo s1"],
    ),
    row(
        "EVT-09",
        saga(step("s1", retry=ONCE), "s2", "s3").when(action("s1").errs("no disk")),
        "compensated",
        calls=["s1: error", "undo s1"],
        reason="no disk",
        deviation="Eventuate runs a local first step inside the start, which then "
        "raises; here every step runs after the start has been committed, so that "
        "the start stands and the saga is undone; no other step is sent either way",
    ),
    row(
        "EVT-10",
        local.when(action("s3").errs()),
        "compensated",
        calls=["s1", "s2", "s3: error", "undo s2", "undo s1"],
    ),
    row(
        "EVT-11",
        ordering(),
        "completed",
        calls=[*RESERVED, "approve", "fulfil"],
        deviation=AWAITED,
    ),
    row(
        "EVT-12",
        ordering().when(action("approve").errs()),
        "compensated",
        calls=[*RESERVED, "approve: error", *ALL_UNDONE],
        deviation=AWAITED,
    ),
    row(
        "EVT-13",
        ordering(fulfil=False),
        "completed",
        calls=[*RESERVED, "approve"],
        steps={"fulfil": "skipped"},
    ),
    row(
        "EVT-14",  # a condition of an undo is its handler's: it answers Skip
        ordering().when(action("approve").errs(), undo("reserveInventory").skips()),
        "compensated",
        calls=[
            *RESERVED,
            "approve: error",
            "undo reserveInventory: skipped",
            "undo reserveCredit",
            "undo create",
        ],
    ),
    row(
        "EVT-15",
        rejecting().when(action("approve").errs("sold", error_type="OrderRejected")),
        "compensated",
        calls=[*RESERVED, "approve: error", *ALL_UNDONE],
        context={"order": "REJECTED"},
        reason="OrderRejected: sold",
    ),
    row(
        "EVT-16",
        ordering(approve=RetryPolicy(max_attempts=2)).when(action("approve").errs()),
        "compensated",
        calls=[*RESERVED, "approve: error", "approve: error", *ALL_UNDONE],
        deviation="Eventuate undoes only for exceptions that were declared, others "
        "are left to redelivery; here any other is an unknown outcome: tried again, "
        "then undone",
    ),
    row(
        "EVT-16",
        ordering(on_failure="park").when(action("approve").errs("bug")),
        "failed",
        calls=[*RESERVED, "approve: error"],
        undone=[],
        reason="bug",
        variant="park",
        deviation="with on_failure='park' nothing is undone either, and a person looks",
    ),
    Case("EVT-18", rolled_back_by_its_reply),
]

LATER: list[Later] = [Later("EVT-17", "child sagas: a step that another saga does")]
