"""Which sagas wait for too long: from the store and the broker."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ulid import ULID

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.remedies import remedy_of
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.core.waiting import (
    StaleAfter,
    Wait,
    WaitReason,
    refined,
    waits_of,
)
from saga_orchestrator.ports.overview import Waiting
from saga_orchestrator.ports.records import Unreadable
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.monitor import unsent_of
from saga_orchestrator.runtime.queue_looks import QueueLooks

PAGE = 500
SAGAS_MAX = 5_000
"""Live sagas that one search looks at."""
UNKNOWN = "unknown"
"""The name of a saga whose row cannot be read."""


@dataclass(frozen=True, slots=True)
class StaleSaga:
    """A saga that waits for longer than its threshold.

    Attributes:
        id: the saga.
        name: its definition's name.
        key: its start key.
        state: where it stands; None: its row cannot be read.
        wait: its longest wait.
        age: for how long.
    """

    id: SagaId
    name: str
    key: str | None
    state: SagaState | None
    wait: Wait
    age: dt.timedelta

    @property
    def remedy(self) -> str:
        """What to do."""
        return remedy_of(self.id, self.wait)


@dataclass(frozen=True, slots=True)
class StalePage:
    """What one search has found.

    Attributes:
        sagas: the stale ones, the oldest first.
        goes_on: the saga after which the next search is to go on; None: all that
            have not ended were looked at.
        problem: why the broker could not be asked; empty: it could, or need not.
    """

    sagas: tuple[StaleSaga, ...]
    goes_on: SagaId | None = None
    problem: str = ""


async def find_stale(
    store: Store,
    after: StaleAfter,
    looks: QueueLooks | None = None,
    *,
    limit: int = SAGAS_MAX,
    start: SagaId | None = None,
    seconds: float | None = None,
) -> StalePage:
    """Search the sagas that have not ended for those that wait for too long.

    At most ``SAGAS_MAX`` are looked at, the oldest first.

    Args:
        store: whose sagas.
        after: the thresholds.
        looks: refines by what the broker says; None: nobody asks it.
        limit: stale sagas at most.
        start: where the search before ended; None: at the oldest.
        seconds: for how long; what was found by then is returned. None: to the end.

    Raises:
        TimeoutError: not one saga could be looked at in this time.
    """
    found: list[StaleSaga] = []
    looked, last = 0, start

    def page(goes_on: SagaId | None = None) -> StalePage:
        problem = "" if looks is None else looks.problem
        return StalePage(tuple(found), goes_on, problem)

    try:
        async with (
            asyncio.timeout(seconds),
            aclosing(_judged(store, after, looks, start)) as judged,
        ):
            async for saga_id, stale in judged:
                is_full = stale is not None and len(found) == limit
                if is_full or looked == SAGAS_MAX:
                    return page(last)
                looked, last = looked + 1, saga_id
                if stale is not None:
                    found.append(stale)
    except TimeoutError:
        if not looked:
            raise
        return page(last)
    return page()


async def _judged(
    store: Store, after: StaleAfter, looks: QueueLooks | None, start: SagaId | None
) -> AsyncGenerator[tuple[SagaId, StaleSaga | None]]:
    """Yield each saga that is old enough, and what it is if it is stale."""
    now = await store.now()
    youngest = _id_at(now - after.shortest)
    place = start
    while True:
        page = await store.waiting(PAGE, after=place, before=youngest)
        rows = {one.saga.id: one for one in page.items}
        damaged = {one.saga_id: one for one in page.unreadable}
        for place in sorted([*rows, *damaged]):
            if place in damaged:
                yield place, _unreadable(damaged[place], now)
            else:
                yield place, await _stale(rows[place], after, now, looks)
        if len(rows) + len(damaged) < PAGE:
            return


async def _stale(
    waiting: Waiting, after: StaleAfter, now: dt.datetime, looks: QueueLooks | None
) -> StaleSaga | None:
    saga = waiting.saga
    wait = next(iter(waits_of(saga, unsent_of(waiting), now)), None)
    if wait is None or now - wait.since < after.of(saga.name):
        return None
    if looks is not None:
        wait = refined(wait, await looks.at(wait))
    return StaleSaga(saga.id, saga.name, saga.key, saga.state, wait, now - wait.since)


def _unreadable(row: Unreadable, now: dt.datetime) -> StaleSaga:
    started = ULID.from_str(row.saga_id).datetime
    wait = Wait(WaitReason.UNREADABLE, started, row.problem)
    return StaleSaga(row.saga_id, UNKNOWN, None, None, wait, now - started)


def _id_at(instant: dt.datetime) -> SagaId:
    """Return the id below which sagas were started before an instant.

    By the clock of who started them: one that is fast hides its sagas for as long.
    """
    millis = max(int(instant.timestamp() * 1000), 0)
    return SagaId(str(ULID.from_bytes(millis.to_bytes(6, "big") + bytes(10))))
