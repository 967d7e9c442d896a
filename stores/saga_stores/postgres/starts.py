"""Starts that were asked for in SQL: from rows of ``saga_starts`` to sagas."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Sequence

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event, SagaStarted
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.errors import (
    ConcurrencyError,
    NewerDataError,
    SagaError,
    StoreDataError,
    StoreError,
)
from saga_orchestrator.ports.starts import RequestedStart, StartsLeft, TakenStart
from saga_stores.postgres.database import SQL, Database
from saga_stores.postgres.errors import store_errors

PUT_OFF = dt.timedelta(seconds=5)
"""How long a start is passed over that could not be judged now."""
ERROR_CHARS_MAX = 2000

Perform = Callable[[asyncpg.Connection, Sequence[Event]], Awaitable[list[Decision]]]
_Result = Decision | Exception


async def take_starts(
    database: Database,
    now: dt.datetime | None,
    names: Sequence[str],
    limit: int,
    *,
    event_of: Callable[[RequestedStart], SagaStarted],
    perform: Perform,
) -> list[TakenStart]:
    """Start what was asked for, in one transaction with the requests' removal.

    Args:
        database: where.
        now: the store's clock; None: the database's.
        names: of the definitions that may be started.
        limit: starts at most, per definition.
        event_of: makes the event of a request, or raises a ``SagaError``.
        perform: decides and writes events on a connection.
    """
    async with database.transaction() as connection:
        rows = await connection.fetch(SQL["take_starts"], now, list(names), limit)
        results: dict[SagaId, _Result] = {}
        events: list[SagaStarted] = []
        starts = [RequestedStart(*row) for row in rows]
        for start in starts:
            try:
                events.append(event_of(start))
            except SagaError as error:
                results[start.saga_id] = error
        done = await _perform(connection, database.shown, events, perform)
        results |= {
            event.saga_id: result for event, result in zip(events, done, strict=True)
        }
        await _settle(connection, now, results)
    return [TakenStart(one, _error_of(results[one.saga_id])) for one in starts]


async def starts_left(database: Database, limit: int) -> list[StartsLeft]:
    """Return what is not a saga yet, by definition and error."""
    rows = await database.fetch("starts_left", limit)
    return [StartsLeft(*row) for row in rows]


async def _perform(
    connection: asyncpg.Connection,
    shown: str,
    events: Sequence[SagaStarted],
    perform: Perform,
) -> list[_Result]:
    """Return a decision per event, or what it failed with; one spoils no other."""
    if not events:
        return []
    try:
        # A savepoint, so that what fails leaves the transaction usable.
        with store_errors(shown):
            async with connection.transaction():
                return [*await perform(connection, events)]
    except (ConcurrencyError, StoreDataError) as error:
        failed: Exception = error
    except StoreError:
        raise  # of the store, not of a start
    except Exception as error:  # noqa: BLE001 - a defect, kept to its start
        failed = error
    if len(events) == 1:
        return [failed]
    return [
        result
        for event in events
        for result in await _perform(connection, shown, [event], perform)
    ]


async def _settle(
    connection: asyncpg.Connection,
    now: dt.datetime | None,
    results: dict[SagaId, _Result],
) -> None:
    """Remove what is a saga, keep what was refused with its error."""
    if not results:
        return
    put_off = [one for one, result in results.items() if _is_put_off(result)]
    refused = {
        saga_id: error for saga_id, why in results.items() if (error := _error_of(why))
    }
    done = sorted(results.keys() - refused.keys() - set(put_off))
    await connection.execute(
        SQL["settle_starts"],
        *(done, list(refused), list(refused.values())),
        *(put_off, now, PUT_OFF),
    )


def _is_put_off(result: _Result) -> bool:
    """Tell whether a lock was in the way, or it is for a newer release."""
    return isinstance(result, ConcurrencyError | NewerDataError)


def _error_of(result: _Result) -> str:
    """Return why a start was refused; empty: it was not."""
    if _is_put_off(result):
        return ""
    error = result.refusal if isinstance(result, Decision) else result
    if error is None:
        return ""
    text = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
    # What the database cannot keep as text must not hide the rest.
    return text.encode(errors="replace").decode().replace("\0", "?")
