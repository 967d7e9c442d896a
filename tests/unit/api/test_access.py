"""Who may call what: every route of the live description, with every kind of key."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import pytest
from fastapi import FastAPI

from saga_orchestrator import Manager
from saga_orchestrator.api import app as api_app
from saga_orchestrator.api import rates
from saga_orchestrator.api.address import Address, is_loopback
from saga_orchestrator.api.app import require_roles
from saga_orchestrator.api.rates import RateLimit
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.server import open_http
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.runtime.api_keys import digest_of, issue_key
from saga_orchestrator.testing.clock import ManualClock
from tests.unit.api.stage import NOBODY, problem, served

PLACES = {"saga_id": NOBODY, "step": "pay", "number": "1", "name": "nobody"}
METHODS = {"get", "post", "put", "patch", "delete"}


async def described(shop, key=None):
    """Return (method, path, role) of each route, from the live description."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    document = (await shop.call("GET", "/openapi.json", **headers)).json()
    return [
        (method.upper(), path, operation["x-role"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def filled(path):
    """Return a path with something in its places."""
    return re.sub(r"\{(\w+)\}", lambda found: PLACES[found[1]], path)


async def test_the_matrix():
    """No key, a wrong or revoked one: 401; too low a role: 403; the right one: in."""
    async with served(with_keys=True) as shop:
        revoked, _ = await issue_key(shop.manager.store.api_keys, "revoked", Role.ADMIN)
        await shop.manager.store.api_keys.revoke("revoked")
        routes = await described(shop, shop.keys[Role.READ])
        assert len(routes) > 20
        for method, path, declared in routes:
            place = filled(path)
            if declared == "public":
                assert (await shop.call(method, place)).status_code == 200
                continue
            role = Role(declared)
            nobody = await shop.call(method, place)
            assert problem(nobody) == (401, "unauthorized", []), place
            assert nobody.headers["www-authenticate"] == "Bearer"
            for wrong in ("Bearer x", f"Bearer {revoked}", "Basic eDp5", "Bearer"):
                answer = await shop.call(method, place, Authorization=wrong)
                assert problem(answer) == (401, "unauthorized", []), (place, wrong)
            for shown in Role:
                key = f"Bearer {shop.keys[shown]}"
                answer = await shop.call(method, place, Authorization=key)
                if shown.rank < role.rank:
                    assert problem(answer) == (403, "forbidden", []), (place, shown)
                else:
                    assert answer.status_code not in (401, 403), (place, shown)


async def test_the_roles_of_the_routes():
    """What only looks needs read, a start start, a person's requests operate."""
    async with served() as shop:
        roles = {(m, p): role for m, p, role in await described(shop)}
    for (method, path), role in roles.items():
        if path in ("/livez", "/readyz"):
            assert role == "public"
        elif path.startswith("/v1/keys"):
            assert role == "admin"
        elif path.rpartition("/")[2] in ("complete", "fail", "heartbeat"):
            assert role == "read"  # the token is the capability
        elif path == "/v1/sagas" and method == "POST":
            assert role == "start"
        else:
            assert role == ("read" if method == "GET" else "operate"), path


async def test_the_reasons_of_readiness_are_for_those_who_may_read():
    """Anybody may ask whether it is ready; why not is told with a key."""
    async with served(with_keys=True) as shop:
        assert (await shop.call("GET", "/readyz")).status_code == 200
        assert problem(await shop.call("GET", "/readyz?verbose=1"))[0] == 401
        key = f"Bearer {shop.keys[Role.READ]}"
        answer = await shop.call("GET", "/readyz?verbose=1", Authorization=key)
        assert answer.status_code == 200


async def opened(manager):
    """Open a server and close it again."""
    address = Address.parse("127.0.0.1:0")
    async with open_http(manager, address, SystemClock()):
        pass


async def test_a_route_without_a_role_cannot_be_made(monkeypatch):
    """Whoever forgets to declare one is told when the program starts."""
    router = new_router("x")
    with pytest.raises(ConfigurationError, match="/forgotten: declares no role"):

        @router.get("/forgotten")
        async def forgotten() -> None:
            """Nobody may call it."""

    app = FastAPI()

    @app.get("/around")
    async def around() -> None:
        """Nobody may call it."""

    with pytest.raises(ConfigurationError, match="admits everybody"):
        require_roles(app)
    monkeypatch.setattr(api_app, "_ROUTERS", (app.router,))
    async with Manager.open() as manager:
        with pytest.raises(ConfigurationError, match="admits everybody"):
            await opened(manager)
    app = FastAPI(openapi_url=None)
    fine = new_router("x")

    @fine.get("/fine", **needs(Role.READ))
    async def allowed() -> None:
        """Those who may read may call it."""

    app.include_router(fine)
    require_roles(app)


async def test_without_keys_the_machine_itself_may_do_everything(shop):
    """Until the first key is made; from then on keys count, also once it is revoked."""
    assert (await shop.call("GET", "/v1/keys")).json() == {"keys": []}
    key, _ = await issue_key(shop.manager.store.api_keys, "ann", Role.ADMIN)
    assert problem(await shop.call("GET", "/v1/keys"))[0] == 401
    shown = f"Bearer {key}"
    revoked = await shop.call("POST", "/v1/keys/ann/revoke", Authorization=shown)
    assert (revoked.status_code, revoked.json()["name"]) == (200, "ann")
    assert revoked.json()["revoked_at"]
    assert problem(await shop.call("GET", "/v1/keys", Authorization=shown))[0] == 401
    assert problem(await shop.call("GET", "/v1/keys"))[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.nip.io", "[::1", "a@[x]", ""]
)
async def test_a_page_in_the_browser_is_not_the_machine(shop, host):
    """A name that others let point to this machine is not answered without keys."""
    answer = await shop.call("GET", "/v1/sagas", Host=host)
    assert problem(answer) == (421, "misdirected", [])
    for mine in ("localhost:1", "[::1]:80", "127.0.0.1"):
        answer = await shop.call("GET", "/v1/sagas", Host=mine)
        assert answer.status_code == 200
    nowhere = await shop.call("GET", "/nowhere", Host=host)
    assert problem(nowhere) == (404, "not-found", [])


async def test_a_wrong_key_is_wrong_also_without_keys(shop):
    """Who shows one means it."""
    answer = await shop.call("GET", "/v1/sagas", Authorization="Bearer x")
    assert problem(answer)[0] == 401


async def test_keys_are_listed_without_what_they_are():
    """Names, roles and instants; neither key nor hash."""
    async with served(with_keys=True) as shop:
        key = shop.keys[Role.ADMIN]
        answer = await shop.call("GET", "/v1/keys", Authorization=f"Bearer {key}")
        assert [one["name"] for one in answer.json()["keys"]] == [
            "admin",
            "operate",
            "read",
            "start",
        ]
        for text in shop.keys.values():
            assert text not in answer.text
            assert digest_of(text) not in answer.text
        missing = await shop.call(
            "POST", "/v1/keys/nobody/revoke", Authorization=f"Bearer {key}"
        )
        assert problem(missing) == (404, "key-not-found", [])


async def test_each_key_has_a_rate_of_its_own():
    """429 says when to come again; who guesses keys is held up, who has one is not."""
    async with served(with_keys=True, rate=0.05) as shop:

        async def ask(key):
            return await shop.call(
                "GET", "/v1/definitions", Authorization=f"Bearer {key}"
            )

        assert (await ask(shop.keys[Role.READ])).status_code == 200
        limited = await ask(shop.keys[Role.READ])
        assert problem(limited) == (429, "too-many-requests", [])
        assert 1 <= int(limited.headers["retry-after"]) <= 20
        assert (await ask(shop.keys[Role.START])).status_code == 200
        assert problem(await ask("guess"))[:2] == (401, "unauthorized")
        assert problem(await ask("other guess"))[:2] == (429, "too-many-requests")
        assert (await shop.call("GET", "/livez")).status_code == 200


async def test_who_guesses_keys_does_not_reach_the_store(tmp_path):
    """Too many wrong ones are refused unseen: the store is for others."""
    place = f"sqlite:///{tmp_path}/saga.db"
    async with served(store=place, with_keys=True, rate=0.05) as shop:
        guess = {"Authorization": "Bearer guess"}
        answer = await shop.call("GET", "/v1/sagas", **guess)
        assert problem(answer) == (401, "unauthorized", [])
        with contextlib.closing(sqlite3.connect(tmp_path / "saga.db")) as file, file:
            file.execute("DROP TABLE api_keys")
        answer = await shop.call("GET", "/v1/sagas", **guess)
        assert problem(answer) == (429, "too-many-requests", [])


async def test_who_guesses_keys_does_not_hold_up_who_has_one():
    """A key that was good before is let in, whatever came from its address since."""
    async with served(with_keys=True, rate=5) as shop:
        mine = {"Authorization": f"Bearer {shop.keys[Role.READ]}"}
        assert (await shop.call("GET", "/v1/sagas", **mine)).status_code == 200
        status = 401
        while status == 401:
            guess = await shop.call("GET", "/v1/sagas", Authorization="Bearer guess")
            status = guess.status_code
        assert status == 429
        assert (await shop.call("GET", "/v1/sagas", **mine)).status_code == 200


def test_a_bucket_fills_again_and_never_over():
    """So many a second, two seconds' worth at once; callers do not share."""
    clock = ManualClock()
    limit = RateLimit(10, clock)
    assert [limit.take("a") for _ in range(20)] == [0.0] * 20
    assert limit.take("a") == pytest.approx(0.1)
    assert limit.take("b") == 0.0
    clock.advance(0.1)
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0
    clock.advance(3600)
    assert [limit.take("a") for _ in range(21)].count(0.0) == 20


def test_buckets_are_bounded(monkeypatch):
    """Whoever comes with ever new names does not fill the memory."""
    monkeypatch.setattr(rates, "CALLERS_MAX", 3)
    limit = RateLimit(1, ManualClock())
    for number in range(10):
        limit.take(f"caller {number}")
    assert len(limit._left) == 3


async def test_where_the_keys_cannot_be_read_nobody_is_admitted(tmp_path):
    """A store that fails is an error, not a way in."""
    async with served(store=f"sqlite:///{tmp_path}/saga.db") as shop:
        assert (await shop.call("GET", "/v1/sagas")).status_code == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "saga.db")) as file, file:
            file.execute("DROP TABLE api_keys")
        for key in ({}, {"Authorization": "Bearer x"}):
            answer = await shop.call("GET", "/v1/sagas", **key)
            assert problem(answer) == (500, "internal-error", [])


def test_loopback_addresses():
    """Only what this machine alone can reach."""
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"):
        assert is_loopback(host)
    for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "a"):
        assert not is_loopback(host)
