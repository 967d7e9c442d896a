"""TLS to PostgreSQL and RabbitMQ, by URL alone."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from saga_orchestrator import Manager
from saga_orchestrator.errors import BrokerUnavailableError, StoreUnavailableError
from saga_orchestrator.ports.store import Store
from tests.support.certificates import Certificate, make_certificate
from tests.support.postgres import PostgresServer
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What both servers show."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_postgres(certificate: Certificate) -> Iterator[str]:
    """The address of a database whose server speaks TLS."""
    server = PostgresServer(ssl="on")
    try:
        server.install_certificate(certificate.certificate, certificate.key)
        server.start()
        yield server.create_database()
    finally:
        server.close()


@pytest.mark.postgres
async def test_postgresql(
    tls_postgres: str, certificate: Certificate, tmp_path: Path
) -> None:
    """``sslmode=verify-full`` encrypts; a server that nobody vouches for is refused."""
    verified = f"{tls_postgres}?sslmode=verify-full&sslrootcert="
    store = await Store.open(f"{verified}{certificate.certificate}", migrate=True)
    psql = await asyncpg.connect(tls_postgres)
    try:
        sessions = await psql.fetch(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
            " WHERE application_name = 'saga-orchestrator'"
        )
        assert [row["ssl"] for row in sessions] == [True]
    finally:
        await psql.close()
        await store.close()
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
        await Store.open(f"{verified}{other.certificate}")


@contextlib.asynccontextmanager
async def _tls_in_front_of(url: str, certificate: Certificate) -> AsyncIterator[str]:
    """Speak TLS for a broker that does not; give the address."""
    broker = urlsplit(url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection(broker.hostname, broker.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, inner[1]))
            group.create_task(pump(inner[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"amqps://guest:guest@127.0.0.1:{port}{broker.path}"


async def test_rabbitmq(rabbit_url: str, certificate: Certificate) -> None:
    """``amqps://…?cafile=…`` runs a saga; without the authority it is refused."""
    service = Service("far")
    async with _tls_in_front_of(rabbit_url, certificate) as url:
        trusted = f"{url}?cafile={certificate.certificate}"
        async with Manager.open(handlers=[service.handlers], broker=trusted) as manager:
            saga = await manager.start("s", service.chain("ab"))
            assert (await manager.wait(saga.id, timeout=60)).is_completed
            assert manager.problems() == []
        with pytest.raises(BrokerUnavailableError, match="certificate"):
            await Manager.open(handlers=[service.handlers], broker=url)
