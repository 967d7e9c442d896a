"""What sagas cost in statements, commits, messages and WAL stays under limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.perf.counted import counted
from tests.perf.limits import LIMITS, Limit
from tests.support.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow


@pytest.fixture
def counting_postgres() -> Iterator[PostgresServer]:
    """A server that counts statements, and writes no WAL of its own accord."""
    server = PostgresServer(
        shared_preload_libraries="pg_stat_statements",
        full_page_writes="off",
        autovacuum="off",
    )
    try:
        server.start()
        server.execute("CREATE EXTENSION pg_stat_statements", "template1")
        yield server
    finally:
        server.close()


async def test_costs_stay_under_their_limits(
    counting_postgres: PostgresServer, rabbit_server: RabbitServer, tmp_path: Path
) -> None:
    """Of a saga alone, of many at a time, of an engine with nothing to do."""
    store, broker = counting_postgres.create_database(), rabbit_server.create_vhost()
    async with counted(store, broker, tmp_path) as one:
        found = {
            "idle": await one.rest(),
            "single": await one.run(20, 1),
            "batch": await one.run(300, 100),
        }
    complaints = [
        f"{load}: {name} {complaint}"
        for load, limits in LIMITS.items()
        for name, limit in limits.items()
        if (complaint := limit.complaint(found[load][name]))
    ]
    assert not complaints, "\n".join([*complaints, f"measured: {found}"])


def test_a_figure_out_of_its_limits_is_told():
    """Over its limit, or steady and far below: then the limit is to be lowered."""
    assert Limit(24, 22).complaint(22) == ""
    assert "the limit is 24 (it was 22)" in Limit(24, 22).complaint(24.5)
    assert "Limit(19.8, 18)" in Limit(24, 22).complaint(18)
    assert Limit(24, 22, is_steady=False).complaint(1) == ""
