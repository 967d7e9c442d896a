"""Rows of a store that cannot be read: `saga doctor` counts them.

Somebody damaged them, or a defect of an older release planted them. They hold up
no other saga, and nothing touches them; a person has to mend or delete them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from saga_orchestrator.cli.examination import (
    OUTBOXES_MAX,
    Finding,
    Level,
    counted,
)
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ACTIVE
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.records import Unreadable
from saga_orchestrator.ports.store import SagaFilter, Store

SAGAS_MAX = 20_000
"""Sagas whose rows are read, the newest of those that have not ended."""

_PAGE = 1000
_FIX = "`saga get ID` names what is damaged; mend the row from a backup"


async def examine_rows(store: Store) -> AsyncIterator[Finding]:
    """Look whether the sagas that have not ended can be read."""
    sagas: list[Saga] = []
    unreadable: list[Unreadable] = []
    which = SagaFilter(ACTIVE, limit=_PAGE)
    while len(sagas) + len(unreadable) < SAGAS_MAX:
        page = await store.page(which)
        sagas += page.items
        unreadable += page.unreadable
        ids = [saga.id for saga in page.items]
        ids += [one.saga_id for one in page.unreadable]
        if len(ids) < _PAGE:
            break
        which = replace(which, before=min(ids))
    if unreadable:
        yield _finding("sagas", unreadable)
    if damaged := await _damaged(store, sagas[:OUTBOXES_MAX]):
        yield _finding("sagas in part", damaged)
    if residuals := (await store.residual_page(_PAGE)).unreadable:
        yield _finding("residuals", residuals)


async def _damaged(store: Store, sagas: Sequence[Saga]) -> list[Unreadable]:
    """Return those of which something beside the snapshot cannot be read."""
    found: list[Unreadable] = []
    for saga in sagas:
        try:
            record = await store.record(saga.id)
        except StoreDataError as error:  # damaged since it was listed
            found.append(Unreadable(saga.id, str(error)))
        else:
            damage = record.damage if record else ()
            found += [Unreadable(saga.id, problem) for problem in damage[:1]]
    return found


def _finding(what: str, rows: Sequence[Unreadable]) -> Finding:
    text = f"{counted(len(rows), 'row')}: {rows[0].problem}"
    return Finding(f"unreadable {what}", Level.WRONG, text, _FIX)
