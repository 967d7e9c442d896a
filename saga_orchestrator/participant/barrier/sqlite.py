"""The barrier in a SQLite file that the participant keeps its data in."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from saga_orchestrator.core.payload import Json, encode
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.barrier.claim import (
    NEW,
    NOTHING_TO_UNDO,
    Claim,
    Output,
    check_once,
    found,
    never_ran,
    statements,
)
from saga_orchestrator.participant.context import StepContext

T = TypeVar("T")

SQL = statements("sqlite")
BUSY_SECONDS = 30.0
"""How long a transaction waits for another process's."""


class SqliteBarrier:
    """Effects in one SQLite file, from any number of processes.

    One connection in one thread: SQLite has one writer anyway. The file is
    opened on first use, so a module may make a barrier at import. It is in WAL
    mode, and each commit is synced to the disk before it is answered.

    Args:
        path: the file, made where it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._conn: sqlite3.Connection | None = None
        self._in_effect = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saga-barrier")

    async def __aenter__(self) -> Self:
        """Open the file."""
        await self.create()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    async def create(self) -> None:
        """Open the file and create the table, where that was not done yet."""
        await self._in_thread(self._connection)

    async def run(
        self, ctx: StepContext, effect: Callable[[sqlite3.Connection], T]
    ) -> T:
        """Have the effect, or answer from its row.

        Args:
            ctx: the running handler's.
            effect: called in the barrier's thread, inside the transaction; its
                return annotation says how a result is read back from the row.
                It must not commit, and may be called again after a failure.

        Returns:
            What ``effect`` returned, now or then; None for an undo with nothing
            to undo.

        Raises:
            Superseded: the action's undo came first. Let it pass.
            InvalidOutput: the result cannot be written as JSON.
            RuntimeError: the handler went through this barrier before.

        Atomic: one transaction; whatever ``effect`` raises rolls it back.
        Cancelled while it runs, it may still commit: the row then tells the
        next attempt.
        """
        check_once(ctx, self, effect)
        output: Output[T] = Output(effect)
        claim = await self._in_thread(lambda: self._transact(ctx, effect, output))
        return self._settle(ctx, claim, output)

    def run_sync(
        self, ctx: StepContext, effect: Callable[[sqlite3.Connection], T]
    ) -> T:
        """Do the same from a sync handler; blocks its thread."""
        check_once(ctx, self, effect)
        output: Output[T] = Output(effect)
        job = self._thread.submit(self._transact, ctx, effect, output)
        return self._settle(ctx, job.result(), output)

    def claim(self, conn: sqlite3.Connection, ctx: StepContext) -> Claim:
        """Claim the row on a connection of your own, once a transaction.

        Where ``claim.is_new``, have the effect and ``record`` its output in the
        same transaction; else answer ``claim.output``. Commit in both cases.

        Args:
            conn: inside a transaction begun with ``BEGIN IMMEDIATE``, on a file
                that has the table.
            ctx: the running handler's.

        Raises:
            Superseded: the action's undo came first; roll back, let it pass.
        """
        claim = self._claim(conn, ctx)
        ctx.note_claim(self, is_new=claim.is_new)
        return claim

    def record(self, conn: sqlite3.Connection, ctx: StepContext, output: Json) -> None:
        """Write the effect's output, as JSON, into the claimed row.

        Raises:
            RuntimeError: the transaction of the claim has ended.
        """
        text = encode(output, "output")
        if not conn.in_transaction:
            raise RuntimeError(
                "the barrier's transaction ended inside the effect, by OR ROLLBACK or "
                "by an error of SQLite's that was passed over; let such errors out"
            )
        conn.execute(SQL["record"], (text, *_key(ctx, ctx.direction)))

    def close(self) -> None:
        """Wait for the transaction that runs, then close the file."""
        if self._conn is not None:
            self._thread.submit(self._conn.close).result()
            self._conn = None
        self._thread.shutdown()

    def _claim(self, conn: sqlite3.Connection, ctx: StepContext) -> Claim:
        if ctx.direction is Direction.COMPENSATION:
            # Take the action's place, in case it never ran: it will not now.
            self._insert(conn, ctx, Direction.ACTION)
            if never_ran(self._read(conn, ctx, Direction.ACTION), ctx):
                return NOTHING_TO_UNDO
        if self._insert(conn, ctx, ctx.direction):
            return NEW
        return found(self._read(conn, ctx, ctx.direction), ctx)

    def _insert(
        self, conn: sqlite3.Connection, ctx: StepContext, direction: Direction
    ) -> bool:
        row = (*_key(ctx, direction), str(ctx.direction))
        return conn.execute(SQL["insert"], row).rowcount == 1

    def _read(
        self, conn: sqlite3.Connection, ctx: StepContext, direction: Direction
    ) -> tuple[str, str | None] | None:
        row = conn.execute(SQL["read"], _key(ctx, direction)).fetchone()
        return tuple(row) if row else None

    def _transact(
        self,
        ctx: StepContext,
        effect: Callable[[sqlite3.Connection], T],
        output: Output[T],
    ) -> Claim:
        conn = self._connection()
        conn.execute("BEGIN IMMEDIATE")
        try:
            claim = self._claim(conn, ctx)
            if claim.is_new:
                claim = Claim(is_new=True, output=output.dump(self._call(effect, conn)))
                self.record(conn, ctx, claim.output)
            conn.commit()
        except BaseException:
            conn.rollback()
            raise
        return claim

    def _call(
        self, effect: Callable[[sqlite3.Connection], object], conn: sqlite3.Connection
    ) -> object:
        self._in_effect = True
        try:
            return effect(conn)
        except StopIteration as error:  # No future carries it; as in a generator
            raise RuntimeError("the effect raised StopIteration") from error
        finally:
            self._in_effect = False

    def _settle(self, ctx: StepContext, claim: Claim, output: Output[T]) -> T:
        ctx.note_claim(self, is_new=claim.is_new)
        return output.load(claim.output)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _connection(self) -> sqlite3.Connection:
        """Return the thread's connection, opened the first time."""
        if self._conn is None:
            # No transaction but those that are begun here.
            conn = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None
            )
            try:
                # The switch does not wait for locks. Who is locked out may go on:
                # the mode is the file's, and each mode keeps us right.
                with contextlib.suppress(sqlite3.OperationalError):
                    conn.execute("PRAGMA journal_mode = WAL")
                conn.execute("PRAGMA synchronous = FULL")
                conn.execute(SQL["create"])
            except BaseException:
                conn.close()
                raise
            conn.set_authorizer(self._authorize)
            self._conn = conn
        return self._conn

    def _authorize(self, operation: int, *_details: str | None) -> int:
        """Deny an effect's ``commit``: it would part the row from the effect."""
        if self._in_effect and operation == sqlite3.SQLITE_TRANSACTION:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def _key(ctx: StepContext, direction: Direction) -> tuple[str, str, str]:
    return ctx.saga_id, ctx.step, str(direction)
