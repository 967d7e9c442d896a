"""The SQLite store: what only a file has. The contract is in tests/conformance."""

from __future__ import annotations

import filecmp
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator.core.events import CompensateRequested, StepSucceeded
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.errors import (
    ConcurrencyError,
    ConfigurationError,
    SchemaVersionError,
    StoreDataError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_stores.sqlite import SqliteSagaStore, connection, schema
from saga_stores.sqlite.faults import driver_errors
from saga_stores.sqlite.location import Location
from tests.conformance.builders import (
    bare,
    begin,
    complete,
    fence_of,
    plan_of,
    start,
    step,
    succeed,
    with_residual,
)
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test's database is."""
    return tmp_path / "saga.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[Store]:
    """A store on the file."""
    store = await Store.open(f"sqlite:///{file}")
    yield store
    await store.close()


async def _pragma(store: Store, text: str) -> Any:
    """Ask, or set, something of the connection that writes."""
    assert isinstance(store, SqliteSagaStore)

    def ask(connection: sqlite3.Connection) -> Any:
        return connection.execute(f"PRAGMA {text}").fetchone()[0]

    return await store._writer.run(ask)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _write_garbage(file: Path) -> None:
    file.write_bytes(b"no database at all\n" * 1000)


def _threads() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith("sqlite-")]


# -- URLs --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:////tmp/", "names no file"),
        ("sqlite://saga.db", "two slashes too few"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///a.db?synchronous=off", "synchronous=normal"),
        ("sqlite:///a.db?mode=ro", "synchronous=normal"),
    ],
)
async def test_a_url_without_sense_says_the_form(url: str, said: str) -> None:
    """A URL that names no file, or an unknown option, is a configuration error."""
    with pytest.raises(ConfigurationError, match=said):
        await Store.open(url)


async def test_relative_and_absolute_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three slashes are relative to the working directory, four absolute."""
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///a%20b.db", f"sqlite:///{tmp_path}/c.db?synchronous=normal"):
        store = await Store.open(url)
        await store.close()
    assert {name for name in _names(tmp_path) if name.endswith(".db")} == {
        "a b.db",
        "c.db",
    }


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A file that cannot be made is unavailable, and named."""
    with pytest.raises(StoreUnavailableError, match=r"nowhere.saga\.db"):
        await Store.open(f"sqlite:///{tmp_path}/nowhere/saga.db")


async def test_a_commit_is_flushed_unless_the_url_says_otherwise(file: Path) -> None:
    """The default survives a power cut: WAL with ``synchronous = full``."""
    for options, level in (("", 2), ("?synchronous=normal", 1)):
        store = await Store.open(f"sqlite:///{file}{options}")
        assert await _pragma(store, "synchronous") == level
        assert await _pragma(store, "journal_mode") == "wal"
        await store.close()


# -- schema ------------------------------------------------------------------


async def test_a_schema_is_made_on_request_only(file: Path) -> None:
    """``migrate=False`` refuses a missing schema, and makes no file."""
    with pytest.raises(SchemaVersionError, match=rf"saga migrate --store .*{file}"):
        await Store.open(f"sqlite:///{file}", migrate=False)
    assert _names(file.parent) == []
    url = f"sqlite:///{file}"
    planned = await SqliteSagaStore.migrate(url, dry_run=True)
    assert _names(file.parent) == []
    assert await SqliteSagaStore.migrate(url) == planned != []
    assert await SqliteSagaStore.migrate(url) == []
    assert await SqliteSagaStore.migrate(url, dry_run=True) == []
    await (await Store.open(url, migrate=False)).close()


def test_many_may_make_the_file_at_once(tmp_path: Path) -> None:
    """First openings that collide to the microsecond all get through."""
    for number in range(25):
        location = Location.parse(f"sqlite:///{tmp_path}/{number}.db")
        together = threading.Barrier(4)

        def open_and_migrate(
            location: Location = location, together: threading.Barrier = together
        ) -> int:
            together.wait()
            writer = connection.open_writer(location)
            applied = schema.migrate(writer, SystemClock().now())
            writer.close()
            return len(applied)

        with ThreadPoolExecutor(4) as threads:
            made = [threads.submit(open_and_migrate) for _ in range(4)]
        assert sum(one.result() for one in made) == len(schema.MIGRATIONS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "INSERT INTO schema_migrations SELECT 9999, 'x', 'x', 0",
            "upgrade the program",
        ),
        (
            "UPDATE schema_migrations SET checksum = 'x' WHERE number = 1",
            "0001_initial is not the one",
        ),
    ],
)
async def test_a_foreign_schema_is_refused(file: Path, change: str, said: str) -> None:
    """A schema that is newer, or was made otherwise, is left alone."""
    url = f"sqlite:///{file}"
    await (await Store.open(url)).close()
    with sqlite3.connect(file) as other:
        other.execute(change)
    other.close()
    for migrate in (True, False):
        with pytest.raises(SchemaVersionError, match=said):
            await Store.open(url, migrate=migrate)
    with pytest.raises(SchemaVersionError, match=said):
        await SqliteSagaStore.migrate(url)


