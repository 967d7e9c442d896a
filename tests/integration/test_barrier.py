"""The barrier's contract, held against SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest

from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.barrier import (
    Claim,
    PostgresBarrier,
    SqliteBarrier,
)
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.executor import execute
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.participant.signals import StepFailed, Superseded
from saga_orchestrator.participant.threads import HandlerThreads
from saga_orchestrator.participant.values import InvalidOutput
from tests.support.ledgers import Gate, Ledger, PostgresLedger, Receipt, SqliteLedger
from tests.support.participants import SAGA, StillClock, action, context_of, undo


async def _open(kind: str, request: pytest.FixtureRequest, *, broken: bool) -> Ledger:
    if kind == "sqlite":
        path = request.getfixturevalue("tmp_path") / "ledger.db"
        return await SqliteLedger.open(path, _OpenSqlite if broken else SqliteBarrier)
    url = request.getfixturevalue("postgres_url")
    return await PostgresLedger.open(url, _OpenPostgres if broken else PostgresBarrier)


_KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=_KINDS)
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    """A fresh ledger behind a barrier."""
    opened = await _open(request.param, request, broken=False)
    yield opened
    await opened.close()


@pytest.fixture
async def other(ledger: Ledger) -> AsyncIterator[Ledger]:
    """The same ledger, as another process has it."""
    opened = await ledger.other()
    yield opened
    await opened.close()


async def test_a_repeated_action_answers_from_its_row(
    ledger: Ledger, other: Ledger
) -> None:
    """The effect is had once; both answers are equal; the second had no effect."""
    first, second = context_of(action()), context_of(action(attempt=2))

    one = await ledger.run(first)
    two = await other.run(second)

    assert one == Receipt(number=1, note="action")
    assert two == one
    assert (first.had_effect, second.had_effect) == (True, False)
    assert await ledger.rows() == ["action"]


async def test_concurrent_repeats_have_one_effect(
    ledger: Ledger, other: Ledger
) -> None:
    """Twenty deliveries at once, over two processes: one effect, equal answers."""
    runs = [ledger.run(action()) for _ in range(10)]
    runs += [other.run(action()) for _ in range(10)]
    answers = await asyncio.gather(*runs)
    assert {each.number for each in answers} == {answers[0].number}
    assert await ledger.rows() == ["action"]


async def test_concurrent_undos_have_one_effect(ledger: Ledger, other: Ledger) -> None:
    """The same for an undo."""
    await ledger.run(action())
    runs = [ledger.run(undo()) for _ in range(10)]
    runs += [other.run(undo()) for _ in range(10)]
    answers = await asyncio.gather(*runs)
    assert {each.note for each in answers} == {"compensation"}
    assert await ledger.rows() == ["action", "compensation"]


@pytest.mark.parametrize(
    "error", [StepFailed("no"), ValueError(), SystemExit(), StopIteration()]
)
async def test_a_failed_attempt_leaves_nothing(
    ledger: Ledger, error: BaseException
) -> None:
    """Whatever the effect raises rolls it back with its row; a retry passes."""
    with pytest.raises((type(error), RuntimeError)):
        await ledger.run(action(), error=error)
    assert await ledger.rows() == []

    await ledger.run(action(attempt=2))
    assert await ledger.rows() == ["action"]


async def test_an_undo_of_what_never_ran_is_done(ledger: Ledger, other: Ledger) -> None:
    """It has no effect, is done as often as asked, and the action never runs."""
    first, second = context_of(undo()), context_of(undo())
    assert await ledger.run(first) is None
    assert await other.run(second) is None
    assert (first.had_effect, second.had_effect) == (False, False)

    for late in (ledger, other):
        with pytest.raises(Superseded):
            await late.run(action())
    assert await ledger.rows() == []


_UNDO_SAGA = "01JGFJJZ00000000000000000Z"


async def test_an_undo_of_what_is_known_to_have_happened(ledger: Ledger) -> None:
    """Done by hand, without this barrier: it is undone, once, and stays undone."""
    known = undo({"id": 1}, is_known=True)
    first, second = context_of(known), context_of(known)
    await ledger.run(first)
    await ledger.run(second)
    assert await ledger.rows() == ["compensation"]
    assert (first.had_effect, second.had_effect) == (True, False)
    with pytest.raises(Superseded):
        await ledger.run(action())


async def test_undo_of_a_residual_finds_the_effect(ledger: Ledger) -> None:
    """It comes from another saga, and belongs to the one that had the effect."""
    await ledger.run(action())
    residual = undo(saga_id=_UNDO_SAGA, undoes=SagaId(SAGA))
    await ledger.run(residual)
    assert await ledger.rows() == ["action", "compensation"]
    await ledger.run(residual)
    assert await ledger.rows() == ["action", "compensation"]


async def test_undo_of_a_residual_that_was_undone_has_no_effect(ledger: Ledger) -> None:
    """The answer was late, the effect was not: the saga's own undo had seen it."""
    await ledger.run(action())
    await ledger.run(undo())
    ctx = context_of(undo(saga_id=_UNDO_SAGA, undoes=SagaId(SAGA)))
    await ledger.run(ctx)
    assert (await ledger.rows(), ctx.had_effect) == (["action", "compensation"], False)


