"""The restore drill of deploy/backup, with real processes from end to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.postgres import PostgresServer
from tests.support.saga_command import daemon, environment, saga
from tests.support.waiting import eventually
from tests.unit.handlers.books import query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import ServerProcess

pytestmark = pytest.mark.slow

_DEPLOY = Path(__file__).parents[2] / "deploy"
_BACKUP = _DEPLOY / "backup"
_ROLES = (_DEPLOY / "postgres" / "roles.sql").read_text()
_PUBLICATION = "CREATE PUBLICATION saga_events FOR TABLE saga_events"
_SUBSCRIPTION = (
    "CREATE SUBSCRIPTION other CONNECTION 'host=elsewhere' PUBLICATION other"
    " WITH (connect = false)"
)
_ORDER = {
    "customer_id": "c-1",
    "sku": "book",
    "quantity": 1,
    "card": "card-gold",
    "country": "CH",
}


class Site:
    """One database and one broker, with the processes on them.

    The sample's own database is elsewhere, and outlives a site.
    """

    def __init__(self, folder: Path, store: str, broker: str) -> None:
        self._folder = folder
        self._variables = {
            "SAGA_STORE": store,
            "SAGA_BROKER": broker,
            "ORDERS_DATABASE": str(folder / "orders.db"),
        }
        self._processes: dict[str, ServerProcess] = {}

    def saga(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return saga(*arguments, folder=self._folder, **self._variables)

    def run(self, *command: str) -> None:
        """Start `serve` or `worker`."""
        self._processes[command[0]] = daemon(
            *command, folder=self._folder, log=f"{command[0]}.log", **self._variables
        )

    def stop(self, *commands: str) -> None:
        """Stop these, or all."""
        for command in commands or tuple(self._processes):
            self._processes.pop(command).stop(signal.SIGTERM)

    def start(self, key: str) -> None:
        """Start an order."""
        done = self.saga(
            *("start", "handlers.orders:order", "--key", key),
            *("--context", json.dumps(_ORDER)),
        )
        assert done.returncode == 0, done.stderr

    def states(self) -> dict[str, str]:
        """Return the state of each saga by its key."""
        lines = self.saga("list", "--json", "--limit", "100").stdout.splitlines()
        documents: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return {document["key"]: document["state"] for document in documents}


@pytest.fixture
def servers() -> Iterator[list[PostgresServer]]:
    """The server that is lost, and the one that takes its place."""
    opened = [PostgresServer(), PostgresServer()]
    try:
        for server in opened:
            server.start()
        yield opened
    finally:
        for server in opened:
            server.close()


def _script(
    name: str, server: PostgresServer, url: str, file: Path
) -> subprocess.CompletedProcess[str]:
    path = f"{server._binaries}:{os.environ['PATH']}"
    return subprocess.run(
        [_BACKUP / name, url, file],
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _as(role: str, url: str) -> str:
    return url.replace("postgres@", f"{role}@")


def _execute(server: PostgresServer, url: str, sql: str) -> str:
    return server.execute(sql, url.rpartition("/")[2])


def _migrate(server: PostgresServer, url: str, folder: Path) -> None:
    """As the owner, with the roles before and after."""
    _execute(server, url, _ROLES)
    done = saga("migrate", "--store", _as("saga_owner", url), folder=folder)
    assert done.returncode == 0, done.stderr
    _execute(server, url, _ROLES)


@pytest.mark.timeout(240)
async def test_the_drill(servers, rabbit_server, rabbit_url, tmp_path):
    """Five had ended and five were under way: all ten end, and no effect is doubled."""
    lost, fresh = servers
    store, dump = lost.create_database(), tmp_path / "saga.dump"
    _migrate(lost, store, tmp_path)
    _execute(lost, store, _PUBLICATION)
    old = Site(tmp_path, _as("saga_service", store), rabbit_url)
    old.run("serve", "handlers.orders:order")
    old.run("worker", "handlers.orders")
    for number in range(5):
        old.start(f"ended-{number}")
    await eventually(lambda: set(old.states().values()) == {"completed"}, seconds=60)
    old.stop("worker")
    for number in range(5):
        old.start(f"moving-{number}")
    await eventually(lambda: _waits(rabbit_server, rabbit_url), seconds=60)

    done = _script("backup.sh", lost, _as("saga_owner", store), dump)
    assert done.returncode == 0, done.stderr

    old.run("worker", "handlers.orders")
    old.start("after")
    await eventually(lambda: set(old.states().values()) == {"completed"}, seconds=60)
    old.stop()
    lost.kill()

    place = fresh.create_database()
    _execute(fresh, place, _ROLES)
    done = _script("restore.sh", fresh, _as("saga_owner", place), dump)
    assert done.returncode == 0, done.stderr
    _migrate(fresh, place, tmp_path)
    _execute(fresh, place, _PUBLICATION)
    new = Site(tmp_path, _as("saga_service", place), rabbit_server.create_vhost())
    new.run("serve", "handlers.orders:order")
    new.run("worker", "handlers.orders")
    asked = new.saga("doctor", "--resend")
    assert "5 open commands will be sent again" in asked.stdout, asked.stderr
    await eventually(lambda: set(new.states().values()) == {"completed"}, seconds=60)
    new.stop()

    assert len(new.states()) == 10  # what was started after the dump is not known
    charges = query(
        tmp_path / "orders.db",
        "SELECT count(*), count(DISTINCT charge_id) FROM charges",
    )
    assert charges == [(11, 11)]


def test_a_database_with_tables_is_not_overwritten(servers, tmp_path):
    """A restore into the wrong database changes nothing."""
    server = servers[0]
    store, dump = server.create_database(), tmp_path / "saga.dump"
    assert saga("migrate", "--store", store, folder=tmp_path).returncode == 0
    assert _script("backup.sh", server, store, dump).returncode == 0
    done = _script("restore.sh", server, store, dump)
    assert done.returncode == 1
    assert "restore into an empty one" in done.stderr


def test_who_may_start_in_sql_is_the_same_after_a_restore(servers, tmp_path):
    """A dump has no rights: without them a function is everybody's."""
    server = servers[0]
    signature = "saga_start(text, json, text)"
    may_start = (
        "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles"
        " WHERE rolname LIKE 'saga_%'"
        f" AND has_function_privilege(rolname, '{signature}', 'EXECUTE')"
    )
    store, dump = server.create_database(), tmp_path / "saga.dump"
    assert saga("migrate", "--store", store, folder=tmp_path).returncode == 0
    _execute(server, store, _ROLES)
    assert _script("backup.sh", server, store, dump).returncode == 0
    place = server.create_database()
    done = _script("restore.sh", server, place, dump)
    assert done.returncode == 0, done.stderr
    _execute(server, place, _ROLES)
    for url in (store, place):
        assert _execute(server, url, may_start) == "saga_starter"


