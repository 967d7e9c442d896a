"""Probes and metrics."""

from __future__ import annotations

import asyncio

import pytest

from saga_orchestrator.api import readiness
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.ports.keys import Role
from tests.support.waiting import eventually
from tests.unit.api.stage import problem, served


async def test_ready(shop):
    """Every part is named, and works."""
    answer = await shop.call("GET", "/readyz?verbose=true")
    assert answer.status_code == 200
    assert answer.text.splitlines() == [
        "[+]store ok",
        "[+]engine ok",
        "[+]broker ok",
        "[+]remarks ok",
        "ready",
    ]
    assert (await shop.call("GET", "/livez")).text == "ok\n"


async def test_a_process_that_stops_is_not_ready_but_alive(shop):
    """503 from the first moment on; what is asked meanwhile is still answered."""
    shop.face.drain()
    answer = await shop.call("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.text.splitlines()[-2:] == ["[-]process stopping", "not ready"]
    assert (await shop.call("GET", "/livez")).status_code == 200
    assert (await shop.call("GET", "/v1/sagas")).status_code == 200


@pytest.mark.parametrize(
    ("part", "status", "mark"),
    [
        ("broker", 503, "-"),
        ("engine", 503, "-"),
        ("store", 503, "-"),
        ("remarks", 200, "!"),
    ],
)
async def test_the_part_that_is_down_is_named(shop, monkeypatch, part, status, mark):
    """With the reason for those who may read; a remark does not stop the traffic."""
    parts = shop.manager.parts() | {part: ["it is on fire"]}
    monkeypatch.setattr(shop.manager, "parts", lambda: dict(parts))
    short = await shop.call("GET", "/readyz")
    assert short.status_code == status
    assert "fire" not in short.text
    assert f"[{mark}]{part} " in short.text
    long = await shop.call("GET", "/readyz?verbose=1")
    assert long.status_code == status
    assert f"[{mark}]{part} it is on fire" in long.text.splitlines()


async def test_a_store_that_fails_is_noticed_though_nobody_works(tmp_path, monkeypatch):
    """The probe asks the store itself; it is green again with the store."""
    monkeypatch.setattr(readiness, "KEPT_SECONDS", 0.0)
    async with served(store=f"sqlite:///{tmp_path}/saga.db") as shop:
        assert (await shop.call("GET", "/readyz")).status_code == 200
        ask = shop.manager.store.next_due

        async def fail():
            raise StoreUnavailableError("the disk is gone")

        monkeypatch.setattr(shop.manager.store, "next_due", fail)
        red = await shop.call("GET", "/readyz?verbose=1")
        assert red.status_code == 503
        assert "[-]store store: the disk is gone" in red.text
        monkeypatch.setattr(shop.manager.store, "next_due", ask)
        await eventually(lambda: _is_ready(shop))


async def test_where_keys_cannot_be_read_who_was_admitted_is_told_why():
    """The reason is needed most when the store is away; others see the part only."""
    async with served(with_keys=True) as shop:
        known, unknown = (
            f"Bearer {shop.keys[role]}" for role in (Role.READ, Role.START)
        )
        path = "/readyz?verbose=1"
        assert (await shop.call("GET", path, Authorization=known)).status_code == 200

        class Away:
            """Keys whose store is away."""

            async def find(self, digest):
                raise StoreUnavailableError("the disk is gone")

        shop.face.access._keys = Away()
        told = await shop.call("GET", path, Authorization=known)
        assert told.text.endswith("ready\n")
        other = await shop.call("GET", path, Authorization=unknown)
        assert problem(other)[:2] == (503, "unavailable")
        sagas = await shop.call("GET", "/v1/sagas", Authorization=known)
        assert problem(sagas)[:2] == (503, "unavailable")
        assert sagas.headers["retry-after"] == "1"
        assert (await shop.call("GET", "/readyz")).status_code == 200


async def test_a_store_that_hangs_is_down(shop, monkeypatch):
    """The probe does not hang with it."""
    monkeypatch.setattr(readiness, "STORE_SECONDS", 0.05)

    async def hang():
        await asyncio.Event().wait()

    monkeypatch.setattr(shop.manager.store, "next_due", hang)
    red = await shop.call("GET", "/readyz?verbose=1")
    assert (red.status_code, "no answer within" in red.text) == (503, True)


async def test_probes_do_not_burden_the_store(shop, monkeypatch):
    """However many ask, the store is asked once a second."""
    asked = []

    async def count():
        asked.append(1)

    monkeypatch.setattr(shop.manager.store, "next_due", count)
    monkeypatch.setattr(readiness, "KEPT_SECONDS", 3600.0)
    await asyncio.gather(*(shop.call("GET", "/readyz") for _ in range(20)))
    assert len(asked) == 1


async def test_metrics(shop):
    """Prometheus' text format, of this process."""
    answer = await shop.call("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE python_info gauge" in answer.text


async def _is_ready(shop):
    return (await shop.call("GET", "/readyz")).status_code == 200