async def test_a_file_of_something_else_is_refused(file: Path) -> None:
    """What is no SQLite file is said to be damaged, and not touched."""
    copy = file.with_name("copy")
    for path in (file, copy):
        _write_garbage(path)
    with pytest.raises(StoreDataError, match="damaged"):
        await Store.open(f"sqlite:///{file}")
    assert filecmp.cmp(file, copy, shallow=False)


async def test_the_database_repeats_the_invariants(store: Store, file: Path) -> None:
    """No other program can write a state that the engine knows to be impossible."""
    saga = await begin(store)
    await with_residual(store)
    with sqlite3.connect(file) as other:
        for change in (
            "state = 'lost'",
            "ended_at = 1",
            "state = 'completed'",
            "state = 'failed'",
            "steps = x'00'",
            "timers = x'00'",
            "direction = 'sideways'",
            "version = -1",
            "halting = 7",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                other.execute(f"UPDATE sagas SET {change}")
        for half in ("settled_at = 1", "settled_by = 'ann'", "undo_id = 'x'"):
            with pytest.raises(sqlite3.IntegrityError):
                other.execute(f"UPDATE saga_residuals SET {half}")
    other.close()
    assert await store.load(saga.id) is not None


async def test_the_view_decodes_the_steps(store: Store, file: Path) -> None:
    """A person with ``sqlite3`` reads names and states, not bytes."""
    saga = await succeed(store, await begin(store, plan_of("a", "b", "c")), "a")
    with sqlite3.connect(file) as other:
        rows = other.execute("SELECT * FROM saga_steps ORDER BY number").fetchall()
    other.close()
    assert rows == [
        (saga.id, 0, "a", "completed", "succeeded", "idle", 1, 1),
        (saga.id, 1, "b", "started", "none", "sent", 1, 1),
        (saga.id, 2, "c", "pending", "none", "idle", 0, 0),
    ]


# -- one engine, many processes ----------------------------------------------


async def test_what_another_process_wrote_is_seen(store: Store, file: Path) -> None:
    """A saga that this one moved last may have been moved, or deleted, by a client."""
    saga = await begin(store)
    other = await Store.open(f"sqlite:///{file}")
    await other.transact([CompensateRequested(saga.id, "ann", "she wants to")])
    (late,) = await store.transact([StepSucceeded(fence_of(saga, "a"))])
    assert late.saga is not None
    assert late.saga.is_compensating
    ended = await complete(store, await begin(store))
    await other.delete(ended.id)
    await other.close()
    (gone,) = await store.transact([StepSucceeded(fence_of(ended, "a"))])
    assert gone.saga is None


async def test_what_was_deleted_is_not_remembered(store: Store) -> None:
    """Also by the process that wrote it last."""
    ended = await complete(store, await begin(store))
    await store.delete(ended.id)
    (gone,) = await store.transact([StepSucceeded(fence_of(ended, "a"))])
    assert gone.saga is None


async def test_one_engine_per_file(store: Store, file: Path) -> None:
    """A second engine is refused and told who runs the first."""
    await store.acquire_engine()
    second = await Store.open(f"sqlite:///{file}")
    with pytest.raises(StoreLockedError, match=r"saga\.db\.lock is held by process \d"):
        await second.acquire_engine()
    await begin(second)  # starting and reading need no engine
    await store.close()
    await second.acquire_engine()
    await second.close()


_OTHER = """
import asyncio, sys
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.store import Store
from tests.conformance.builders import begin, complete, plan_of

async def main():
    store = await Store.open(sys.argv[1])
    if sys.argv[2] == "engine":
        await store.acquire_engine()
    while True:
        saga = await complete(store, await begin(store, plan_of("a", "b")))
        print(saga.id, flush=True)

asyncio.run(main())
"""


def _run_other(file: Path, role: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _OTHER, f"sqlite:///{file}", role],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
async def test_a_kill_loses_nothing_that_was_answered(file: Path) -> None:
    """After SIGKILL the file is sound, the lock free, every answered commit there."""
    answered: list[str] = []
    with _run_other(file, "engine") as other:
        assert other.stdout is not None
        answered.extend(other.stdout.readline().strip() for _ in range(50))
        other.kill()
        answered.extend(line.strip() for line in other.stdout if line.endswith("\n"))
    store = await Store.open(f"sqlite:///{file}")
    await store.acquire_engine()
    for saga_id in answered:
        saga = await store.load(SagaId(saga_id))
        assert saga is not None
        assert saga.is_completed
    for saga in await store.find(SagaFilter(limit=100_000)):
        record = await store.record(saga.id)
        assert record is not None
        assert len(record.history) == record.saga.version
    await store.close()
    with sqlite3.connect(file) as check:
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


# -- faults ------------------------------------------------------------------


async def test_a_locked_file_may_be_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that holds the write lock too long is a conflict; reads go on."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    store = await Store.open(f"sqlite:///{file}")
    saga = await begin(store)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConcurrencyError) as conflict:
        await succeed(store, saga, "a")
    assert conflict.value.retryable
    assert isinstance(conflict.value.__cause__, sqlite3.OperationalError)
    assert await store.load(saga.id) is not None
    other.execute("ROLLBACK")
    other.close()
    await succeed(store, saga, "a")
    await store.close()