async def test_an_undo_follows_its_action_once(ledger: Ledger) -> None:
    """Repeats of either, after both ran, change nothing."""
    done = await ledger.run(action())
    undone = await ledger.run(undo())
    assert await ledger.run(undo()) == undone
    assert await ledger.run(action()) == done
    assert await ledger.rows() == ["action", "compensation"]


async def test_a_failed_undo_is_tried_again(ledger: Ledger) -> None:
    """Its row is rolled back, the action's stays."""
    await ledger.run(action())
    with pytest.raises(ValueError, match="once"):
        await ledger.run(undo(), error=ValueError("once"))
    await ledger.run(undo())
    assert await ledger.rows() == ["action", "compensation"]


async def test_steps_and_sagas_do_not_meet(ledger: Ledger) -> None:
    """A row belongs to one step of one saga."""
    await ledger.run(action())
    await ledger.run(action(step="ship"))
    await ledger.run(action(saga_id="01J00000000000000000000002"))
    assert await ledger.rows() == ["action", "action"]
    assert await ledger.rows("ship") == ["action"]


async def test_an_undo_waits_for_the_action_in_flight(
    ledger: Ledger, other: Ledger
) -> None:
    """The action commits meanwhile: then there is something to undo."""
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        doing = group.create_task(ledger.run(action(), gate=gate))
        await gate.is_entered()
        undoing = group.create_task(other.run(undo()))
        await ledger.until_blocked()
        gate.opened.set()
    assert (doing.result().note, undoing.result().note) == ("action", "compensation")
    assert await ledger.rows() == ["action", "compensation"]


async def test_an_undo_takes_the_place_of_an_action_that_fails(
    ledger: Ledger, other: Ledger
) -> None:
    """The action in flight rolls back: nothing to undo, and no retry runs."""
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        doing = group.create_task(
            asyncio.wait_for(_outcome(ledger, action(), gate=gate, error=OSError()), 10)
        )
        await gate.is_entered()
        undoing = group.create_task(other.run(undo()))
        await ledger.until_blocked()
        gate.opened.set()
    assert isinstance(doing.result(), OSError)
    assert undoing.result() is None
    with pytest.raises(Superseded):
        await ledger.run(action(attempt=2))
    assert await ledger.rows() == []