@pytest.mark.parametrize(
    "statement",
    [_PUBLICATION, _SUBSCRIPTION],
    ids=["publication", "subscription"],
)
@pytest.mark.parametrize("dumped_by", ["backup.sh", "pg_dump"])
def test_the_owner_restores_without_what_only_a_superuser_makes(
    servers, tmp_path, statement, dumped_by
):
    """The dump's tables come back, from a dump of an operator's own making, too."""
    server = servers[0]
    store, dump = server.create_database(), tmp_path / "saga.dump"
    _migrate(server, store, tmp_path)
    _execute(server, store, statement)
    if dumped_by == "pg_dump":
        subprocess.run(
            [server._binaries / "pg_dump", "--format=custom", f"--file={dump}", store],
            check=True,
        )
    else:
        done = _script("backup.sh", server, store, dump)
        assert done.returncode == 0, done.stderr
        listed = subprocess.check_output(
            [server._binaries / "pg_restore", "--list", dump], text=True
        )
        assert " saga_steps" in listed
        assert not re.findall(r"PUBLICATION|SUBSCRIPTION", listed)
    place = server.create_database()
    _execute(server, place, _ROLES)
    done = _script("restore.sh", server, _as("saga_owner", place), dump)
    assert done.returncode == 0, done.stderr
    _migrate(server, place, tmp_path)
    _execute(server, place, _PUBLICATION)  # a new one: none came with the dump


def test_a_backup_that_fails_leaves_no_file(servers, tmp_path):
    """Nobody takes half a dump for a whole one."""
    done = _script(
        "backup.sh", servers[0], servers[0].url("nowhere"), tmp_path / "saga.dump"
    )
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def _waits(rabbit_server: Any, url: str) -> bool:
    """Tell whether the commands of all five stand in a queue."""
    rows = rabbit_server.queues(url)
    return any(
        row["name"] == "saga.steps.orders" and row["messages"] == 5 for row in rows
    )
