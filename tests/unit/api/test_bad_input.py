"""What clients can send wrong: a problem names the field, and nothing changes."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from saga_orchestrator.api.routing import BODY_BYTES_MAX
from tests.unit.api.stage import problem, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop():
    """One served shop for all: what is refused leaves nothing behind."""
    async with served() as one:
        yield one


async def count(shop) -> int:
    """Return how many sagas there are."""
    return len((await shop.call("GET", "/v1/sagas?limit=200")).json()["sagas"])


def nested(levels: int) -> str:
    """Return a context of lists within one another."""
    return '{"name": "order", "context": {"x": ' + "[" * levels + "]" * levels + "}}"


CONTEXT = "body.context"
BODIES = [
    ("", 422, "invalid-request", "body"),
    ("null", 422, "invalid-request", "body"),
    ("[]", 422, "invalid-request", "body"),
    ('"order"', 422, "invalid-request", "body"),
    ("{", 400, "malformed-body", "body"),
    ('{"name": "order"} x', 400, "malformed-body", "body"),
    ('{"name": "order", "context": {"x": NaN}}', 400, "malformed-body", "body"),
    ('{"name": "order", "context": {"x": Infinity}}', 400, "malformed-body", "body"),
    (b'{"name": "\xff"}', 400, "malformed-body", "body"),
    ('{"name": "order"}'.encode("utf-16"), 400, "malformed-body", "body"),
    (
        '{"name": "order", "context": {"x": 1e400}}',
        422,
        "invalid-request",
        "body.context.x",
    ),
    (
        '{"name": "order", "context": {"x": 18446744073709551616}}',
        422,
        "invalid-request",
        "body.context.x",
    ),
    (
        '{"name": "order", "context": {"x": "\\u0000"}}',
        422,
        "invalid-request",
        "body.context.x",
    ),
    (
        '{"name": "order", "context": {"x": "\\ud800"}}',
        422,
        "invalid-request",
        "body.context.x",
    ),
    ('{"name": "order", "context": {"\\ud800": 1}}', 422, "invalid-request", CONTEXT),
    ('{"name": "order", "\\ud800": 1}', 422, "invalid-request", "body"),
    ('{"name": "order", "context": []}', 422, "invalid-request", CONTEXT),
    ('{"name": "order", "context": null}', 422, "invalid-request", CONTEXT),
    ('{"context": {}}', 422, "invalid-request", "body.name"),
    ('{"name": 7}', 422, "invalid-request", "body.name"),
    ('{"name": ""}', 422, "invalid-request", "body.name"),
    ('{"name": "nobody"}', 422, "invalid-request", "body.name"),
    ('{"name": "order", "key": "o-1"}', 422, "invalid-request", "body.key"),
    ('{"name": "order", "steps": []}', 422, "invalid-request", "body.steps"),
]


@pytest.mark.parametrize(("body", "status", "kind", "field"), BODIES)
async def test_bodies(shop, body, status, kind, field):
    """Not JSON is 400, JSON that is not valid is 422; no saga is started."""
    before = await count(shop)
    answer = await shop.client.post("/v1/sagas", content=body, headers=JSON)
    assert problem(answer) == (status, kind, [field])
    assert await count(shop) == before


async def test_nesting(shop):
    """63 lists in the context are the most that may travel, 64 are too deep."""
    fine = await shop.client.post("/v1/sagas", content=nested(63), headers=JSON)
    assert fine.status_code == 202
    for levels in (64, 900, 400_000):
        body = nested(levels)
        answer = await shop.client.post("/v1/sagas", content=body, headers=JSON)
        status, kind, (field,) = problem(answer)
        assert (status, kind) == (422, "invalid-request")
        assert field.startswith("body")
        assert len(answer.content) < 2000


async def test_sizes(shop):
    """A context over 1 MiB is named; a body over 2 MiB is not even read."""
    before = await count(shop)
    body = json.dumps({"name": "order", "context": {"x": "y" * 1024 * 1024}})
    answer = await shop.client.post("/v1/sagas", content=body, headers=JSON)
    assert problem(answer) == (422, "invalid-request", ["body.context"])
    answer = await shop.client.post(
        "/v1/sagas", content="x" * (BODY_BYTES_MAX + 1), headers=JSON
    )
    assert problem(answer) == (413, "body-too-large", ["body"])
    assert answer.headers["connection"] == "close"

    async def endless():
        for _ in range(BODY_BYTES_MAX // 65536 + 2):
            yield b" " * 65536

    answer = await shop.client.post("/v1/sagas", content=endless(), headers=JSON)
    assert problem(answer) == (413, "body-too-large", ["body"])
    assert await count(shop) == before


async def test_a_body_that_is_announced_too_large_is_refused_unseen(shop):
    """The answer comes before the first byte of the body is sent."""
    url = shop.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /v1/sagas HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: 99999999999999\r\n\r\n"
    )
    async with asyncio.timeout(20):
        assert b" 413 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", ""]
)
async def test_only_json_is_read(shop, kind):
    """A page of another site cannot send a form: 415 names the header."""
    headers = {"Content-Type": kind}
    body = '{"name": "order"}'
    answer = await shop.client.post("/v1/sagas", content=body, headers=headers)
    expected = (415, "unsupported-media-type", ["header.Content-Type"])
    assert problem(answer) == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=done", "query.state.0"),
        ("state=failed&state=", "query.state.1"),
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=x", "query.limit"),
        ("limit=", "query.limit"),
        ("name=", "query.name"),
        ("key=", "query.key"),
        ("cursor=", "query.cursor"),
        ("cursor=a.b", "query.cursor"),
        ("cursor=%00", "query.cursor"),
        ("created=yesterday", "query.created"),
        ("stale=true", "query.stale"),
        ("text=", "query.text"),
        (f"text={'x' * 201}", "query.text"),
        ("text=a%00b", "query.text"),
        ("name=a%00b", "query.name"),
        ("key=a%00b", "query.key"),
        ("created_from=yesterday", "query.created_from"),
        ("created_to=", "query.created_to"),
        ("updated_from=1h", "query.updated_from"),
        ("updated_to=1764426600", "query.updated_to"),
        ("state=failed&Limit=1", "query.Limit"),
    ],
)
async def test_queries(shop, query, field):
    """A wrong value, and a parameter that nobody knows, is named."""
    answer = await shop.call("GET", f"/v1/sagas?{query}")
    assert problem(answer) == (422, "invalid-request", [field])


@pytest.mark.parametrize("timeout", ["-1", "61", "nan", "inf", "x", ""])
async def test_timeouts(shop, timeout):
    """From 0 to 60 seconds."""
    saga_id = await shop.start()
    answer = await shop.call("GET", f"/v1/sagas/{saga_id}/wait?timeout={timeout}")
    assert problem(answer) == (422, "invalid-request", ["query.timeout"])


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9", "a\tb"])
async def test_keys_that_cannot_be_kept(shop, key):
    """An Idempotency-Key is 1 to 255 printable characters of ASCII."""
    before = await count(shop)
    headers = {**JSON, "Idempotency-Key": key.encode()}
    body = '{"name": "order"}'
    answer = await shop.client.post("/v1/sagas", content=body, headers=headers)
    assert problem(answer) == (422, "invalid-request", ["header.Idempotency-Key"])
    assert await count(shop) == before


async def test_the_longest_key(shop):
    """255 characters are kept, blanks inside too."""
    key = "a b" + "x" * 252
    answer = await shop.call(
        "POST", "/v1/sagas", {"name": "order"}, Idempotency_Key=key
    )
    assert answer.json()["key"] == key


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/sagas/", "/docs", "/redoc", "/v2/sagas", "//v1/sagas", "/%00"],
)
async def test_no_such_route(shop, path):
    """404 as a problem, and no redirect to anything like it."""
    answer = await shop.client.send(
        shop.client.build_request("GET", str(shop.client.base_url).rstrip("/") + path)
    )
    assert problem(answer) == (404, "not-found", [])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/sagas", "GET, POST"),
        ("PUT", "/v1/sagas/01JGFJJZ00000000000000000A", "GET"),
        ("GET", "/v1/sagas/01JGFJJZ00000000000000000A/retry", "POST"),
        ("POST", "/livez", "GET"),
        ("TRACE", "/metrics", "GET"),
        ("BREW", "/readyz", "GET"),
    ],
)
async def test_no_such_method(shop, method, path, allowed):
    """405 as a problem, with the methods that there are."""
    answer = await shop.client.request(method, path)
    assert problem(answer) == (405, "method-not-allowed", [])
    assert answer.headers["allow"] == allowed


async def test_headers_of_safety(shop):
    """Every answer forbids sniffing and caching; no other site is let in by CORS."""
    for path in ("/v1/sagas", "/nope", "/livez", "/v1/sagas?x=1"):
        answer = await shop.call("GET", path, Origin="https://evil.example")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert not [
            name for name in answer.headers if name.startswith("access-control")
        ]
        assert "server" not in answer.headers


async def test_problems_are_bounded(shop):
    """A body with thousands of wrong fields is answered in a few lines."""
    body = json.dumps({f"f{number}": 1 for number in range(5000)})
    answer = await shop.client.post("/v1/sagas", content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    body = json.dumps({"name": "order", "x" * 100_000: 1})
    answer = await shop.client.post("/v1/sagas", content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 2000
