"""A hostile participant on RabbitMQ: rows F17 to F25, F34 and F36 of the faults.

It gets real commands, and answers twice, late, against itself, for others, in the
wrong order, and in ways that make no sense. Nothing changes that should not; what
was dropped is counted on its saga, and what cannot be taken stands in
``saga.dead`` with the reason.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from saga_orchestrator import Manager, Outcome, RetryPolicy, Step, StepState
from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.fence import Fence, token_of
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction
from tests.support.books import chain
from tests.support.exposition import total
from tests.support.shell import Shell
from tests.support.stranger import Stranger, stranger
from tests.support.waiting import eventually
from tests.unit.runtime.stage import ONCE, Service, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from saga_orchestrator.core.saga import Saga

pytestmark = pytest.mark.slow

FAR = Service("far", "abcde")
ELSEWHERE = SagaId("01JGFJJZ00000000000000000A")


@pytest.fixture
async def manager(postgres_url: str, rabbit_url: str) -> AsyncIterator[Manager]:
    """An orchestrator whose participants are all strangers."""
    async with Manager.open(
        store=postgres_url, migrate=True, broker=rabbit_url, engine=True
    ) as opened:
        yield opened


@pytest.fixture
async def other(manager: Manager, rabbit_url: str) -> AsyncIterator[Stranger]:
    """The hostile one."""
    async with stranger(rabbit_url) as opened:
        yield opened
    assert manager.problems() == []


async def _ignored(manager: Manager, saga: Saga, count: int) -> list[str]:
    """Wait until so many answers were counted; return the reasons that are kept."""
    await eventually(lambda: _has_ignored(manager, saga, count))
    return [one.reason for one in (await manager.record(saga.id)).ignored]


async def _has_ignored(manager: Manager, saga: Saga, count: int) -> bool:
    return (await manager.get(saga.id)).ignored == count


async def _is_well(manager: Manager, other: Stranger) -> None:
    """See a saga through from its start to its end."""
    saga = await manager.start("s", FAR.chain("a"))
    await other.reply(await other.command("a"))
    assert (await manager.wait(saga.id, timeout=20)).is_completed


# -- more answers than commands ------------------------------------------------


async def test_every_answer_several_times(manager, other):
    """Each arrives one to five times; each step moves once, the rest is counted."""
    rng = random.Random(17)
    saga = await manager.start("s", FAR.chain("abc"))
    copies = 0
    for name in "abc":
        command = await other.command(name)
        for _ in range(copy := rng.randint(1, 5)):
            await other.reply(command, output={"by": name})
        copies += copy - 1
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.outputs == {name: {"by": name} for name in "abc"}
    assert set(await _ignored(manager, saga, copies)) == {"repeated"}
    assert len((await manager.record(saga.id)).history) == 1 + 3
    assert other.commands.empty()


async def test_every_command_several_times(
    postgres_url, rabbit_server, rabbit_url, books
):
    """Somebody sends each again, one to five times: one effect, one story."""
    rng = random.Random(17)
    urls: Any = {"store": postgres_url, "broker": rabbit_url, "migrate": True}
    async with (
        Manager.open(**urls, handlers=[books.handlers]) as manager,
        stranger(rabbit_url, serves=False) as other,
    ):
        copies = await other.copy("saga.steps.book", rng)
        saga = await manager.start(chain(), context={"refuse": "c"})
        assert (await manager.wait(saga.id, timeout=20)).is_compensated
        await eventually(lambda: len(copies) == 3)
        await eventually(
            lambda: asyncio.to_thread(_is_empty, rabbit_server, rabbit_url)
        )
        record = await manager.record(saga.id)
    # A copy that met the first one at work had no answer of its own.
    assert record.saga.ignored <= sum(copies.values())
    told = [(one.kind, one.step, one.direction) for one in record.history]
    assert len(told) == len(set(told))
    assert set(books.effects().values()) == {1}
    assert len(books.effects()) == 4


def _is_empty(server, url) -> bool:
    return not any(queue["messages"] for queue in server.queues(url))


async def test_answers_in_any_order(manager, other):
    """Parallel steps are told by their fence, not by whose turn it is."""
    steps = [Step("root"), *FAR.chain("abcde", depends_on=["root"])]
    saga = await manager.start("s", steps)
    commands = [await other.command() for _ in range(5)]
    random.Random(18).shuffle(commands)
    for command in commands:
        await other.reply(command, output=command["step"])
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.outputs == {"root": None} | {name: name for name in "abcde"}
    assert saga.ignored == 0


async def test_answers_before_their_commands(manager, other):
    """An undo's answer before any undo, and what was not sent yet, are counted."""
    saga = await manager.start("s", FAR.chain("ab"))
    command = await other.command("a")
    for step, direction, generation in [
        ("a", Direction.COMPENSATION, 1),
        ("a", Direction.COMPENSATION, 2),
        ("a", Direction.ACTION, 2),
        ("b", Direction.ACTION, 1),
        ("nowhere", Direction.ACTION, 1),
    ]:
        fence = Fence(saga.id, step, direction, generation)
        token = token_of(manager.store.secret, fence)  # as if it had been issued
        await other.reply(
            command, step=step, direction=direction, generation=generation, token=token
        )
    await _ignored(manager, saga, 5)
    assert (await manager.get(saga.id)).status("a").outcome is Outcome.NONE
    await other.reply(command)
    await other.reply(await other.command("b"))
    assert (await manager.wait(saga.id, timeout=20)).is_completed


