"""pgbouncer between the engine and PostgreSQL: it works, or is refused at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Manager, Store
from saga_orchestrator.errors import ConfigurationError, StoreUnavailableError
from saga_stores.postgres.address import LIMITS, SESSION_SETTINGS
from saga_stores.postgres.errors import store_errors
from tests.support.pgbouncer import PgBouncer
from tests.support.reckoning import all_complete_once, start_many

if TYPE_CHECKING:
    from tests.support.books import Books
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

OURS = ",".join(SESSION_SETTINGS)


def _give_to_the_database(server: PostgresServer, url: str) -> None:
    """Set the limits where a pooler cannot drop them."""
    name = url.rpartition("/")[2]
    for limit in LIMITS:
        value = SESSION_SETTINGS[limit]
        server.execute(f"ALTER DATABASE \"{name}\" SET {limit} = '{value}'")


@pytest.mark.usefixtures("client")  # which has made the tables
async def test_session_mode_works(
    postgres_server: PostgresServer, postgres_url: str, rabbit_url: str, books: Books
) -> None:
    """Each of our connections has a session of the server for itself."""
    _give_to_the_database(postgres_server, postgres_url)
    with PgBouncer(postgres_server, "session", OURS) as bouncer:
        async with Manager.open(
            store=bouncer.through(postgres_url),
            broker=rabbit_url,
            handlers=[books.handlers],
        ) as manager:
            sagas = await start_many(manager, map(str, range(20)))
            await all_complete_once(manager, books, sagas)


@pytest.mark.usefixtures("client")
async def test_transaction_mode_that_loses_statements_is_refused(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """At once, with what to do; not at some statement under load."""
    _give_to_the_database(postgres_server, postgres_url)
    with PgBouncer(postgres_server, "transaction", OURS) as bouncer:
        for parameters in ("", "?pool=1"):
            url = f"{bouncer.through(postgres_url)}{parameters}"
            with pytest.raises(ConfigurationError, match="use its session mode, or"):
                await Store.open(url)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_that_drops_the_limits_is_refused(
    mode: str, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """A session without its limits would wait for a lock for ever."""
    with (
        PgBouncer(postgres_server, mode, OURS) as bouncer,
        pytest.raises(ConfigurationError, match="ALTER ROLE … SET lock_timeout = '1s'"),
    ):
        await Store.open(bouncer.through(postgres_url))


@pytest.mark.usefixtures("client")
async def test_a_pooler_that_takes_no_settings_is_refused(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """The parameter is named, and what to do with it."""
    with (
        PgBouncer(postgres_server, "session") as bouncer,
        pytest.raises(StoreUnavailableError, match=r"parameter: \w+; of a pooler: let"),
    ):
        await Store.open(bouncer.through(postgres_url))


@pytest.mark.parametrize(
    "kind",
    [asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError],
)
def test_a_statement_that_a_pooler_lost_is_tried_again(kind: type[Exception]) -> None:
    """A pooler that changes its mode meanwhile fails no saga."""
    with pytest.raises(StoreUnavailableError), store_errors("postgresql://here"):
        raise kind("because")
