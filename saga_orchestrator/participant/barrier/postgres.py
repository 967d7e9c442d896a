"""The barrier in the PostgreSQL database that the participant keeps its data in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it ships no types

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

SQL = statements("postgres")


class PostgresBarrier:
    """Effects in one PostgreSQL database, from any number of processes.

    The row's unique index is the lock: whoever inserts second waits for the
    first to commit or to roll back.

    Args:
        pool: an ``asyncpg`` pool; the barrier does not close it.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._owns_pool = False

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect with a pool of the barrier's own and create the table.

        Args:
            url: ``postgresql://user@host/database``.
        """
        barrier = cls(await asyncpg.create_pool(url, min_size=1))
        barrier._owns_pool = True
        try:
            await barrier.create()
        except BaseException:
            await barrier.close()
            raise
        return barrier

    async def __aenter__(self) -> Self:
        """Return the barrier."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool, where it is the barrier's own."""
        await self.close()

    async def create(self) -> None:
        """Create the table, where that was not done yet."""
        async with self._pool.acquire() as conn, conn.transaction():
            # Creating needs a right that a service may lack, also where the
            # table exists; and two that create at a time fail without the lock.
            await conn.execute(SQL["lock"])
            if not await conn.fetchval(SQL["exists"]):
                await conn.execute(SQL["create"])

    async def run(
        self, ctx: StepContext, effect: Callable[[asyncpg.Connection], Awaitable[T]]
    ) -> T:
        """Have the effect, or answer from its row.

        Args:
            ctx: the running handler's.
            effect: called inside the transaction; its return annotation says
                how a result is read back from the row. It must not end the
                transaction, and may be called again after a failure.

        Returns:
            What ``effect`` returned, now or then; None for an undo with nothing
            to undo.

        Raises:
            Superseded: the action's undo came first. Let it pass.
            InvalidOutput: the result cannot be written as JSON.
            RuntimeError: the handler went through this barrier before.

        Atomic: one transaction; whatever ``effect`` raises, and a cancellation,
        rolls it back.
        """
        check_once(ctx, self, effect)
        output: Output[T] = Output(effect)
        async with self._pool.acquire() as conn, conn.transaction():
            claim = await self._claim(conn, ctx)
            if claim.is_new:
                claim = Claim(is_new=True, output=output.dump(await effect(conn)))
                await self.record(conn, ctx, claim.output)
        ctx.note_claim(self, is_new=claim.is_new)
        return output.load(claim.output)

    async def claim(self, conn: asyncpg.Connection, ctx: StepContext) -> Claim:
        """Claim the row in a transaction of your own, once a transaction.

        Where ``claim.is_new``, have the effect and ``record`` its output in the
        same transaction; else answer ``claim.output``. Commit in both cases.

        Args:
            conn: inside a transaction, READ COMMITTED or stricter.
            ctx: the running handler's.

        Raises:
            Superseded: the action's undo came first; roll back, let it pass.
        """
        claim = await self._claim(conn, ctx)
        ctx.note_claim(self, is_new=claim.is_new)
        return claim

    async def record(
        self, conn: asyncpg.Connection, ctx: StepContext, output: Json
    ) -> None:
        """Write the effect's output, as JSON, into the claimed row."""
        text = encode(output, "output")
        await conn.execute(SQL["record"], *_key(ctx, ctx.direction), text)

    async def close(self) -> None:
        """Close the pool, where it is the barrier's own."""
        if self._owns_pool:
            await self._pool.close()

    async def _claim(self, conn: asyncpg.Connection, ctx: StepContext) -> Claim:
        if ctx.direction is Direction.COMPENSATION:
            # Take the action's place, in case it never ran: it will not now. An
            # action in flight is waited for here.
            await self._insert(conn, ctx, Direction.ACTION)
            if never_ran(await self._read(conn, ctx, Direction.ACTION), ctx):
                return NOTHING_TO_UNDO
        if await self._insert(conn, ctx, ctx.direction):
            return NEW
        return found(await self._read(conn, ctx, ctx.direction), ctx)

    async def _insert(
        self, conn: asyncpg.Connection, ctx: StepContext, direction: Direction
    ) -> bool:
        key = _key(ctx, direction)
        return await conn.fetchval(SQL["insert"], *key, str(ctx.direction)) is not None

    async def _read(
        self, conn: asyncpg.Connection, ctx: StepContext, direction: Direction
    ) -> tuple[str, str | None] | None:
        row: Any = await conn.fetchrow(SQL["read"], *_key(ctx, direction))
        return (row["claimed_by"], row["output"]) if row else None


def _key(ctx: StepContext, direction: Direction) -> tuple[str, str, str]:
    return ctx.saga_id, ctx.step, str(direction)