async def test_the_first_attempt_answers_after_the_second_was_sent(manager, other):
    """The first success that is told wins; the other one's is counted."""
    quick = RetryPolicy(max_attempts=2, initial_delay=seconds(0.05))
    saga = await manager.start("s", FAR.chain("a", retry=quick))
    first = await other.command("a")
    await other.reply(first, "unknown", error_type="Timeout")
    second = await other.command("a")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["idempotency_key"] == second["idempotency_key"]
    await other.reply(first, output="of the first")
    await other.reply(second, output="of the second")
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.outputs == {"a": "of the first"}
    assert await _ignored(manager, saga, 1) == [
        "another dispatch of the step succeeded first"
    ]


# -- answers against themselves ------------------------------------------------


async def test_a_success_and_then_a_refusal(manager, other):
    """What was told first stands: the saga goes on, the conflict is counted."""
    saga = await manager.start("s", FAR.chain("ab"))
    command = await other.command("a")
    await other.reply(command, output=1)
    before = total("saga_answers_ignored_total", reason="contradiction")
    await other.reply(command, "refused", error="no, after all")
    await _ignored(manager, saga, 1)
    (ignored,) = (await manager.record(saga.id)).ignored
    assert ignored.reason.startswith("refused after its success was told")
    assert total("saga_answers_ignored_total", reason="contradiction") == before + 1
    await other.reply(await other.command("b"))
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.is_completed
    assert saga.outputs["a"] == 1


async def test_a_refusal_and_then_a_success(manager, other):
    """After the abort, and before the end, a success is an effect: it is undone."""
    saga = await manager.start("s", FAR.chain("ab"))
    await other.reply(await other.command("a"))
    refused = await other.command("b")
    await other.reply(refused, "refused", retryable=False)
    undo_a = await other.command("a")
    await other.reply(refused, output={"id": 7})
    await eventually(lambda: _is_in(manager, saga, "b", StepState.COMPLETED))
    await other.reply(undo_a)
    undo_b = await other.command("b")
    assert (undo_b["direction"], undo_b["output"]) == ("compensation", {"id": 7})
    await other.reply(undo_b)
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.is_compensated
    assert saga.status("b").state is StepState.COMPENSATED
    record = await manager.record(saga.id)
    assert record.residuals == ()


async def _is_in(manager: Manager, saga: Saga, step: str, state: StepState) -> bool:
    return (await manager.get(saga.id)).status(step).state is state


async def test_a_success_after_its_undo(manager, other):
    """It changes no state: it is counted, and an effect for a person to look at."""
    saga = await manager.start("s", FAR.chain("a", retry=ONCE))
    lost = await other.command("a")
    await other.reply(lost, "unknown", error_type="Crashed")
    undo = await other.command("a")
    assert (undo["direction"], undo["output"]) == ("compensation", None)
    await other.reply(undo)
    saga = await manager.wait(saga.id, timeout=20)
    await other.reply(lost, output={"id": 7})
    (reason,) = await _ignored(manager, saga, 1)
    record = await manager.record(saga.id)
    assert reason.startswith("late: ")
    assert record.saga.is_compensated
    (residual,) = record.residuals
    assert (residual.fence.step, residual.output) == ("a", {"id": 7})
    assert await manager.store.open_residuals(10) == [residual]