async def test_a_refused_row_undoes_the_whole_batch(store: Store, file: Path) -> None:
    """An error in the last table leaves nothing in the first."""
    saga = await begin(store)
    with sqlite3.connect(file) as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON saga_outbox "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    other.close()
    before = await store.record(saga.id)
    with pytest.raises(StoreDataError, match="refused"):
        await store.transact([start(), StepSucceeded(fence_of(saga, "a"))])
    assert await store.record(saga.id) == before
    assert await store.find(SagaFilter()) == [bare(saga)]


async def test_a_full_disk_may_be_tried_again(store: Store) -> None:
    """A commit that finds no room writes nothing, and works once there is room."""
    saga = await begin(store)
    await _pragma(store, f"max_page_count = {await _pragma(store, 'page_count')}")
    with pytest.raises(StoreUnavailableError) as full:
        await succeed(store, saga, "a", output="x" * 100_000)
    assert full.value.retryable
    record = await store.record(saga.id)
    assert record is not None
    assert len(record.history) == 1
    await _pragma(store, "max_page_count = 100000")
    await succeed(store, saga, "a", output="x" * 100_000)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE sagas SET steps = CAST(steps || steps AS BLOB)",
        "UPDATE sagas SET steps = CAST(x'ff' || substr(steps, 2) AS BLOB)",
        "UPDATE sagas SET plan_digest = 'gone'",
        "UPDATE sagas SET updated_at = 9223372036854775807",
        "UPDATE saga_data SET patch = '[1e400'",
        "UPDATE saga_data SET patch = '[]'",
        "DELETE FROM saga_data",
        "UPDATE saga_history SET data = '{'",
        "DELETE FROM saga_history",
    ],
)
async def test_a_damaged_row_names_its_saga(
    store: Store, file: Path, damage: str
) -> None:
    """What cannot be read back is said to be so, with the saga; others are fine."""
    saga = await succeed(store, await begin(store), "a", output=1)
    with sqlite3.connect(file) as other:
        other.execute(damage)
    other.close()
    with pytest.raises(StoreDataError, match=saga.id):
        await store.load(saga.id)
    assert await store.load((await begin(store)).id) is not None


async def test_a_plan_of_a_newer_release_is_refused(store: Store, file: Path) -> None:
    """A saga whose plan this code does not know is not touched."""
    saga = await begin(store)
    with sqlite3.connect(file) as other:
        other.execute("UPDATE saga_plans SET text = '{\"v\":99}'")
    other.close()
    fresh = await Store.open(f"sqlite:///{file}")
    with pytest.raises(StoreDataError, match="newer release"):
        await fresh.load(saga.id)
    await fresh.close()


def test_no_driver_error_passes(file: Path) -> None:
    """Whatever ``sqlite3`` raises comes as a StoreError with its cause."""
    for error in (
        sqlite3.ProgrammingError("closed"),
        sqlite3.InterfaceError("type"),
        sqlite3.IntegrityError("check"),
        sqlite3.DatabaseError("malformed"),
        OverflowError("too large"),
    ):
        with pytest.raises(StoreError) as told, driver_errors(file):
            raise error
        assert told.value.__cause__ is error


async def test_a_closed_store_says_so(file: Path) -> None:
    """A call after close is an error that is not tried again; no thread stays."""
    store = await Store.open(f"sqlite:///{file}")
    await store.close()
    with pytest.raises(StoreError, match="closed") as closed:
        await store.transact([start()])
    assert not closed.value.retryable
    await eventually(lambda: not _threads())


async def test_a_big_saga_is_read_once(store: Store) -> None:
    """Going on with a saga costs no decoding of all its steps each time."""
    steps = [step(f"s{number}", depends_on="root") for number in range(1, 500)]
    saga = await succeed(store, await begin(store, plan_of("root", *steps)), "root")
    (first,) = await store.find(SagaFilter())
    (second,) = await store.find(SagaFilter())
    assert first is second
    saga = await succeed(store, saga, "s1")
    assert (await store.find(SagaFilter())) == [saga]
