"""A row that somebody damaged: it is set aside, visible, and stops nobody else.

The store's contract in this is held by ``tests/conformance/test_store_damage.py``;
here are an engine that lives through it, and what a person sees.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from saga_orchestrator import Deferred, Manager, SagaDefinition
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.runtime import timers
from tests.conformance.damage import SNAPSHOT, damage
from tests.support.shell import Shell
from tests.support.stranger import stranger
from tests.support.waiting import eventually
from tests.unit.runtime.stage import Service, raising, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from saga_orchestrator.core.saga import Saga

pytestmark = pytest.mark.slow

FAR = Service("far")
DAMAGE = [*SNAPSHOT, "context"]


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store whose rows can be damaged."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/saga.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


async def _damage(url: str, saga: Saga, what: str) -> None:
    store = await Store.open(url, migrate=False)
    try:
        await damage(store, url, saga, what)
    finally:
        await store.close()


def _kind(name: str, service: Service) -> SagaDefinition:
    """Return a saga with a plan of its own; its deadline passes soon."""
    return SagaDefinition(
        name,
        service.chain("ab", undo_failed="never", limit=seconds(2), timeout=seconds(1)),
        deadline=seconds(2),
    )


# -- the engine ------------------------------------------------------------------


@pytest.mark.parametrize("what", DAMAGE)
async def test_an_engine_goes_on_around_a_damaged_saga(
    store_url: str, rabbit_url: str, what: str
) -> None:
    """Its answer is set aside; the others go on, and a new engine finds them."""
    urls: Any = {"store": store_url, "broker": rabbit_url, "engine": True}
    async with stranger(rabbit_url) as other:
        async with Manager.open(**urls, migrate=True) as manager:
            sagas = [
                await manager.start(name, FAR.chain("ab"), {"x": 1})
                for name in ("one", "two", "three")
            ]
            commands = {}
            for _ in sagas:
                command = await other.command("a")
                commands[command["saga_id"]] = command
        one, two, three = sagas
        await _damage(store_url, two, what)
        async with Manager.open(**urls) as manager:
            await other.reply(commands[two.id])
            if what != "context":  # which the answer does not touch
                reason = (await other.parked()).headers["saga-reason"]
                assert "cannot be read" in reason or "not in the store" in reason
            for saga in (one, three):
                await other.reply(commands[saga.id])
            for _ in range(2):
                await other.reply(await other.command("b"))
            for saga in (one, three):
                assert (await manager.wait(saga.id, timeout=60)).is_completed
            with pytest.raises(StoreDataError):
                await manager.wait(two.id, timeout=60)
            assert other.commands.empty()
            assert await other.waiting("saga.dead") == 0
            assert manager.problems() == []


@pytest.mark.parametrize("what", ["steps", "plan"])
async def test_a_damaged_timer_holds_up_no_other(
    store_url: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than one look takes: the others fire, and nothing spins."""
    monkeypatch.setattr(timers, "SAGAS_MAX", 2)
    near = Service("near")
    near.does["a"] = raising(Deferred())
    async with Manager.open(
        store=store_url, migrate=True, handlers=[near.handlers]
    ) as manager:
        damaged = [await manager.start(_kind(f"d{n}", near)) for n in range(5)]
    for saga in damaged:
        await _damage(store_url, saga, what)
    with structlog.testing.capture_logs() as logs:
        async with Manager.open(store=store_url, handlers=[near.handlers]) as manager:
            well = await manager.start(_kind("well", near))
            ended = await manager.wait(well.id, timeout=60)
            assert ended.reason == "its deadline passed"
            page = await manager.store.page(SagaFilter())
            assert {one.saga_id for one in page.unreadable} == {
                saga.id for saga in damaged
            }
    refused = [one for one in logs if one["event"] == "event refused by the store"]
    for saga in damaged:
        # Once by its timer, once where the broker in the process is told again.
        assert sum(one["saga_id"] == saga.id for one in refused) <= 2


async def test_a_command_that_cannot_be_made_waits_with_its_reason(
    store_url: str, rabbit_url: str
) -> None:
    """Nothing is sent, nothing spins; the outbox says what is damaged."""
    async with Manager.open(store=store_url, migrate=True) as client:
        saga = await client.start("s", FAR.chain("a"))
    await _damage(store_url, saga, "context")
    async with (
        stranger(rabbit_url) as other,
        Manager.open(store=store_url, broker=rabbit_url, engine=True) as manager,
    ):

        async def is_told() -> bool:
            (row,) = (await manager.record(saga.id)).outbox
            return "its context" in row.error and row.attempts > 0

        await eventually(is_told)
        well = await manager.start("s", FAR.chain("a"))
        await other.reply(await other.command("a"))
        assert (await manager.wait(well.id, timeout=60)).is_completed
        assert other.commands.empty()


# -- what a person sees ----------------------------------------------------------


@pytest.fixture
def shell(store_url: str) -> Iterator[Shell]:
    """A person at the command line; log to the usual place after."""
    yield Shell("--store", store_url)
    structlog.reset_defaults()


async def test_a_person_sees_what_is_damaged(store_url: str, shell: Shell) -> None:
    """The list names it, get says what, the doctor counts: each for the others too."""
    async with Manager.open(store=store_url, migrate=True) as manager:
        sagas = [
            await manager.start(name, FAR.chain("a"))
            for name in ("one", "two", "three")
        ]
    one, two, three = sagas
    await _damage(store_url, one, "steps")
    await _damage(store_url, two, "context")
    listed = await shell("list")
    assert listed.exit_code == 0
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "! unreadable" in lines[one.id]
    assert "cannot be read" in lines[one.id]
    assert "started" in lines[two.id]
    assert "started" in lines[three.id]
    rows = [
        json.loads(row) for row in (await shell("list", "--json")).stdout.splitlines()
    ]
    assert [row["id"] for row in rows] == [three.id, two.id, one.id]
    assert [row["id"] for row in rows if "unreadable" in row] == [one.id]
    got = await shell("get", one.id)
    assert got.exit_code == 1
    assert f"saga {one.id} cannot be read" in got.stderr
    got = await shell("get", two.id)
    assert got.exit_code == 0
    assert f"! saga {two.id}: its context at revision 0 cannot be read" in got.stdout
    document = json.loads((await shell("get", two.id, "--json")).stdout)
    assert len(document["damage"]) == 1
    doctor = await shell("doctor", "--resend")
    assert doctor.exit_code == 1
    assert f"unreadable sagas: 1 row: saga {one.id}" in doctor.stdout
    assert f"unreadable sagas in part: 1 row: saga {two.id}" in doctor.stdout
    assert "resend: " in doctor.stdout
    for words in (["compensate", one.id, "--reason", "why"], ["watch", one.id]):
        refused = await shell(*words)
        assert refused.exit_code == 1
        assert "cannot be read" in refused.stderr
