"""SQLite only: a file that an older release made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.errors import SchemaVersionError
from saga_orchestrator.ports.store import Store
from saga_stores.sqlite import SqliteSagaStore, schema
from tests.conformance.builders import (
    begin,
    goes_on,
    plan_of,
    succeed,
    with_three_residuals,
)

if TYPE_CHECKING:
    from pathlib import Path


TABLES = "SELECT name FROM main.sqlite_master WHERE type = 'table'"

# The first release numbered a saga's residuals from 1.
COUNT_RESIDUALS = """
    UPDATE main.saga_residuals SET number = (
        SELECT count(*) FROM main.saga_residuals AS found
        WHERE found.saga_id = saga_residuals.saga_id
            AND found.number <= saga_residuals.number
    )
"""


async def _first_release(
    newer: Path, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the file that the first migration alone made, with the rows of another."""
    with monkeypatch.context() as first_release:
        first_release.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        await SqliteSagaStore.migrate(f"sqlite:///{older}")
    with closing(sqlite3.connect(older)) as file, file:
        file.execute("DELETE FROM saga_meta")
        file.execute("ATTACH ? AS newer", (str(newer),))
        tables = file.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table'"
        )
        for (table,) in tables.fetchall():
            if table != "schema_migrations":
                rows = file.execute(f"SELECT * FROM main.{table} LIMIT 0")
                columns = ", ".join(column[0] for column in rows.description)
                file.execute(
                    f"INSERT INTO main.{table} ({columns})"
                    f" SELECT {columns} FROM newer.{table}"
                )
        file.execute(COUNT_RESIDUALS)


async def test_a_file_of_the_first_release_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running sagas run on, residuals can be undone, under their entries' numbers."""
    store = await Store.open(f"sqlite:///{tmp_path}/newer.db")
    running = await succeed(store, await begin(store, plan_of("a", "b")), "a")
    await with_three_residuals(store)
    found = await store.open_residuals(10)
    await store.close()
    older = tmp_path / "older.db"
    await _first_release(tmp_path / "newer.db", older, monkeypatch)
    url = f"sqlite:///{older}"
    with closing(sqlite3.connect(older)) as file:
        numbers = "SELECT max(number) FROM saga_residuals"
        assert file.execute(numbers).fetchall() == [(3,)]
    with pytest.raises(SchemaVersionError, match=r"the schema is too old: \d of \d"):
        await Store.open(url, migrate=False)

    assert await SqliteSagaStore.migrate(url) == schema.MIGRATIONS[1:]
    store = await Store.open(url, migrate=False)
    await goes_on(store, running, found)
    await store.close()
    with closing(sqlite3.connect(older)) as file:
        steps = "SELECT DISTINCT state FROM saga_steps WHERE saga_id = ?"
        assert file.execute(steps, (running.id,)).fetchall() == [("completed",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
