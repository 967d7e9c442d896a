"""deploy/postgres/roles.sql on a private server: each role can do its part only."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from saga_orchestrator import Manager
from saga_orchestrator.ports.store import Keep
from saga_stores.postgres.address import SESSION_SETTINGS
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.saga_command import daemon, saga
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.slow

_DEPLOY = Path(__file__).parents[2] / "deploy"
_ROLES = (_DEPLOY / "postgres" / "roles.sql").read_text()
_BREAKFAST = {"bowl": "blue bowl", "cereal": "oats", "milk": "oat milk"}
_START = "SELECT saga_start($1, $2::json, $3)"
_READABLE = ("sagas", "saga_steps", "saga_history", "saga_data", "saga_residuals")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this file alone: roles belong to a whole server."""
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE saga")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def url_of(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """The address for a role, of a database that was set up as the file says."""

    def url(role: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{server.port}/saga"

    folder = tmp_path_factory.mktemp("operator")
    server.execute(_ROLES, "saga")
    done = saga("migrate", "--store", url("saga_owner"), folder=folder)
    assert done.returncode == 0, done.stderr
    server.execute(_ROLES, "saga")
    server.execute(
        "CREATE ROLE shop LOGIN; GRANT saga_starter TO shop;"
        "CREATE SCHEMA shop AUTHORIZATION shop;"
        "CREATE TABLE shop.orders (id text PRIMARY KEY);"
        "ALTER TABLE shop.orders OWNER TO shop",
        "saga",
    )
    return url


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _finds(connection: asyncpg.Connection, query: str) -> bool:
    return bool(await connection.fetch(query))


async def test_the_service_works_as_its_role(url_of, tmp_path):
    """Sagas run to their end; a person reads them, and a doctor finds nothing."""
    store = url_of("saga_service")
    options = {"folder": tmp_path, "SAGA_STORE": store}
    served = daemon("serve", "handlers.breakfast", log="serve.log", **options)
    try:
        started = saga(
            *("start", "handlers.breakfast:breakfast", "--wait", "--context"),
            json.dumps(_BREAKFAST),
            **options,
        )
        assert started.returncode == 0, started.stderr
        doctor = saga("doctor", "--json", **options)
        assert doctor.returncode == 0, doctor.stdout
    finally:
        served.stop(signal.SIGTERM)
    assert served.returncode == 0
    async with _connected(url_of("saga_reader")) as connection:
        states = await connection.fetch("SELECT state FROM saga_steps")
        assert {row["state"] for row in states} == {"completed"}
        for name in _READABLE:
            await connection.fetch(f"SELECT * FROM {name}")


async def test_the_service_has_what_events_starts_keys_and_retention_need(
    url_of, tmp_path
):
    """A start in SQL runs, its events are published, its row is deleted by age."""
    options = {
        "folder": tmp_path,
        "SAGA_STORE": url_of("saga_service"),
        "SAGA_LIFECYCLE_EVENTS": "true",
    }
    for arguments in (
        ("new", "shop", "--role", "start"),
        ("list",),
        ("revoke", "shop"),
    ):
        done = saga("keys", *arguments, **options)
        assert done.returncode == 0, done.stderr
    async with _connected(url_of("shop")) as shop:
        key = "breakfast-1"
        await shop.execute(_START, "breakfast", json.dumps(_BREAKFAST), key)
    served = daemon("serve", "handlers.breakfast", log="serve.log", **options)
    try:
        async with _connected(url_of("saga_reader")) as reader:
            await eventually(
                lambda: _finds(
                    reader,
                    "SELECT FROM sagas WHERE key = 'breakfast-1'"
                    " AND ended_at IS NOT NULL"
                    " AND NOT EXISTS (SELECT FROM saga_starts)"
                    " AND NOT EXISTS (SELECT FROM saga_events)",
                )
            )
            assert await _finds(reader, "SELECT FROM saga_leases")
    finally:
        served.stop(signal.SIGTERM)
    assert "permission denied" not in served.output()
    async with Manager.open(store=url_of("saga_service")) as manager:
        assert await manager.store.prune(Keep(dt.timedelta(0)), limit=100) >= 1


async def test_a_service_starts_sagas_in_its_own_transactions(url_of):
    """Committed with its row, or not at all; and it may do nothing else."""
    async with (
        _connected(url_of("shop")) as shop,
        _connected(url_of("saga_reader")) as reader,
    ):
        for key, fate in (("kept", "COMMIT"), ("dropped", "ROLLBACK")):
            await shop.execute("BEGIN")
            await shop.execute("INSERT INTO shop.orders VALUES ($1)", key)
            assert await shop.fetchval(_START, "order", "{}", key)
            await shop.execute(fate)
        asked = await reader.fetch("SELECT key FROM saga_starts WHERE name = 'order'")
        assert [row["key"] for row in asked] == ["kept"]
        may = await shop.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'v', 'S') AND has_table_privilege("
            "oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
        )
        assert may == []


async def test_a_person_sees_who_may_call_and_not_their_hashes(url_of):
    """The names and roles of keys, of starts their errors: what monitoring needs."""
    async with _connected(url_of("saga_reader")) as connection:
        await connection.fetch("SELECT name, role, revoked_at FROM api_keys")
        await connection.fetch("SELECT name, error FROM saga_starts")
        await connection.fetch("SELECT min(created_at) FROM saga_events")


async def test_nobody_logs_in_as_a_starter(url_of):
    """It is granted to roles of services."""
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(url_of("saga_starter"))


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("saga_reader", "SELECT digest FROM api_keys"),
        ("saga_reader", "SELECT * FROM api_keys"),
        ("saga_reader", "SELECT saga_start('order')"),
        ("saga_reader", "DELETE FROM saga_starts"),
        ("saga_reader", "DELETE FROM saga_events"),
        ("saga_service", "SELECT saga_start('order')"),
        ("saga_service", "INSERT INTO saga_starts SELECT * FROM saga_starts"),
        ("saga_service", "DELETE FROM api_keys"),
        ("saga_service", "UPDATE api_keys SET role = 'admin'"),
        ("saga_service", "UPDATE api_keys SET digest = ''"),
        ("shop", "SELECT * FROM saga_starts"),
        ("shop", "INSERT INTO saga_starts SELECT * FROM saga_starts"),
        ("shop", "DELETE FROM saga_starts"),
        ("shop", "SELECT * FROM sagas"),
        ("shop", "SELECT * FROM saga_events"),
        ("shop", "SELECT name FROM api_keys"),
        ("shop", "SELECT * FROM saga_meta"),
        ("shop", "CREATE TABLE public.t (i int)"),
        ("shop", "CREATE TEMP TABLE t (i int)"),
        ("shop", "ALTER FUNCTION saga_start(text, json, text) SECURITY INVOKER"),
        ("saga_reader", "SELECT * FROM saga_meta"),
        ("saga_reader", "DELETE FROM sagas"),
        ("saga_reader", "UPDATE sagas SET version = version + 1"),
        ("saga_reader", "INSERT INTO saga_history SELECT * FROM saga_history"),
        ("saga_reader", "TRUNCATE saga_outbox"),
        ("saga_reader", "CREATE TABLE t (i int)"),
        ("saga_reader", "CREATE TEMP TABLE t (i int)"),
        ("saga_service", "UPDATE saga_meta SET value = ''"),
        ("saga_service", "DELETE FROM schema_migrations"),
        ("saga_service", "ALTER TABLE sagas ADD COLUMN mine int"),
        ("saga_service", "DROP TABLE sagas"),
        ("saga_service", "TRUNCATE sagas"),
        ("saga_service", "CREATE TABLE t (i int)"),
        ("saga_cdc", "SELECT * FROM sagas"),
        ("saga_cdc", "SELECT name FROM api_keys"),
        ("saga_cdc", "SELECT * FROM saga_meta"),
        ("saga_cdc", "SELECT saga_start('order')"),
        ("saga_cdc", "DELETE FROM saga_events"),
        ("saga_cdc", "UPDATE saga_events SET event_type = ''"),
        ("saga_cdc", "CREATE TABLE t (i int)"),
        ("saga_cdc", "CREATE TEMP TABLE t (i int)"),
        ("saga_cdc", "CREATE PUBLICATION mine"),
    ],
)
async def test_what_they_must_not_do_is_refused(url_of, role, statement):
    """Also where the reader has switched off its default of read-only."""
    async with _connected(url_of(role)) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_nobody_else_may_connect(server, url_of):
    """A role without a grant does not even enter the database."""
    url_of("saga_owner")
    server.execute("CREATE ROLE stranger LOGIN")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(f"postgresql://stranger@127.0.0.1:{server.port}/saga")


def test_the_role_has_what_the_store_asks_for() -> None:
    """A pooler drops what is asked at the start; then the role's own settings hold."""
    set_by_role = dict(re.findall(r"ROLE saga_service SET (\w+) = '(.*)'", _ROLES))
    assert set_by_role | {"application_name": "saga-orchestrator"} == SESSION_SETTINGS