async def test_an_action_races_its_undo(ledger: Ledger, other: Ledger) -> None:
    """In whatever order they arrive and repeat: done and undone, or neither."""
    seen = set()
    for seed in range(60):
        step = f"step-{seed}"
        commands = [action(step=step), undo(step=step)] * 2
        random.Random(seed).shuffle(commands)
        await asyncio.gather(
            *(
                _outcome(database, command)
                for database, command in zip(
                    (ledger, other, ledger, other), commands, strict=True
                )
            )
        )
        rows = await ledger.rows(step)
        assert rows in ([], ["action", "compensation"]), f"seed {seed}"
        seen.add(len(rows))
    assert seen == {0, 2}, "the race went one way only"


async def test_a_handler_goes_through_a_barrier_once(ledger: Ledger) -> None:
    """A second effect of one run would silently not happen: refused."""
    ctx = context_of(action())
    await ledger.run(ctx)
    with pytest.raises(RuntimeError, match="before"):
        await ledger.run(ctx)


@pytest.mark.parametrize("kind", _KINDS)
async def test_the_contract_catches_a_broken_barrier(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """With the claim taken away, a repeat has a second effect."""
    ledger = await _open(kind, request, broken=True)
    await ledger.run(action())
    await ledger.run(action())
    assert await ledger.rows() == ["action", "action"]
    await ledger.close()


class _OpenSqlite(SqliteBarrier):
    def _claim(self, conn: sqlite3.Connection, ctx: StepContext) -> Claim:
        return Claim(is_new=True)


class _OpenPostgres(PostgresBarrier):
    async def _claim(self, conn: asyncpg.Connection, ctx: StepContext) -> Claim:
        return Claim(is_new=True)


async def _outcome(ledger: Ledger, command: Any, **options: Any) -> object:
    try:
        return await ledger.run(command, **options)
    except (Superseded, OSError) as error:
        return error


# What only SQLite has.


@pytest.mark.parametrize("ending", ["conn.commit()", "conn.execute('COMMIT')"])
async def test_an_effect_cannot_commit(tmp_path: Path, ending: str) -> None:
    """It would part the row from the effect; all is rolled back instead."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    await ledger.run(action(step="before"))

    def effect(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO ledger (step, direction) VALUES ('charge', 'x')")
        if "execute" in ending:
            conn.execute("COMMIT")
        else:
            conn.commit()

    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        await ledger.barrier.run(context_of(action()), effect)
    assert await ledger.rows() == []
    await ledger.run(action())
    assert await ledger.rows() == ["action"]
    await ledger.close()


async def test_an_effect_that_ends_the_transaction_is_no_success(
    tmp_path: Path,
) -> None:
    """SQLite rolls back by itself; who passes over that learns of it."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    await ledger.run(action(step="before"))

    def effect(conn: sqlite3.Connection) -> None:
        conn.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY)")
        for _ in range(2):
            with contextlib.suppress(sqlite3.IntegrityError):
                conn.execute("INSERT OR ROLLBACK INTO seen VALUES (1)")

    with pytest.raises(RuntimeError, match="ended inside the effect"):
        await ledger.barrier.run(context_of(action()), effect)
    await ledger.run(action())
    assert await ledger.rows() == ["action"]
    await ledger.close()


async def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    """A process that dies inside its effect rolls back; another one passes."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _DIES_INSIDE, str(ledger.path)],
        check=False,
        timeout=30,
    )
    assert died.returncode == 9
    await ledger.run(action())
    assert await ledger.rows() == ["action"]
    await ledger.close()


_DIES_INSIDE = """
import os, sys
from saga_orchestrator.participant.barrier import SqliteBarrier
from tests.support.participants import action, context_of

def effect(conn):
    conn.execute("INSERT INTO ledger (step, direction) VALUES ('charge', 'x')")
    os._exit(9)