async def test_answers_after_the_end(manager, other):
    """A saga that ended stays as it is, whatever is said of it."""
    saga = await manager.start("s", FAR.chain("a"))
    command = await other.command("a")
    await other.reply(command, output=1)
    before = await manager.wait(saga.id, timeout=20)
    for answer in Answer:
        await other.reply(command, answer, output=2)
    await _ignored(manager, saga, len(Answer))
    record = await manager.record(saga.id)
    assert (record.saga.state, record.saga.outputs) == (before.state, {"a": 1})
    assert len(record.history) == 2
    assert record.residuals == ()
    assert other.commands.empty()


# -- answers that do not come --------------------------------------------------


async def test_no_answer_at_all(manager, other):
    """At its limit the step counts as unknown, and is undone without an output."""
    saga = await manager.start(
        "s", FAR.chain("a", timeout=seconds(0.5), limit=seconds(1))
    )
    await other.command("a")
    undo = await other.command("a")
    assert (undo["direction"], undo["output"]) == ("compensation", None)
    await other.reply(undo)
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.is_compensated
    assert saga.status("a").outcome is Outcome.UNKNOWN
    assert saga.reason == "step a: its limit passed"


async def test_still_at_work(manager, other):
    """*Accepted* and heartbeats keep the step waiting; nothing is sent again."""
    saga = await manager.start("s", FAR.chain("a", timeout=seconds(0.5)))
    command = await other.command("a")
    await other.reply(command, "accepted", heartbeat=True)
    for _ in range(3):
        await other.reply(command, "heartbeat")
    await eventually(lambda: _is_accepted(manager, saga))
    await other.reply(command, output="at last")
    saga = await manager.wait(saga.id, timeout=20)
    assert saga.outputs == {"a": "at last"}
    assert other.commands.empty()


async def _is_accepted(manager: Manager, saga: Saga) -> bool:
    status = (await manager.get(saga.id)).status("a")
    return status.phase == "accepted"


# -- answers that nobody asked for ---------------------------------------------


@pytest.mark.parametrize(
    ("lie", "reason"),
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    argvalues=[
        ({"token": "0" * 32}, "token: was not issued"),
        ({"token": ""}, "token: was not issued"),
        ({"generation": 2}, "token: was not issued"),
        ({"direction": "compensation"}, "token: was not issued"),
        ({"saga_id": ELSEWHERE}, "token: was not issued"),
        ({"step": "b"}, "token: was not issued"),
        ({"output": "x" * 2_000_000}, "limit"),
        ({"output": float("nan")}, "NaN"),
        ({"answer": "maybe"}, "message.replies.0.answer"),
        ({"generation": "1"}, "message.replies.0.generation"),
        ({"generation": -1}, "message.replies.0.generation"),
        ({"saga_id": None}, "message.replies.0.saga_id"),
        ({"update": [1]}, "message.replies.0.update"),
    ],
)
async def test_a_lie_is_set_aside(manager, other, lie: dict[str, Any], reason: str):
    """It stands in the dead letters with its reason; the saga waits as before."""
    saga = await manager.start("s", FAR.chain("a"))
    command = await other.command("a")
    before = await manager.get(saga.id)
    await other.reply(command, **lie)
    parked = await other.parked()
    assert reason in parked.headers["saga-reason"]
    assert parked.headers["saga-queue"] == "saga.replies"
    assert await manager.get(saga.id) == before
    await other.reply(command)
    assert (await manager.wait(saga.id, timeout=20)).is_completed


async def test_an_answer_for_another_saga(manager, other):
    """A token opens its own dispatch only; both sagas stay as they were."""
    sagas = [await manager.start("s", FAR.chain("a")) for _ in range(2)]
    mine, its = [await other.command("a") for _ in range(2)]
    await other.reply(mine, saga_id=its["saga_id"])
    assert "token" in (await other.parked()).headers["saga-reason"]
    for saga in sagas:
        assert await manager.get(saga.id) == saga


async def test_an_answer_for_a_saga_that_is_not_there(manager, other):
    """With a genuine token, as after a restored backup: set aside, with the id."""
    saga = await manager.start("s", FAR.chain("a"))
    command = await other.command("a")
    fence = Fence(ELSEWHERE, "a", Direction.ACTION, 1)
    token = token_of(manager.store.secret, fence)
    await other.reply(command, saga_id=ELSEWHERE, token=token)
    reason = (await other.parked()).headers["saga-reason"]
    assert f"there is no saga {ELSEWHERE}" in reason
    assert await manager.get(saga.id) == saga


