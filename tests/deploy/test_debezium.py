"""deploy/debezium as its README says: the SQL is run, the connector's user reads."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from saga_orchestrator import Manager, SagaDefinition, Step
from tests.support.postgres import PostgresServer
from tests.support.saga_command import saga

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow

_DEPLOY = Path(__file__).parents[2] / "deploy"
_ROLES = (_DEPLOY / "postgres" / "roles.sql").read_text()
_README = (_DEPLOY / "debezium" / "README.md").read_text()
_CONNECTOR = json.loads((_DEPLOY / "debezium" / "connector.json").read_text())["config"]
_SHOP = SagaDefinition("shop", steps=[Step("charge", action="shop.charge")])
_READABLE = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    AND has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE, REFERENCES')
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this file alone, with the setting that the README asks for."""
    (level,) = re.findall(r"`wal_level = (\w+)`", _README)
    server = PostgresServer(wal_level=level)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def url_of(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """The address for a role, of a database that was set up as the README says."""

    def url(role: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{server.port}/saga"

    server.execute("CREATE DATABASE saga")
    server.execute(_ROLES, "saga")
    folder = tmp_path_factory.mktemp("operator")
    done = saga("migrate", "--store", url("saga_owner"), folder=folder)
    assert done.returncode == 0, done.stderr
    server.execute(_ROLES, "saga")
    for block in re.findall(r"^ *```sql\n(.*?)```", _README, re.DOTALL | re.MULTILINE):
        server.execute(textwrap.dedent(block), "saga")
    return url


async def test_the_connector_reads_what_sagas_tell_and_nothing_else(
    url_of: Callable[[str], str],
) -> None:
    """Its user's snapshot and its slot have the events; other tables are closed."""
    reader = await asyncpg.connect(url_of(_CONNECTOR["database.user"]))
    try:
        await reader.execute(
            "SELECT pg_create_logical_replication_slot($1, $2)",
            *(_CONNECTOR["slot.name"], _CONNECTOR["plugin.name"]),
        )
        async with Manager.open(
            store=url_of("saga_service"), events="cdc", lifecycle_events=True
        ) as manager:
            started = await manager.start(_SHOP)
        rows = await reader.fetch("SELECT aggregate_id, event_type FROM saga_events")
        assert [tuple(row) for row in rows] == [(started.id, "started")]
        changes = await reader.fetch(
            "SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL,"
            " 'proto_version', '1', 'publication_names', $2)",
            *(_CONNECTOR["slot.name"], _CONNECTOR["publication.name"]),
        )
        kinds = [row["data"][:1] for row in changes]
        assert kinds.count(b"I") == 1  # the event; the saga's own rows are not told
        (told,) = (row["data"] for row in changes if row["data"][:1] == b"I")
        assert started.id.encode() in told
        assert [row[0] for row in await reader.fetch(_READABLE)] == ["saga_events"]
    finally:
        await reader.close()


async def test_the_connector_finds_its_publication_and_leaves_it_alone(
    url_of: Callable[[str], str],
) -> None:
    """Its user owns none: a connector that made or changed one would not start."""
    assert _CONNECTOR["publication.autocreate.mode"] == "disabled"
    reader = await asyncpg.connect(url_of(_CONNECTOR["database.user"]))
    try:
        found = await reader.fetch(
            "SELECT schemaname || '.' || tablename FROM pg_publication_tables"
            " WHERE pubname = $1",
            _CONNECTOR["publication.name"],
        )
    finally:
        await reader.close()
    assert [row[0] for row in found] == [_CONNECTOR["table.include.list"]]
