"""What the samples' tests share: whole sagas in this process, and a look at the books.

Each sample keeps its data in a SQLite file of its own, named by an environment
variable after its module.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from saga_orchestrator import Direction, Handlers, Manager, SagaDefinition
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.payload import Json
from saga_orchestrator.ports.records import SagaRecord


@contextlib.contextmanager
def books_of(
    sample: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give a sample a fresh file, and close it afterwards."""
    name = sample.__name__.rpartition(".")[2]
    path = folder / f"{name}.db"
    monkeypatch.setenv(f"{name.upper()}_DATABASE", str(path))
    sample.database.cache_clear()
    sample.database()
    yield path
    sample.database().close()
    sample.database.cache_clear()


def services_of(sample: ModuleType) -> list[Handlers]:
    """Return a sample's services."""
    return [each for each in vars(sample).values() if isinstance(each, Handlers)]


def query(path: Path, sql: str) -> list[Any]:
    """Return the rows of a query on a sample's file; change it where it says so."""
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        return conn.execute(sql).fetchall()


async def ended(
    sample: ModuleType, definition: SagaDefinition, context: Mapping[str, Json]
) -> SagaRecord:
    """Run one saga to its end, on a store and a broker in this process."""
    async with Manager.open(handlers=services_of(sample)) as manager:
        saga = await manager.start(definition, context=context)
        await manager.wait(saga.id, timeout=30)
        return await manager.record(saga.id)


def undone(record: SagaRecord) -> list[str]:
    """Return the steps that were undone, in that order."""
    return [
        str(entry.step)
        for entry in record.history
        if entry.kind is HistoryKind.STEP_SUCCEEDED
        and entry.direction is Direction.COMPENSATION
    ]
