"""dtm: barriers and messages.

dtm's message is a local transaction and what must be sent if it commits. Here
that is a start (the saga and its first command are committed together), a
transition (so are the answer and the next command), and a participant's barrier
(so are the effect and the answer to any repeat).
"""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from saga_orchestrator import (
    PayloadError,
    SagaDefinition,
    SqliteBarrier,
    Step,
    StepContext,
    StepFailed,
)
from saga_orchestrator.testing import action, operator
from tests.scenarios.cases import own_url, played
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.phases import at, at_end, phases
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage

SECOND = dt.timedelta(seconds=1)
TABLES = """
    CREATE TABLE accounts (name TEXT PRIMARY KEY);
    INSERT INTO accounts VALUES ('out'), ('in');
    CREATE TABLE moves (
        account TEXT REFERENCES accounts DEFERRABLE INITIALLY DEFERRED,
        amount INTEGER
    );
"""


class Bank(Service):
    """A participant with accounts in a database of its own, behind a barrier."""

    def __init__(self, stage: Stage) -> None:
        super().__init__("bank")
        self.path = stage.folder / "bank.db"
        self.barrier = SqliteBarrier(self.path)

    def moving(
        self, account: str, amount: int, error: Exception | None = None
    ) -> Callable[[StepContext], object]:
        """Return what moves money, and may fail before the commit."""

        def effect(conn: sqlite3.Connection) -> None:
            conn.execute("INSERT INTO moves VALUES (?, ?)", (account, amount))
            if error is not None:
                raise error

        return lambda ctx: self.barrier.run_sync(ctx, effect)

    def trans_out(self, error: Exception | None = None, **options: Any) -> Step:
        """Return S1, which takes 30 from one account."""
        return self.step(
            "S1", self.moving("out", -30, error), self.moving("out", 30), **options
        )

    def trans_in(self, error: Exception | None = None, **options: Any) -> Step:
        """Return S2, which gives 30 to the other."""
        return self.step(
            "S2", self.moving("in", 30, error), self.moving("in", -30), **options
        )

    def moves(self) -> list[tuple[str, int]]:
        """Return what was moved for good, in order."""
        with closing(sqlite3.connect(self.path)) as conn:
            return conn.execute("SELECT * FROM moves ORDER BY rowid").fetchall()


@asynccontextmanager
async def bank_of(stage: Stage) -> AsyncIterator[Bank]:
    """Open a bank where nothing was moved yet."""
    bank = Bank(stage)
    async with bank.barrier:
        with closing(sqlite3.connect(bank.path)) as conn:
            conn.executescript(TABLES)
        yield bank


async def refused_behind_a_barrier(stage: Stage) -> None:
    """The undo of what was rolled back has no effect; the other one reverts."""
    async with bank_of(stage) as bank:
        steps = [
            bank.trans_out(undo_failed="always"),
            bank.trans_in(StepFailed("no"), undo_failed="always"),
        ]
        transfer = saga(*steps, handlers=[bank.handlers])
        outcome = await played(stage, transfer, "DTM-07")
        calls = ["S1", "S2: refused", "undo S2", "undo S1"]
        outcome.expect("compensated", calls=calls)
        assert bank.moves() == [("out", -30), ("out", 30)]


async def moved_behind_a_barrier(stage: Stage) -> None:
    """What leaves one account arrives at the other."""
    async with bank_of(stage) as bank:
        transfer = saga(bank.trans_out(), bank.trans_in(), handlers=[bank.handlers])
        outcome = await played(stage, transfer, "DTM-08")
        outcome.expect("completed", calls=["S1", "S2"])
        assert bank.moves() == [("out", -30), ("in", 30)]


async def committed_with_its_message(stage: Stage) -> None:
    """A start commits the saga with its command; an engine that comes delivers it."""
    url = await own_url(stage)
    async with bank_of(stage) as bank:
        transfer = SagaDefinition("transfer", [bank.trans_out(), bank.trans_in()])
        async with manager_on(url) as nobody_works:
            started = await nobody_works.start(transfer)
            record = await nobody_works.record(started.id)
        assert [command.fence.step for command in record.outbox] == ["S1"]
        assert bank.moves() == []
        async with manager_on(url, bank.handlers) as manager:
            assert (await manager.wait(started.id, SECONDS)).is_completed
        assert bank.runs == ["S1", "S2"]
        assert bank.moves() == [("out", -30), ("in", 30)]


