"""A service whose effects go through the barrier into a file, for any process.

The file is the judge: every run is noted in it, also those whose process dies,
and every effect that was had.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from saga_orchestrator import Handlers, SagaDefinition, Step, StepContext, StepFailed
from saga_orchestrator.participant.barrier import SqliteBarrier

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (saga, step, direction, key, worker);
CREATE TABLE IF NOT EXISTS effects (saga, step, direction, key);
"""
_INSERT = {
    "runs": "INSERT INTO runs VALUES (?, ?, ?, ?, ?)",
    "effects": "INSERT INTO effects VALUES (?, ?, ?, ?)",
}


class Books:
    """Handlers ``book.a`` to ``book.e`` and their undos, with one account.

    Attributes:
        gate: awaited by every run after its effect was had.
    """

    def __init__(self, file: Path, worker: str = "test") -> None:
        self._file = file
        self._worker = worker
        self._barrier = SqliteBarrier(file)
        self.gate: Callable[[StepContext], Awaitable[None]] = _no_gate
        connection = sqlite3.connect(file, timeout=30)
        connection.executescript(_TABLES)
        connection.close()

    @property
    def handlers(self) -> Handlers:
        """The service ``book``; a saga's context names the step that it refuses."""
        handlers = Handlers("book")
        for name in "abcde":
            handlers.step(f"book.{name}")(self._run)
            handlers.compensation(f"book.undo_{name}")(self._run)
        return handlers

    def runs(self, step: str, direction: str = "action") -> list[tuple[str, str]]:
        """Return the idempotency key and the worker of each run."""
        return self._rows(
            "SELECT key, worker FROM runs WHERE step = ? AND direction = ?",
            (step, direction),
        )

    def effects(self) -> Counter[tuple[str, str, str]]:
        """Return how often each effect was had, by saga, step and direction."""
        return Counter(self._rows("SELECT saga, step, direction FROM effects", ()))

    async def _run(self, ctx: StepContext, given: object) -> dict[str, str]:
        del given
        row = (ctx.saga_id, ctx.step, str(ctx.direction), ctx.idempotency_key)
        if ctx.context.get("refuse") == ctx.step and ctx.direction == "action":
            raise StepFailed("refused")
        self._note((*row, self._worker))

        def effect(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT["effects"], row)

        await self._barrier.run(ctx, effect)
        await self.gate(ctx)
        return {"by": self._worker}

    def _note(self, row: tuple[str, ...]) -> None:
        connection = sqlite3.connect(self._file, timeout=30)
        with connection:
            connection.execute(_INSERT["runs"], row)
        connection.close()

    def _rows(self, query: str, values: tuple[str, ...]) -> list[Any]:
        connection = sqlite3.connect(self._file, timeout=30)
        rows = connection.execute(query, values).fetchall()
        connection.close()
        return rows

    def close(self) -> None:
        """Close the file."""
        self._barrier.close()


def chain(names: str = "abc") -> SagaDefinition:
    """Return the saga that does these steps one after the other."""
    return SagaDefinition("trip", [_step(name) for name in names])


def fan(names: str = "abcde") -> SagaDefinition:
    """Return the saga that does these steps at once."""
    return SagaDefinition("fan", [_step("root"), *(_step(n, "root") for n in names)])


def _step(name: str, *after: str) -> Step:
    if name == "root":
        return Step("root")
    return Step(
        name,
        action=f"book.{name}",
        compensation=f"book.undo_{name}",
        depends_on=after,
    )


async def _no_gate(ctx: StepContext) -> None:
    del ctx
