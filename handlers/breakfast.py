"""The smallest sample, to be read first: a bowl, cereal, milk.

Taking a thing is undone by putting it back *if it is out*: whoever was called
away in the middle does not know whether it is. The kitchen keeps its counts in
a SQLite file (``BREAKFAST_DATABASE``, default ``breakfast.db``), and every
effect goes through the barrier: it happens once, and never after its undo.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from pathlib import Path

from pydantic import BaseModel

from saga_orchestrator import (
    Handlers,
    SagaDefinition,
    SqliteBarrier,
    Step,
    StepContext,
    StepFailed,
)

TAKE, PUT_BACK = "kitchen.take", "kitchen.put_back"

breakfast = SagaDefinition(
    "breakfast",
    steps=[
        Step("get_bowl", TAKE, PUT_BACK, input={"name": {"$ref": "context.bowl"}}),
        Step("add_cereal", TAKE, PUT_BACK, input={"name": {"$ref": "context.cereal"}}),
        # Poured milk does not go back into the carton, so it comes last.
        Step("add_milk", TAKE, input={"name": {"$ref": "context.milk"}}),
    ],
)

kitchen = Handlers("kitchen")

CUPBOARD = ("blue bowl", "red bowl", "cornflakes", "oats", "cow milk", "oat milk")

SCHEMA = """
CREATE TABLE IF NOT EXISTS cupboard (name TEXT PRIMARY KEY, left INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS laid_out (action_key TEXT PRIMARY KEY, name TEXT NOT NULL);
"""


@functools.cache
def database() -> SqliteBarrier:
    """Open the file on first use; return the barrier that guards it."""
    path = Path(os.environ.get("BREAKFAST_DATABASE", "breakfast.db"))
    with sqlite3.connect(path, timeout=30) as db:
        db.executescript(SCHEMA)
        stock = [(name, 1_000_000) for name in CUPBOARD]
        db.executemany("INSERT OR IGNORE INTO cupboard VALUES (?, ?)", stock)
    db.close()
    return SqliteBarrier(path)


class NoneLeft(StepFailed):
    """The cupboard is bare. Looking again would not help."""


class Thing(BaseModel):
    """Something to take out of the cupboard."""

    name: str


@kitchen.step(TAKE)
async def take(ctx: StepContext, thing: Thing) -> Thing:
    """Take one out, and note for which step it was."""

    def effect(db: sqlite3.Connection) -> Thing:
        taken = db.execute(
            "UPDATE cupboard SET left = left - 1 WHERE name = ? AND left > 0",
            (thing.name,),
        )
        if taken.rowcount == 0:
            raise NoneLeft(f"no {thing.name!r} left")
        note = (ctx.idempotency_key, thing.name)
        db.execute("INSERT INTO laid_out VALUES (?, ?)", note)
        return thing

    return await database().run(ctx, effect)


@kitchen.compensation(PUT_BACK)
async def put_back(ctx: StepContext, taken: Thing | None) -> None:
    """Put back what the step took; None: nobody knows whether it did."""

    # The note knows. Where there is none the barrier does not call this.
    def effect(db: sqlite3.Connection) -> None:
        sql = "DELETE FROM laid_out WHERE action_key = ? RETURNING name"
        name = db.execute(sql, (ctx.action_key,)).fetchone()
        db.execute("UPDATE cupboard SET left = left + 1 WHERE name = ?", name)

    await database().run(ctx, effect)