SqliteBarrier(sys.argv[1]).run_sync(context_of(action()), effect)
"""


async def test_sync_handlers_have_a_barrier_too(tmp_path: Path) -> None:
    """``run_sync`` is ``run`` for a handler that runs in a thread."""
    async with SqliteBarrier(tmp_path / "a.db") as barrier:
        service = Handlers()

        @service.step("payment.charge")
        def charge(ctx: StepContext) -> dict[str, int]:
            return barrier.run_sync(ctx, lambda conn: {"changes": conn.total_changes})

        handler = service.get(Direction.ACTION, "payment.charge")
        assert handler is not None
        threads = HandlerThreads()
        one, two = [
            await execute(action(), handler, clock=StillClock(), threads=threads)
            for _ in range(2)
        ]
    assert one.output == two.output
    assert (one.effect, two.effect) == (True, False)


async def test_superseded_reaches_the_answer(tmp_path: Path) -> None:
    """An action that finds its undo answers so, without effect."""
    async with SqliteBarrier(tmp_path / "a.db") as barrier:
        service = Handlers()

        @service.step("payment.charge")
        @service.compensation("payment.refund")
        async def either(ctx: StepContext) -> None:
            await barrier.run(ctx, lambda conn: None)

        answers = []
        for command in (undo(), action()):
            handler = service.get(command.fence.direction, command.action)
            assert handler is not None
            answers.append(
                await execute(
                    command, handler, clock=StillClock(), threads=HandlerThreads()
                )
            )
    assert [each.answer for each in answers] == [Answer.SUCCEEDED, Answer.SUPERSEDED]
    assert [each.effect for each in answers] == [False, False]


async def test_a_result_that_cannot_be_kept_rolls_back(tmp_path: Path) -> None:
    """What the row cannot hold fails inside the transaction."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")

    def effect(conn: sqlite3.Connection) -> Any:
        conn.execute("INSERT INTO ledger (step, direction) VALUES ('charge', 'x')")
        return object()

    with pytest.raises(InvalidOutput):
        await ledger.barrier.run(context_of(action()), effect)
    assert await ledger.rows() == []
    await ledger.close()


# The lower-level form: the user owns the transaction.


async def test_a_transaction_of_ones_own_in_sqlite(tmp_path: Path) -> None:
    """Claim, have the effect, record, commit: a repeat is told the output."""
    async with SqliteBarrier(tmp_path / "a.db") as barrier:
        conn = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        claims = []
        for _ in range(2):
            conn.execute("BEGIN IMMEDIATE")
            claims.append(barrier.claim(conn, context_of(action())))
            if claims[-1].is_new:
                barrier.record(conn, context_of(action()), {"id": 7})
            conn.execute("COMMIT")
        conn.close()
    assert claims == [Claim(is_new=True), Claim(is_new=False, output={"id": 7})]


async def test_a_transaction_of_ones_own_in_postgres(postgres_url: str) -> None:
    """The same, at the strictest isolation; a forgotten record is output None."""
    async with await PostgresBarrier.open(postgres_url) as barrier:
        conn = await asyncpg.connect(postgres_url)
        claims = []
        for _ in range(2):
            async with conn.transaction(isolation="serializable"):
                claims.append(await barrier.claim(conn, context_of(action())))
        await conn.close()
    assert claims == [Claim(is_new=True), Claim(is_new=False, output=None)]


async def test_postgres_barriers_open_at_once(postgres_url: str) -> None:
    """Workers that start together create one table between them."""
    barriers = await asyncio.gather(
        *(PostgresBarrier.open(postgres_url) for _ in range(8))
    )
    for barrier in barriers:
        await barrier.close()


async def test_a_cut_connection_leaves_nothing(postgres_url: str) -> None:
    """The server rolls back what a broken connection had begun."""
    ledger = await PostgresLedger.open(postgres_url)

    async def effect(conn: asyncpg.Connection) -> None:
        await conn.execute(
            "INSERT INTO ledger (step, direction) VALUES ('charge', 'x')"
        )
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await ledger.barrier.run(context_of(action()), effect)
    assert await ledger.rows() == []
    await ledger.run(action())
    assert await ledger.rows() == ["action"]
    await ledger.close()
