"""Commands that are not confirmed: settled, put off, kept, taken over."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import OutboxRow
from saga_stores._json import storable
from saga_stores._rows import OUTBOX_COLUMNS, outbox_key
from saga_stores.sqlite.connection import CODEC, QUERIES, to_micros, writing

_CLAIM = OUTBOX_COLUMNS.index("claimed_until")


def settle(connection: sqlite3.Connection, fences: Sequence[Fence]) -> None:
    """Remove rows; missing ones are fine."""
    with writing(connection):
        connection.executemany(QUERIES["settle"], map(outbox_key, fences))


def defer(
    connection: sqlite3.Connection,
    clock: Clock,
    fences: Sequence[Fence],
    error: str,
    delay: dt.timedelta,
) -> None:
    """Note why commands could not be routed, and when to try again."""
    storable(error, "the error of a command")
    with writing(connection):
        until = to_micros(clock.now() + delay)
        rows = ((until, error, *outbox_key(fence)) for fence in fences)
        connection.executemany(QUERIES["defer"], rows)


def extend(
    connection: sqlite3.Connection,
    clock: Clock,
    fences: Sequence[Fence],
    lease: dt.timedelta,
) -> None:
    """Keep the claims of publishes that are still pending."""
    with writing(connection):
        until = to_micros(clock.now() + lease)
        rows = ((until, *outbox_key(fence)) for fence in fences)
        connection.executemany(QUERIES["extend"], rows)


def claim(
    connection: sqlite3.Connection, clock: Clock, limit: int, lease: dt.timedelta
) -> list[OutboxRow]:
    """Take over rows whose claim has lapsed, the longest lapsed first."""
    now = clock.now()
    until = now + lease
    found = connection.execute(QUERIES["lapsed"], (to_micros(now), limit)).fetchone()
    if found is None:
        return []  # nearly always: no write lock for that
    with writing(connection):
        lapsed = connection.execute(QUERIES["lapsed"], (to_micros(now), limit))
        # With the new claim in its place: what the old one says is of no account.
        rows = [
            (*row[:_CLAIM], to_micros(until), *row[_CLAIM + 1 :])
            for row in lapsed.fetchall()
        ]
        keys = ((to_micros(until), row[0], row[1], row[3]) for row in rows)
        connection.executemany(QUERIES["extend"], keys)
    return [CODEC.outgoing(row) for row in rows]
