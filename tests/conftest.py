"""Fixtures for all tests: a clean environment, servers on demand."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDS = {
    "postgres": {"postgres_server", "postgres_url", "killable_postgres"},
    "rabbitmq": {"rabbit_server", "rabbit_url", "killable_rabbit"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the servers that its fixtures start."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for marker, fixtures in _NEEDS.items():
            if used & fixtures:
                item.add_marker(marker)


def pytest_collection_finish() -> None:
    """Let no garbage collection go through thousands of collected tests again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_saga_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("SAGA_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL server of this run; do not stop it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a fresh database."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def killable_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test alone: stop, kill and restart it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[RabbitServer]:
    """The RabbitMQ node of this run; do not stop it."""
    server = RabbitServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def rabbit_url(rabbit_server: RabbitServer) -> str:
    """The address of a fresh vhost."""
    return rabbit_server.create_vhost()


@pytest.fixture
def killable_rabbit() -> Iterator[RabbitServer]:
    """A RabbitMQ node of this test alone: stop, kill and restart it."""
    server = RabbitServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
