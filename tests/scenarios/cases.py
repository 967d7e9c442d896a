"""What scenarios of more than one play are made with."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import zlib
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator import Handlers, SqliteBarrier
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.testing import Given, ManualClock, Outcome, Play
from tests.scenarios.table import Stage

T = TypeVar("T")
_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def begun(stage: Stage, given: Given, name: str) -> AsyncIterator[Play]:
    """A play on a handle of its own, to be run in phases; its name makes its ids."""
    store = await stage.open_store()
    try:
        yield await given.begin(store, stage.clock, seed=zlib.crc32(name.encode()))
    finally:
        await store.close()


async def played(stage: Stage, given: Given, name: str) -> Outcome:
    """A play, run to its end."""
    async with begun(stage, given, name) as play:
        return await play.run()


async def own_url(stage: Stage) -> str:
    """The address of an empty store of the stage's kind.

    For engines, which live in real time and would take up what other scenarios
    left on the store that they share.
    """
    name = f"own_{next(_numbers)}"
    parts = urlsplit(stage.url)
    if parts.scheme == "memory":
        return f"{stage.url}.{name}"
    if parts.scheme == "sqlite":
        return f"sqlite:///{stage.folder}/{name}.db"
    conn = await asyncpg.connect(stage.url)
    try:
        await conn.execute(f"CREATE DATABASE {name}")
    finally:
        await conn.close()
    return parts._replace(path=f"/{name}").geturl()


async def while_time_passes(
    clock: ManualClock, waiting: Coroutine[object, object, T]
) -> T:
    """Await what waits for the clock, too."""
    task = asyncio.ensure_future(waiting)
    while not task.done():
        clock.advance(1)
        await asyncio.sleep(0.005)
    return await task


def careful(service: str, barrier: SqliteBarrier, effects: list[str]) -> Handlers:
    """A participant with a database and a barrier: it notes what it really does."""
    handlers = Handlers(service)

    async def act(ctx: StepContext) -> int:
        def effect(conn: object) -> int:
            del conn
            effects.append(ctx.step)
            return len(effects)

        return await barrier.run(ctx, effect)

    async def undo(ctx: StepContext) -> None:
        await barrier.run(ctx, lambda _: effects.append(f"undo {ctx.step}"))

    handlers.step(f"{service}.act")(act)
    handlers.compensation(f"{service}.undo")(undo)
    return handlers


def history(outcome: Outcome) -> list[str]:
    """What the history tells, in order: ``saga_started``, ``step_succeeded car``."""
    return [
        " ".join(filter(None, (entry.kind, _of(entry.direction), entry.step)))
        for entry in outcome.record.history
    ]


def _of(direction: str | None) -> str:
    return "undo" if direction == "compensation" else ""
