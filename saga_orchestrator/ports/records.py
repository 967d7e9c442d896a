"""What a store tells of its rows: plain values, part of its contract."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec import Struct

from saga_orchestrator.core.decision import HistoryEntry, Ignored
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered change of a schema.

    Attributes:
        number: counts from 1.
        name: what it does, from its file name.
        sql: its statements.
        checksum: SHA-256 of ``sql``, hex.
    """

    number: int
    name: str
    sql: str
    checksum: str


class OutboxRow(Struct, frozen=True):
    """A command that is not confirmed yet.

    Attributes:
        fence: which dispatch.
        claimed_until: until then it belongs to the process that claimed it.
        attempts: publishes that were returned as unroutable.
        error: why the last one was; empty: none was.
    """

    fence: Fence
    claimed_until: dt.datetime
    attempts: int = 0
    error: str = ""


class SagaRecord(Struct, frozen=True):
    """A saga with everything that is known of it, for people.

    Attributes:
        saga: the snapshot, with its whole context and all outputs.
        history: from the first entry on.
        ignored: the last answers that changed nothing, oldest first.
        residuals: effects that stood outside its account, settled ones too.
        outbox: commands not confirmed yet.
        damage: what of it cannot be read, in words; it is left out of the others.
    """

    saga: Saga
    history: tuple[HistoryEntry, ...]
    ignored: tuple[Ignored, ...] = ()
    residuals: tuple[Residual, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be read: somebody damaged it, or a defect planted it.

    Attributes:
        saga_id: whose it is.
        problem: what is wrong with it, in words.
        number: of the residual; 0: it is the saga itself.
    """

    saga_id: SagaId
    problem: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """Rows of a list, each of them read or told to be unreadable.

    Attributes:
        items: those that can be read, in the order of the list.
        unreadable: the others, in the same order.
    """

    items: list[_Item]
    unreadable: list[Unreadable]
