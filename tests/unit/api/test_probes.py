"""Probes and metrics of a worker: what is told, to whom, and nothing else."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client import Counter
from starlette.requests import Request

from saga_orchestrator.api.access import OpenAccess
from saga_orchestrator.api.address import Address, listen
from saga_orchestrator.api.door import Door
from saga_orchestrator.api.probes import RATE, open_probes
from saga_orchestrator.api.problems import Problem
from saga_orchestrator.api.rates import BURST_SECONDS, RateLimit
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.testing import ManualClock
from tests.support.exposition import forget_names
from tests.support.waiting import eventually
from tests.unit.api.stage import problem
from tests.unit.runtime.stage import (
    Service,
    fresh_name,
    open_broker,
    open_manager,
    open_worker,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from saga_orchestrator.ports.clock import Clock

MINE = Counter("shop_parcels_total", "What a handler of the user's counts.")
OPEN = "0.0.0.0:0"


class Shown:
    """A worker whose probes are served, and a client of them."""

    def __init__(self, worker: Worker, door: Door, client: httpx.AsyncClient) -> None:
        self.worker = worker
        self.door = door
        self._client = client

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask."""
        return await self._client.get(path, headers=headers)


@contextlib.asynccontextmanager
async def shown(
    worker: Worker, place: str = "127.0.0.1:0", clock: Clock | None = None
) -> AsyncIterator[Shown]:
    """Serve a worker's probes on a free port."""
    address = Address.parse(place, "metrics")
    opening = open_probes(worker, address, listen(address), clock or SystemClock())
    async with opening as (door, url):
        near = url.replace("0.0.0.0", "127.0.0.1")
        async with httpx.AsyncClient(base_url=near, timeout=60) as client:
            yield Shown(worker, door, client)


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    """One that nobody sends anything."""
    worker = await open_worker(await open_broker(fresh_name()), Service("far").handlers)
    yield worker
    await worker.close()


async def test_a_worker_that_works(worker):
    """Every part is named, and works; nothing is said of a store."""
    async with shown(worker) as one:
        answer = await one.get("/readyz?verbose=1")
        assert answer.status_code == 200
        assert answer.text.splitlines() == [
            "[+]worker ok",
            "[+]broker ok",
            "[+]remarks ok",
            "ready",
        ]
        assert (await one.get("/livez")).text == "ok\n"


async def test_a_worker_that_stops_is_not_ready_but_alive(worker):
    """503 from the first moment on."""
    async with shown(worker) as one:
        one.door.drain()
        answer = await one.get("/readyz")
        assert answer.status_code == 503
        assert answer.text.splitlines()[-2:] == ["[-]process stopping", "not ready"]
        assert (await one.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    ("part", "status", "mark"),
    [("broker", 503, "-"), ("worker", 503, "-"), ("remarks", 200, "!")],
)
async def test_why_a_part_is_down_is_told_on_this_machine_only(
    worker, monkeypatch, part, status, mark
):
    """The part is named to everybody; the reason names servers."""
    parts = worker.parts() | {part: ["amqp://mq.internal is on fire"]}
    monkeypatch.setattr(worker, "parts", lambda: dict(parts))
    async with shown(worker) as near, shown(worker, OPEN) as far:
        for one in (near, far):
            short = await one.get("/readyz")
            assert short.status_code == status
            assert f"[{mark}]{part} " in short.text
            assert "fire" not in short.text
        told = await near.get("/readyz?verbose=1")
        assert f"[{mark}]{part} amqp://mq.internal is on fire" in told.text
        refused = await far.get("/readyz?verbose=1")
        assert problem(refused) == (403, "forbidden", [])
        assert "fire" not in refused.text


@pytest.mark.parametrize("place", ["127.0.0.1:0", OPEN])
async def test_nothing_else_is_served(worker, place):
    """No API, no description of one; a query that is not known is refused."""
    async with shown(worker, place) as one:
        for path in ("/", "/v1/sagas", "/v1/keys", "/openapi.json", "/docs"):
            assert problem(await one.get(path)) == (404, "not-found", []), path
        assert problem(await one.get("/metrics?name[]=x"))[0] == 422


async def test_a_page_in_a_browser_cannot_read_them(worker):
    """A name that resolves to this machine is refused; probes say nothing worth it."""
    async with shown(worker) as one:
        for path in ("/metrics", "/readyz?verbose=1"):
            answer = await one.get(path, Host="evil.example")
            assert problem(answer) == (421, "misdirected", []), path
        assert (await one.get("/readyz", Host="evil.example")).status_code == 200


async def test_who_asks_too_often_is_put_off(worker):
    """Expositions cost time that handlers need; probes go on."""
    most = int(RATE * BURST_SECONDS)
    async with shown(worker, OPEN, ManualClock()) as one:
        answers = [(await one.get("/metrics")).status_code for _ in range(most + 1)]
        assert answers == [200] * most + [429]
        assert (await one.get("/readyz")).status_code == 200


async def test_only_what_is_for_everybody_can_be_had():
    """A route that needs more than reading is closed, should there ever be one."""
    access = OpenAccess(RateLimit(RATE, SystemClock()), is_loopback=False)
    request = Request({"type": "http", "client": ("10.0.0.1", 1), "headers": []})
    assert (await access.admit(request, Role.READ)).role is Role.READ
    for role in set(Role) - {Role.READ}:
        with pytest.raises(Problem, match="forbidden"):
            await access.admit(request, role)


async def test_metrics_are_the_workers_and_name_no_saga():
    """Runs of its handlers, its queues, its problems; no zeros of a store it lacks."""
    forget_names()
    service, name = Service("depot", "a"), fresh_name()
    worker = await open_worker(await open_broker(name), service.handlers, watch=True)
    MINE.inc()
    async with (
        open_manager(broker=await open_broker(name), engine=True) as manager,
        shown(worker, OPEN) as one,
    ):
        saga = await manager.start("order", service.chain("a"))
        assert (await manager.wait(saga.id, timeout=30)).is_completed

        async def has_run() -> bool:
            return (
                'saga_queue_consumers{queue="saga.steps.depot"} 1.0'
                in (await one.get("/metrics")).text
            )

        await eventually(has_run)
        text = (await one.get("/metrics")).text
    await worker.close()
    run = 'saga_handler_duration_seconds_count{action="depot.a",answer="succeeded"}'
    assert run in text
    assert "shop_parcels_total 1.0" in text
    assert "process_resident_memory_bytes" in text
    assert "saga_problems 0.0" in text
    of_engines = r"^saga_(outbox|watched|timer|sagas|store|residuals|dead|commit)\w*"
    assert re.findall(of_engines, text, re.MULTILINE) == []
    assert saga.id not in text


def test_a_port_that_is_taken_or_none():
    """Says which setting, in a line."""
    first = listen(Address.parse("0", "metrics"))
    port = first.getsockname()[1]
    with first, pytest.raises(ConfigurationError, match=r"^metrics: cannot listen on"):
        listen(Address.parse(str(port), "metrics"))
    with pytest.raises(ConfigurationError, match=r"^metrics: 'x' is no address"):
        Address.parse("x", "metrics")
