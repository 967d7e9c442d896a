"""A participant's database behind a barrier, one class per kind.

Both keep a ledger of effects, so that one suite can hold them to one contract.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from pydantic import BaseModel

from saga_orchestrator.core.commands import Command
from saga_orchestrator.participant.barrier import PostgresBarrier, SqliteBarrier
from saga_orchestrator.participant.context import StepContext
from tests.support.participants import context_of

POLLS = 500


class Receipt(BaseModel):
    """What an effect returns; the number shows which run made it."""

    number: int
    note: str


class Gate:
    """Holds an effect inside its transaction."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    async def is_entered(self) -> None:
        """Wait until the effect is inside."""
        assert await asyncio.to_thread(self.entered.wait, 10)


class Ledger:
    """Runs commands whose effect is one row of a ledger."""

    async def run(self, command: Command | StepContext, **options: Any) -> Any:
        """Run a command's effect through the barrier.

        Args:
            command: what to run, or the context to run it with.
            options: ``gate`` holds the effect; ``error`` is raised after it.
        """
        ctx = command if isinstance(command, StepContext) else context_of(command)
        return await self._run(ctx, **options)

    async def _run(
        self,
        ctx: StepContext,
        gate: Gate | None = None,
        error: BaseException | None = None,
    ) -> Any:
        raise NotImplementedError

    async def rows(self, step: str = "charge") -> list[str]:
        """Return the directions of the effects that were had, in order."""
        raise NotImplementedError

    async def other(self) -> Ledger:
        """Return another connection to the same data, as of another process."""
        raise NotImplementedError

    async def until_blocked(self) -> None:
        """Wait until somebody waits for a lock, where the database can tell."""

    async def close(self) -> None:
        """Disconnect."""
        raise NotImplementedError


class SqliteLedger(Ledger):
    """The ledger in a SQLite file."""

    def __init__(self, path: Path, barrier: type[SqliteBarrier]) -> None:
        self.path = path
        self.barrier = barrier(path)

    @classmethod
    async def open(
        cls, path: Path, barrier: type[SqliteBarrier] = SqliteBarrier
    ) -> Self:
        """Open the file and create the ledger."""
        ledger = cls(path, barrier)
        await ledger.barrier.create()
        with sqlite3.connect(path) as conn:
            conn.execute(
                "CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY,"
                " step TEXT NOT NULL, direction TEXT NOT NULL)"
            )
        conn.close()
        return ledger

    async def _run(
        self,
        ctx: StepContext,
        gate: Gate | None = None,
        error: BaseException | None = None,
    ) -> Any:
        def effect(conn: sqlite3.Connection) -> Receipt:
            row = conn.execute(
                "INSERT INTO ledger (step, direction) VALUES (?, ?)",
                (ctx.step, ctx.direction),
            )
            if gate:
                gate.entered.set()
                assert gate.opened.wait(10)
            if error:
                raise error
            return Receipt(number=row.lastrowid or 0, note=ctx.direction)

        return await self.barrier.run(ctx, effect)

    async def rows(self, step: str = "charge") -> list[str]:
        """Return the directions of the effects that were had, in order."""
        conn = sqlite3.connect(self.path)
        rows = conn.execute(
            "SELECT direction FROM ledger WHERE step = ? ORDER BY id", (step,)
        ).fetchall()
        conn.close()
        return [direction for (direction,) in rows]

    async def other(self) -> Ledger:
        """Return another connection to the same file."""
        return await SqliteLedger.open(self.path, type(self.barrier))

    async def close(self) -> None:
        """Close the file."""
        self.barrier.close()


class PostgresLedger(Ledger):
    """The ledger in a PostgreSQL database."""

    def __init__(self, url: str, barrier: PostgresBarrier, pool: asyncpg.Pool) -> None:
        self.url = url
        self.barrier = barrier
        self._pool = pool

    @classmethod
    async def open(
        cls, url: str, barrier: type[PostgresBarrier] = PostgresBarrier
    ) -> Self:
        """Connect and create the ledger."""
        pool = await asyncpg.create_pool(url, min_size=1, max_size=20)
        made = barrier(pool)
        await made.create()
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS ledger (id bigserial PRIMARY KEY,"
            " step text NOT NULL, direction text NOT NULL)"
        )
        return cls(url, made, pool)

    async def _run(
        self,
        ctx: StepContext,
        gate: Gate | None = None,
        error: BaseException | None = None,
    ) -> Any:
        async def effect(conn: asyncpg.Connection) -> Receipt:
            number = await conn.fetchval(
                "INSERT INTO ledger (step, direction) VALUES ($1, $2) RETURNING id",
                ctx.step,
                str(ctx.direction),
            )
            if gate:
                gate.entered.set()
                assert await asyncio.to_thread(gate.opened.wait, 10)
            if error:
                raise error
            return Receipt(number=number, note=ctx.direction)

        return await self.barrier.run(ctx, effect)

    async def rows(self, step: str = "charge") -> list[str]:
        """Return the directions of the effects that were had, in order."""
        rows = await self._pool.fetch(
            "SELECT direction FROM ledger WHERE step = $1 ORDER BY id", step
        )
        return [row["direction"] for row in rows]

    async def other(self) -> Ledger:
        """Return another pool on the same database."""
        return await PostgresLedger.open(self.url, type(self.barrier))

    async def until_blocked(self) -> None:
        """Wait until a transaction waits for another."""
        for _ in range(POLLS):
            if await self._pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
            ):
                return
        raise AssertionError("nobody waits for a lock")

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close()
