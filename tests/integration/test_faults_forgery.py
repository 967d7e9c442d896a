"""Forged envelopes on RabbitMQ: rows F66 and F67 of the faults.

What stands around a body is the sender's word: it is not believed, it leads no
answer elsewhere, and it stops nobody.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pamqp.encode
import pytest

from saga_orchestrator import Manager, Outcome
from saga_orchestrator.ports.store import SagaFilter
from tests.support.stranger import Stranger, stranger
from tests.support.waiting import eventually
from tests.unit.runtime.stage import ONCE, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow

NEAR = Service("near")
FAR = Service("far")
FENCE = ("saga_id", "step", "direction", "generation", "token")
BOMB = gzip.compress(b"0" * 2**30, 1)
LATEST = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


@pytest.fixture
async def manager(postgres_url: str, rabbit_url: str) -> AsyncIterator[Manager]:
    """An orchestrator that serves ``near`` itself."""
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, handlers=[NEAR.handlers]
    ) as opened:
        yield opened


@pytest.fixture
async def other(manager: Manager, rabbit_url: str) -> AsyncIterator[Stranger]:
    """The forger."""
    async with stranger(rabbit_url) as opened:
        yield opened
    assert manager.problems() == []


async def _is_well(manager: Manager, other: Stranger) -> None:
    saga = await manager.start("s", [*NEAR.chain("a"), *FAR.chain("b")])
    await other.reply(await other.command("b"))
    assert (await manager.wait(saga.id, timeout=60)).is_completed


DOORS = ["saga.replies", "saga.undelivered", "saga.steps.near"]
ODD = {
    "when": LATEST,
    "table": {"deep": [{"er": [1, None, True]}]},
    "number": Decimal("-1.5"),
    "nothing": None,
    "bytes": bytearray(b"\xff\x00"),
    "": "",
}
FORGED = {
    "saga-reason": {"a": 1},
    "saga-queue": 7,
    "saga-quarantine": [None],
    "x-death": "forged",
    "x-delivery-count": -1,
    "x-first-death-reason": {"why": "\0" * 10_000},
    "x-first-death-queue": "\0" * 50_000,
}


@pytest.mark.parametrize("door", DOORS)
async def test_properties_that_no_library_reads(
    manager, other, door: str, monkeypatch
) -> None:
    """They are dropped; the connection lives, the body is set aside once."""
    with monkeypatch.context() as patch:
        far_out = struct.pack(">Q", 2**63)
        patch.setattr(pamqp.encode, "timestamp", lambda _: far_out)
        await other.send(b"{}", door, headers={"when": LATEST})
    assert (await other.parked()).headers["saga-queue"] == door
    await _is_well(manager, other)


@pytest.mark.parametrize("door", DOORS)
async def test_headers_of_any_kind_and_number(manager, other, door: str) -> None:
    """A thousand, of odd types, or under our own names: the reason is ours."""
    many = {f"header-{number}": number for number in range(1_000)}
    for headers in (many, ODD, FORGED):
        await other.send(b"{}", door, headers=headers)
        parked = await other.parked()
        assert parked.headers["saga-queue"] == door
        assert len(parked.headers["saga-reason"]) <= 500
    await _is_well(manager, other)


async def test_a_command_that_says_where_to_answer(manager, other) -> None:
    """The answer goes where answers go; what it pretends to be is not asked."""
    heard = await other.overhear("step.near.a")
    aside = await manager.start("s", FAR.chain("a"))
    saga = await manager.start("s", [*NEAR.chain("a"), *FAR.chain("b")])
    body = await heard.get()
    commands = [await other.command() for _ in range(2)]
    (pending,) = [one for one in commands if one["step"] == "b"]
    for target in ("saga.dead", "saga.undelivered", "saga.replies", "amq.rabbitmq.x"):
        await other.send(
            body,
            "saga.steps.near",
            type="saga.commands",
            reply_to=target,
            correlation_id=aside.id,
            message_id="the same",
            headers=FORGED | {"saga-quarantine": 0},
        )
    await eventually(lambda: _has_settled(other))
    await other.reply(pending)
    assert (await manager.wait(saga.id, timeout=60)).is_completed
    assert await manager.get(aside.id) == aside
    assert await other.waiting("saga.dead") == 0
    assert await other.waiting("saga.undelivered") == 0


async def _has_settled(other: Stranger) -> bool:
    return await other.waiting("saga.steps.near") == 0


async def test_answers_with_the_identity_of_others(manager, other) -> None:
    """One message id for all, none, another saga's correlation: the body counts."""
    sagas = [await manager.start("s", FAR.chain("a")) for _ in range(3)]
    properties: list[dict[str, Any]] = [
        {"message_id": "one", "correlation_id": sagas[2].id},
        {"message_id": "one", "app_id": "saga", "content_encoding": "gzip"},
        {"message_id": None, "content_type": "text/html", "timestamp": 0},
    ]
    for given in properties:
        command = await other.command("a")
        answer = {name: command[name] for name in FENCE}
        answer |= {"answer": "succeeded", "output": command["saga_id"]}
        body = json.dumps({"v": 1, "replies": [answer]}).encode()
        await other.send(body, reply_to="saga.dead", headers=ODD, **given)
    for saga in sagas:
        ended = await manager.wait(saga.id, timeout=60)
        assert ended.outputs == {"a": saga.id}


async def test_a_dead_letter_with_forged_reasons(manager, other) -> None:
    """It settles its own step as unknown, once, with a text that anyone can read."""
    saga = await manager.start("s", FAR.chain("a", retry=ONCE, undo_failed="never"))
    heard = await other.command("a")
    body = json.dumps({"v": 1, "commands": [heard]}).encode()
    for _ in range(2):
        await other.send(body, "saga.undelivered", type="saga.commands", headers=FORGED)
    ended = await manager.wait(saga.id, timeout=60)
    assert ended.is_compensated
    assert ended.status("a").outcome is Outcome.UNKNOWN
    assert "dead-lettered" in ended.reason
    assert len(ended.reason) < 1_000
    await eventually(lambda: _has_ignored(manager, saga.id, 1))
    assert (await manager.store.page(SagaFilter())).unreadable == []
    await _is_well(manager, other)


async def _has_ignored(manager: Manager, saga_id: str, count: int) -> bool:
    return (await manager.get(saga_id)).ignored == count


@pytest.mark.parametrize("door", DOORS)
async def test_bytes_that_are_no_text(manager, other, door: str) -> None:
    """Set aside as they are, whatever they say they are; nothing is unpacked."""
    good = b'{"v": 1, "replies": [], "commands": []}'
    bodies = [
        b'{"v": 1, "replies": ["\xff"]}',
        b"\xef\xbb\xbf" + good,
        good.decode().encode("utf-16"),
        good.decode().encode("utf-32-be"),
        gzip.compress(good),
        BOMB,
        b"\x00" * 1_000_000,
    ]
    for body in bodies:
        for encoding in (None, "gzip", "\u2028"):
            await other.send(
                body, door, type="saga.commands", content_encoding=encoding
            )
            parked = await other.parked()
            assert parked.body == body
            assert parked.headers["saga-reason"]
    assert await other.waiting("saga.dead") == 0
    await _is_well(manager, other)