def _shipped(server: PostgresServer) -> PgBouncer:
    """Return a pgbouncer with our file, but for its places and passwords."""
    bouncer = PgBouncer(server, "session")
    users = bouncer._folder / "userlist.txt"
    users.write_text('"saga_service" ""\n')
    text = (_DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text()
    for ours, test in {
        "port=5432": f"port={server.port}",
        "listen_port = 6432": f"listen_port = {bouncer.port}\nunix_socket_dir =",
        "auth_type = scram-sha-256": "auth_type = trust",
        "/etc/pgbouncer/userlist.txt": str(users),
    }.items():
        assert ours in text
        text = text.replace(ours, test)
    (bouncer._folder / "pgbouncer.ini").write_text(text)
    return bouncer


def test_sagas_run_through_pgbouncer(server, url_of, tmp_path):
    """With the configuration that we ship, as the service's role."""
    with _shipped(server) as bouncer:
        store = bouncer.through(url_of("saga_service"))
        options = {"folder": tmp_path, "SAGA_STORE": store}
        served = daemon("serve", "handlers.breakfast", log="serve.log", **options)
        try:
            started = saga(
                *("start", "handlers.breakfast:breakfast", "--wait", "--context"),
                json.dumps(_BREAKFAST),
                **options,
            )
        finally:
            served.stop(signal.SIGTERM)
        assert started.returncode == 0, started.stderr
