"""Where the server listens, what it refuses to do, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import httpx
import pytest

from saga_orchestrator import Manager
from saga_orchestrator.api import connections
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.server import open_http
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.runtime.api_keys import issue_key
from tests.support.waiting import eventually
from tests.unit.api.stage import problem, served


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8233", "127.0.0.1", 8233),
        (":8233", "127.0.0.1", 8233),
        ("localhost:0", "localhost", 0),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_addresses(text, host, port):
    """Without a host only this machine can call."""
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", "x", "127.0.0.1", "127.0.0.1:x", "::1:80", "h:65536", "http://h:80", "h:80\n"],
)
def test_what_is_no_address(text):
    """Names the setting, and how an address looks."""
    with pytest.raises(ConfigurationError, match=r"^http: .* use HOST:PORT"):
        Address.parse(text)


async def opened(manager, text):
    """Open the server and close it again; return its URL."""
    async with open_http(manager, Address.parse(text), SystemClock()) as (_, url):
        return url


async def test_others_can_reach_it_only_with_keys():
    """Without a good key it does not start; with one it does, and asks for it."""
    async with Manager.open() as manager:
        keys = manager.store.api_keys
        with pytest.raises(ConfigurationError, match="saga keys new"):
            await opened(manager, "0.0.0.0:0")
        await issue_key(keys, "old", Role.ADMIN)
        await keys.revoke("old")
        with pytest.raises(ConfigurationError, match="there are no API keys"):
            await opened(manager, "0.0.0.0:0")
        key, _ = await issue_key(keys, "ann", Role.READ)
        address = Address.parse("0.0.0.0:0")
        async with open_http(manager, address, SystemClock()) as (_, url):
            place = url.replace("0.0.0.0", "127.0.0.1") + "/v1/sagas"
            async with httpx.AsyncClient() as client:
                assert problem(await client.get(place))[0] == 401
                shown = {"Authorization": f"Bearer {key}"}
                assert (await client.get(place, headers=shown)).status_code == 200


async def test_a_port_that_is_taken():
    """Says which, in a line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with Manager.open() as manager:
            with pytest.raises(ConfigurationError, match=f"listen on 127.0.0.1:{port}"):
                await opened(manager, str(port))
            await issue_key(manager.store.api_keys, "ann", Role.READ)
            with pytest.raises(ConfigurationError, match="cannot listen on no"):
                await opened(manager, "no.such.host.invalid:0")


async def test_what_has_begun_is_answered_at_the_end():
    """A request in flight when the server closes is answered; then nobody listens."""
    async with httpx.AsyncClient(timeout=60) as client:
        async with served() as shop:
            saga_id, _ = await shop.deferred()
            url = str(shop.client.base_url)
            path = f"{url}/v1/sagas/{saga_id}/wait"
            waiting = asyncio.ensure_future(client.get(path))
            while not shop.face.seats.taken:
                await shop.call("GET", "/livez")
        answer = await waiting
        assert answer.status_code == 202
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/livez")


async def test_a_defect_is_a_problem_and_the_server_lives_on(shop, monkeypatch):
    """500 with a number to find it by in the log; nothing of the inside is told."""

    async def break_down(saga_id):
        raise RuntimeError(f"secret of {saga_id}")

    monkeypatch.setattr(shop.manager, "record", break_down)
    saga_id = await shop.start()
    answer = await shop.call("GET", f"/v1/sagas/{saga_id}")
    assert problem(answer) == (500, "internal-error", [])
    assert len(answer.json()["error_id"]) == 16
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await shop.call("GET", "/livez")).status_code == 200


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"\0" * 99 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 2_000_000,
    ],
)
async def test_what_is_not_http(shop, noise):
    """Noise is answered with 400, or hung up on; the server lives on."""
    url = shop.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(noise)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            assert (await reader.read(12))[-3:] in (b"400", b"")
    writer.close()
    assert (await shop.call("GET", "/livez")).status_code == 200


async def test_who_connects_and_asks_nothing_is_hung_up_on(shop, monkeypatch):
    """Also where a request begins and does not go on; one that came is answered."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    url = shop.client.base_url
    for begun in (b"", b"GET /livez HTTP/1.1\r\nX-Slow: "):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(begun)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
    saga_id, _ = await shop.deferred()
    waited = await shop.call("GET", f"/v1/sagas/{saga_id}/wait?timeout=0.2")
    assert waited.status_code == 202


@pytest.mark.parametrize(
    "asked", [b"GET /livez HTTP/1.1\r\n", b"POST /v1/sagas HTTP/1.1\r\n"]
)
async def test_who_is_answered_and_never_ends_its_body_is_hung_up_on(
    shop, monkeypatch, asked
):
    """However it trickles in: nobody waits for that body."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    url = shop.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    wrong = b"Host: x\r\nAuthorization: Bearer x\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(asked + wrong)
    assert (await reader.readline()).startswith(b"HTTP/1.1 ")
    writer.write(b"x")
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            await reader.read()
    writer.close()


async def test_a_body_may_come_after_the_answer(shop):
    """Who sends it all reads the answer, and may ask again on the same connection."""
    url = shop.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
    async with asyncio.timeout(20):
        for _ in range(2):
            writer.write(ask + b"Content-Length: 3\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            assert (await reader.readuntil(b"ok\n")).endswith(b"ok\n")
            writer.write(b"xyz")
        writer.write(ask + b"Connection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_who_never_reads_is_hung_up_on(shop, monkeypatch):
    """What it has asked for does not wait for it for ever."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.05)
    url = shop.client.base_url
    with socket.create_connection((url.host, url.port)) as client:
        client.setblocking(False)
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        client.send(ask * 500)  # more than the system takes in for both sides

        def is_over():
            try:
                client.send(b"x")
            except BlockingIOError:
                return False
            except OSError:
                return True
            return False

        await eventually(is_over)


async def test_the_description(shop):
    """OpenAPI 3.1; each operation has a summary, its problems, and says who may."""
    document = (await shop.call("GET", "/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            name = f"{method} {path}"
            assert operation["summary"], name
            assert operation["description"], name
            public = operation["x-role"] == "public"
            assert operation["security"] == ([] if public else [{"apiKey": []}])
            assert "422" in operation["responses"], name
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), (name, parameter["name"])
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    start = document["components"]["schemas"]["StartBody"]["properties"]
    assert start["name"]["enum"] == ["order", "parked"]
