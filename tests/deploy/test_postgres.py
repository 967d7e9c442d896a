"""deploy/postgres/roles.sql on a private server: each role can do its part only."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from saga_stores.postgres.address import SESSION_SETTINGS
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.saga_command import daemon, saga

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.slow

_DEPLOY = Path(__file__).parents[2] / "deploy"
_ROLES = (_DEPLOY / "postgres" / "roles.sql").read_text()
_BREAKFAST = {"bowl": "blue bowl", "cereal": "oats", "milk": "oat milk"}
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
    return url


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


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


@pytest.mark.parametrize(
    ("role", "statement"),
    [
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