async def error_inside_the_transaction(stage: Stage) -> None:
    """A business error rolls the effect back, and the next command is never sent."""
    async with bank_of(stage) as bank:
        steps = [bank.trans_out(StepFailed("a business error")), bank.trans_in()]
        outcome = await played(stage, saga(*steps, handlers=[bank.handlers]), "DTM-25")
        outcome.expect("compensated", calls=["S1: refused"], reason="a business error")
        assert bank.moves() == []


async def error_at_the_start(stage: Stage) -> None:
    """A start that raises leaves neither a saga nor a command."""
    async with manager_on(await own_url(stage)) as manager:
        with pytest.raises(PayloadError, match="amount"):
            await manager.start("transfer", [step("S1")], {"amount": math.nan})
        assert await manager.list_active() == []
        assert await manager.store.claim(10, SECOND) == []


async def commit_failed(stage: Stage) -> None:
    """What a failed COMMIT rolled back is not undone again, and S2 is never sent."""
    async with bank_of(stage) as bank:

        def move_to_nobody(ctx: StepContext) -> None:
            with closing(sqlite3.connect(bank.path, isolation_level=None)) as conn:
                conn.execute("PRAGMA foreign_keys = ON")  # judged at the commit
                conn.execute("BEGIN IMMEDIATE")
                assert bank.barrier.claim(conn, ctx).is_new
                conn.execute("INSERT INTO moves VALUES ('nobody', -30)")
                bank.barrier.record(conn, ctx, None)
                conn.execute("COMMIT")

        first = bank.step("S1", move_to_nobody, bank.moving("nobody", 30), retry=ONCE)
        outcome = await played(
            stage, saga(first, bank.trans_in(), handlers=[bank.handlers]), "DTM-26"
        )
        outcome.expect(
            "compensated",
            calls=["S1: error", "undo S1"],
            reason="FOREIGN KEY constraint failed",
        )
        assert bank.moves() == []


async def too_late_for_its_undo(stage: Stage) -> None:
    """An action that comes after its undo finds the barrier claimed: no effect."""
    async with bank_of(stage) as bank:
        late = action("S1").arrives_after(60 * SECOND)
        transfer = saga(bank.trans_out(retry=ONCE), handlers=[bank.handlers]).when(
            late, operator.gives_up("S1", at=10 * SECOND)
        )
        outcome = await played(stage, transfer, "DTM-28")
        outcome.expect("compensated", calls=["undo S1", "S1: superseded"], residuals=0)
        assert bank.moves() == []


SCENARIOS: list[Scenario] = [
    Case("DTM-07", refused_behind_a_barrier),
    Case("DTM-08", moved_behind_a_barrier),
    Case("DTM-24", committed_with_its_message),
    Case("DTM-25", error_inside_the_transaction, variant="participant"),
    Case("DTM-25", error_at_the_start, variant="start"),
    Case("DTM-26", commit_failed),
    Case("DTM-28", too_late_for_its_undo),
    phases(
        "DTM-29",  # a delay is a step that puts itself off once
        saga(
            "delay",
            step("S1", depends_on=["delay"]),
            step("S2", depends_on=["delay"]),
        ).when(action("delay").comes_later(10 * SECOND, times=1)),
        at(0, "started", calls=["delay: later"]),
        at(8, "started", calls=["delay: later"]),
        at(12, "completed", calls={"delay: later", "delay", "S1", "S2"}),
    ),
    phases(
        "DTM-30",  # the back-check is a step before the branches
        saga(step("check", compensation=""), "S1", "S2").when(
            action("check").comes_later(10 * SECOND, times=1).refuses("rolled back")
        ),
        at(9, "started", calls=["check: later"]),
        at_end(
            "compensated",
            calls=["check: later", "check: refused"],
            steps={"S1": "pending", "S2": "pending"},
            reason="rolled back",
        ),
    ),
]

LATER: list[Later] = []
