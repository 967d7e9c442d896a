"""How things stand in a store: what gauges show, and which sagas wait."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import SagaState

if TYPE_CHECKING:
    from saga_orchestrator.ports.records import OutboxRow


@dataclass(frozen=True, slots=True)
class Waiting:
    """A saga that has not ended, with its commands that are not confirmed yet.

    Attributes:
        saga: the snapshot, without data.
        outbox: its commands.
    """

    saga: Saga
    outbox: tuple[OutboxRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveCount:
    """How many sagas of one definition are in one state.

    Attributes:
        name: the definition's.
        state: one that is not an end.
        count: how many.
        oldest_at: when the oldest of them was started.
    """

    name: str
    state: SagaState
    count: int
    oldest_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """How things stand in a store, at one instant.

    Attributes:
        now: the store's clock.
        active: sagas that have not ended, of the ``OVERVIEW_MAX`` oldest.
        outbox_pending: commands not confirmed, up to ``OVERVIEW_MAX``.
        outbox_oldest_at: when the oldest of them was recorded; None: there is none.
        residuals_open: effects that nobody has settled, up to ``OVERVIEW_MAX``.
        next_due: the earliest ``wake_at``; None: no timer is set.
    """

    now: dt.datetime
    active: tuple[ActiveCount, ...]
    outbox_pending: int
    outbox_oldest_at: dt.datetime | None
    residuals_open: int
    next_due: dt.datetime | None


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The connections that a store's handle holds.

    Attributes:
        busy: at work.
        idle: open, and free.
        limit: how many there may be.
    """

    busy: int
    idle: int
    limit: int


OVERVIEW_MAX = 100_000
"""Rows that an overview counts: what is more looks like so many."""