async def test_a_person_sees_what_was_dropped(
    manager, other, postgres_url: str, rabbit_url: str
) -> None:
    """Each answer that changed nothing on its saga; what was set aside, counted."""
    saga = await manager.start("s", FAR.chain("a"))
    command = await other.command("a")
    await other.reply(command, output=1)
    await manager.wait(saga.id, timeout=20)
    await other.reply(command, output=2)
    await other.reply(command, "refused", error="no, after all")
    await _ignored(manager, saga, 2)
    await other.reply(command, output="x" * 2_000_000)
    await other.reply(command, token="0" * 32)
    await eventually(lambda: _are_dead(other, 2))
    shell = Shell("--store", postgres_url)
    got = await shell("get", saga.id)
    assert "2 late or repeated answers" in got.stdout
    document = json.loads((await shell("get", saga.id, "--json")).stdout)
    told = [(one["answer"], one["reason"]) for one in document["ignored_answers"]]
    assert [answer for answer, _ in told] == ["StepSucceeded", "StepFailed"]
    assert all(reason for _, reason in told)
    doctor = await Shell("--store", postgres_url, "--broker", rabbit_url)("doctor")
    assert "2 dead letters" in doctor.stdout
    for _ in range(2):
        assert saga.id in (await other.parked()).headers["saga-reason"]
    structlog.reset_defaults()


async def _are_dead(other: Stranger, count: int) -> bool:
    return await other.waiting("saga.dead") == count


# -- messages that cannot be read ----------------------------------------------

DOORS = ["saga.replies", "saga.undelivered", "saga.steps.near"]
POISON = [
    (b"", "message"),
    (b"{", "not JSON"),
    (b"\xff\xfe{}", "message"),
    (b"\xef\xbb\xbf{}", "message"),
    ("{}".encode("utf-16"), "message"),
    (b'{"v": 2, "replies": [], "commands": []}', "message.v: is 2"),
    (b'{"v": 0, "replies": [], "commands": []}', "message.v: is 0"),
    (b'{"v": 1, "signals": []}', "message."),
    (b'{"v": 1, "x": NaN}', "NaN"),
    (b'{"v": 1, "x": "\\u0000"}', "NUL"),
    (b'{"v": 1, "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested"),
    (b'{"v": 1, "x": "' + b"x" * 9_000_000 + b'"}', "limit"),
    (gzip.compress(b"0" * 2**30, 1), "message"),
]


@pytest.mark.parametrize("door", DOORS)
async def test_poison_is_set_aside_at_every_door(
    postgres_url, rabbit_url, door: str
) -> None:
    """Unchanged, with its reason and its queue; once each, and the rest goes on."""
    near = Service("near")
    async with (
        Manager.open(
            store=postgres_url,
            migrate=True,
            broker=rabbit_url,
            handlers=[near.handlers],
        ) as manager,
        stranger(rabbit_url) as other,
    ):
        for body, _ in POISON:
            await other.send(
                body,
                door,
                type="saga.commands",
                content_type="text/html",
                content_encoding="gzip",
                headers={"x-death": "forged", "saga-reason": "mine"},
            )
        parked = [await other.parked() for _ in POISON]
        for body, reason in POISON:
            (message,) = [one for one in parked if one.body == body]
            assert reason in message.headers["saga-reason"]
            assert message.headers["saga-queue"] == door
        saga = await manager.start("s", near.chain("abc"))
        assert (await manager.wait(saga.id, timeout=20)).is_completed
        await _is_well(manager, other)
        assert manager.problems() == []


async def test_answers_of_a_newer_release(manager, other):
    """Fields that nobody knows yet do no harm, at either level."""
    saga = await manager.start("s", FAR.chain("a"))
    command = await other.command("a")
    item = {key: command[key] for key in command if key != "attempt"}
    item |= {"answer": "succeeded", "output": 1, "colour": {"deep": ["blue"]}}
    document = {"v": 1, "sent_by": "2.0", "replies": [item]}
    await other.send(json.dumps(document).encode(), type="saga.answers.v9")
    assert (await manager.wait(saga.id, timeout=20)).outputs == {"a": 1}
