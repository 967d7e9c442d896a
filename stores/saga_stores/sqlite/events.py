"""Events for others: who may publish them, what is first, what is gone."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Sequence

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import Page
from saga_stores._pages import event_page
from saga_stores.sqlite.connection import CODEC, QUERIES, to_micros, writing


def claim(
    connection: sqlite3.Connection,
    clock: Clock,
    holder: str,
    limit: int,
    lease: dt.timedelta,
    *,
    passed_over: Sequence[SagaId],
) -> Page[PublicEvent]:
    """Take, or keep, the right to publish; return the first events."""
    passed = json.dumps(passed_over)
    if connection.execute(QUERIES["events"], (passed, 1)).fetchone() is None:
        return Page([], [])  # nearly always: no write lock for that
    with writing(connection):
        now = clock.now()
        until = to_micros(now + lease)
        asked = ("events", holder, until, to_micros(now))
        taken = connection.execute(QUERIES["take_lease"], asked).rowcount
        if not taken:
            return Page([], [])
        rows = connection.execute(QUERIES["events"], (passed, limit)).fetchall()
    return event_page(rows, CODEC)


def delete(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Forget events that are published."""
    with writing(connection):
        gone = ((position,) for position in positions)
        connection.executemany(QUERIES["delete_event"], gone)


def expire(
    connection: sqlite3.Connection, clock: Clock, age: dt.timedelta, limit: int
) -> int:
    """Forget the first events, as far as they are so old."""
    with writing(connection):
        old = (limit, to_micros(clock.now() - age))
        return connection.execute(QUERIES["expire_events"], old).rowcount
