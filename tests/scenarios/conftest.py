"""The stores that scenarios are played on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga_orchestrator.testing import ManualClock
from tests.scenarios.table import Stage
from tests.support.postgres import PostgresServer

_names = itertools.count(1)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database with the schema, shared by all scenarios."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgres),
    ]
)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    """Each kind of store in turn."""
    clock = ManualClock()
    if request.param == "memory":
        url = f"memory://scenario-{next(_names)}"
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/saga.db"
    else:
        url = request.getfixturevalue("migrated_postgres")
    stage = Stage(url, clock, tmp_path)
    await stage.migrate()
    return stage
