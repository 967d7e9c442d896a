"""The demo's world: a database of its own, in which effects are appended.

It is the judge's evidence, so it knows nothing of the engine. An effect is
appended in the transaction that claims its barrier row.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.barrier import Claim, SqliteBarrier
from saga_orchestrator.participant.context import StepContext

BUSY_SECONDS = 30.0

_CREATE = """
CREATE TABLE IF NOT EXISTS effects (
    number    INTEGER PRIMARY KEY,
    saga_id   TEXT NOT NULL,
    step      TEXT NOT NULL,
    direction TEXT NOT NULL,
    amount    INTEGER NOT NULL
)
"""
_APPEND = "INSERT INTO effects (saga_id, step, direction, amount) VALUES (?, ?, ?, ?)"
_READ = "SELECT number, saga_id, step, direction, amount FROM effects ORDER BY number"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happened.

    Attributes:
        number: the order in which effects were committed.
        saga_id: for which saga.
        step: by which step.
        direction: done, or undone.
        amount: how much it is about: cents, or things.
    """

    number: int
    saga_id: str
    step: str
    direction: Direction
    amount: int


class Effects:
    """The database as the handlers of one process write it.

    One connection in one thread. Its commits survive the death of the process,
    which is what a demo is about, and are not synced against a power cut: else
    the disk alone would set the pace.

    Args:
        path: the file; ``create_effects`` made it.
        with_barrier: False takes the barrier's claim away, which shows that the
            judge's checks can fail.
    """

    def __init__(self, path: Path, *, with_barrier: bool = True) -> None:
        self._path = path
        self._barrier = SqliteBarrier(path) if with_barrier else None
        self._db: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="demo-effects")

    async def append(self, ctx: StepContext, change: Mapping[str, int]) -> Json:
        """Have an effect: once per saga, step and direction, with the barrier.

        Args:
            ctx: the running handler's.
            change: its ``amount``, and what else to answer.

        Returns:
            The effect's output: of the first run, where this is another one.

        Atomic: one transaction with the barrier's row.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._append, ctx, change)

    def close(self) -> None:
        """Wait for the transaction that runs, then close the file."""
        self._thread.submit(self._connection().close).result()
        self._thread.shutdown()
        if self._barrier is not None:
            self._barrier.close()

    def _append(self, ctx: StepContext, change: Mapping[str, int]) -> Json:
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            output = self._claim_and_append(db, ctx, change)
            db.commit()
        except BaseException:
            db.rollback()
            raise
        return output

    def _claim_and_append(
        self, db: sqlite3.Connection, ctx: StepContext, change: Mapping[str, int]
    ) -> Json:
        claim = Claim(is_new=True)
        if self._barrier is not None:
            claim = self._barrier.claim(db, ctx)
        if not claim.is_new:
            return claim.output
        row = (ctx.saga_id, ctx.step, str(ctx.direction), change["amount"])
        output: Json = {"number": db.execute(_APPEND, row).lastrowid, **change}
        if self._barrier is not None:
            self._barrier.record(db, ctx, output)
        return output

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = sqlite3.connect(
                self._path,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,  # ``close`` may be the first to open it
            )
            self._db.execute("PRAGMA synchronous = NORMAL")
        return self._db


async def create_effects(path: Path) -> None:
    """Make the file with its tables."""
    async with SqliteBarrier(path):
        pass  # it makes its table as it opens
    with _connection(path) as db:
        db.execute(_CREATE)


def read_effects(path: Path) -> list[Effect]:
    """Return every effect, in the order of their commits."""
    with _connection(path) as db:
        rows = db.execute(_READ).fetchall()
    return [
        Effect(number, saga_id, step, Direction(direction), amount)
        for number, saga_id, step, direction, amount in rows
    ]


@contextlib.contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as db:
        yield db
