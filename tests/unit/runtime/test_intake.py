"""The intake: answers and dead letters from outside, genuine or not."""

from __future__ import annotations

import asyncio
import json

import pytest

from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.fence import Fence, token_of
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction, Outcome
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.testing.virtual_time import LoopClock
from saga_orchestrator.wire.frame import pack_replies
from tests.support.inbox import Inbox
from tests.unit.runtime.stage import (
    TOPOLOGY,
    Service,
    WatchedStore,
    dead_letters,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    put,
    until,
    virtual,
)

UNKNOWN_SAGA = SagaId("01JGFJJZ00000000000000000A")


class Outside:
    """A participant in another program, which answers by hand.

    Attributes:
        manager: an engine without handlers.
        dead: what was set aside.
    """

    def __init__(self, manager, broker, commands, dead) -> None:
        self.manager = manager
        self.broker = broker
        self.dead = dead
        self._commands = commands

    @classmethod
    async def open(cls, store=None) -> Outside:
        """Open an engine and take over the queue of its participant."""
        name = fresh_name()
        broker = await open_broker(name)
        commands = Inbox(ack=True)
        keys = tuple(f"step.far.{c}" for c in "abc")
        keys += tuple(f"compensate.far.undo_{c}" for c in "abc")
        spec = QueueSpec("far", keys, dead_letter=TOPOLOGY.undelivered)
        await broker.consume(spec, commands, prefetch=100)
        manager = await open_manager(
            store=store or await open_store(),
            broker=await open_broker(name),
            engine=True,
        )
        return cls(manager, broker, commands, await dead_letters(broker))

    async def close(self) -> None:
        """Release both."""
        await self.manager.close()
        await self.broker.close()

    async def command(self) -> dict:
        """Return the next command as a foreign program sees it."""
        delivery = await self._commands.next(seconds=1000)
        (command,) = json.loads(delivery.body)["commands"]
        return command

    async def reply(self, *replies: Reply) -> None:
        """Send answers in one message."""
        await put(
            self.broker, TOPOLOGY.replies, pack_replies(replies)[0], "saga.replies"
        )

    async def quiet(self) -> None:
        """Wait until the intake has nothing left."""
        await LoopClock().sleep(0.5)


def _answer(command: dict, answer: Answer = Answer.SUCCEEDED, **options) -> Reply:
    fence = Fence(
        SagaId(command["saga_id"]),
        command["step"],
        Direction(command["direction"]),
        command["generation"],
    )
    token = options.pop("token", command["token"])
    return Reply(fence, token, answer, **options)


FAR = Service("far")


@virtual
async def test_an_answer_from_outside_moves_the_saga():
    """A program that echoes fence and token needs nothing else of ours."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    await outside.reply(_answer(await outside.command(), output={"id": 7}))
    saga = await outside.manager.wait(saga.id, timeout=5)
    assert saga.outputs == {"a": {"id": 7}}
    await outside.close()


@virtual
async def test_a_forged_token_changes_nothing():
    """The reply is set aside with its reason, and the saga still waits."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    command = await outside.command()
    before = await outside.manager.get(saga.id)
    await outside.reply(_answer(command, token="0" * 32))
    dead = await outside.dead.next()
    assert "token: was not issued" in dead.headers["saga-reason"]
    assert dead.headers["saga-queue"] == TOPOLOGY.replies
    assert await outside.manager.get(saga.id) == before
    await outside.close()


@virtual
async def test_a_token_of_one_step_opens_no_other():
    """A genuine token with another fence is forged."""
    outside = await Outside.open()
    first = await outside.manager.start("s", FAR.chain("a"))
    command = await outside.command()
    second = await outside.manager.start("s", FAR.chain("a"))
    await outside.command()
    await outside.reply(_answer({**command, "saga_id": second.id}))
    assert "token" in (await outside.dead.next()).headers["saga-reason"]
    assert not (await outside.manager.get(second.id)).is_completed
    assert not (await outside.manager.get(first.id)).is_completed
    await outside.close()


@virtual
async def test_an_answer_for_an_unknown_saga_is_set_aside():
    """As after a backup was restored: kept for a person, with the id."""
    outside = await Outside.open()
    fence = Fence(UNKNOWN_SAGA, "a", Direction.ACTION, 1)
    token = token_of(outside.manager.store.secret, fence)
    await outside.reply(Reply(fence, token, Answer.SUCCEEDED))
    dead = await outside.dead.next()
    assert f"there is no saga {UNKNOWN_SAGA}" in dead.headers["saga-reason"]
    await outside.close()


@virtual
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xfe", "not JSON"),
        (b'{"v": 9, "replies": []}', "message.v: is 9"),
        (b'{"replies": []}', "message.v: is None"),
        (b'{"v": 1, "replies": [{"saga_id": 5}]}', "message.replies.0.saga_id"),
        (b'{"v": 1, "replies": [' + b"[" * 2000 + b"]" * 2000 + b"]}", "nested"),
        (b'{"v": 1, "x": 1e400, "replies": []}', "message.x: is inf"),
        (b'{"v": 1, "x": NaN, "replies": []}', "NaN"),
        (b'{"v": 1, "x": "\\u0000", "replies": []}', "NUL"),
        (b'{"v": 1, "x": "\\ud800", "replies": []}', "surrogate"),
        (b'{"v": 1, "x": ' + b"9" * 5000 + b', "replies": []}', "message"),
        (b'{"v": 1, "x": "' + b"x" * 9_000_000 + b'", "replies": []}', "limit"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_set_aside(body, reason):
    """Hostile bytes end in the dead letters, unchanged, and the engine goes on."""
    outside = await Outside.open()
    await put(outside.broker, TOPOLOGY.replies, body, "saga.replies")
    dead = await outside.dead.next()
    assert dead.body == body
    assert reason in dead.headers["saga-reason"]
    saga = await outside.manager.start("s", FAR.chain("a"))
    await outside.reply(_answer(await outside.command()))
    assert (await outside.manager.wait(saga.id, timeout=5)).is_completed
    assert outside.manager.problems() == []
    await outside.close()


@virtual
async def test_an_output_over_the_limit_is_refused_from_outside_too():
    """A foreign program's output is held to the same mebibyte."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    await outside.reply(_answer(await outside.command(), output="x" * 2_000_000))
    dead = await outside.dead.next(seconds=30)
    assert "limit" in dead.headers["saga-reason"]
    assert not (await outside.manager.get(saga.id)).is_completed
    await outside.close()


@virtual
async def test_duplicates_are_counted_and_change_nothing():
    """The second success of a dispatch is ignored, with its reason."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    reply = _answer(await outside.command(), output=1)
    await outside.reply(reply, reply)
    await outside.reply(reply)
    await outside.quiet()
    record = await outside.manager.record(saga.id)
    assert record.saga.is_completed
    assert record.saga.ignored == 2
    assert [ignored.reason for ignored in record.ignored] == ["repeated"] * 2
    assert outside.dead.seen == []
    await outside.close()


@virtual
async def test_answers_out_of_order_are_counted():
    """An undo's answer before any undo, and a later generation, change nothing."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("ab"))
    command = await outside.command()
    secret = outside.manager.store.secret

    def genuine(step: str, direction: Direction, generation: int) -> Reply:
        fence = Fence(saga.id, step, direction, generation)
        return Reply(fence, token_of(secret, fence), Answer.SUCCEEDED)

    await outside.reply(
        genuine("a", Direction.COMPENSATION, 1),
        genuine("a", Direction.ACTION, 2),
        genuine("b", Direction.ACTION, 1),
        genuine("nowhere", Direction.ACTION, 1),
    )
    await outside.quiet()
    record = await outside.manager.record(saga.id)
    assert record.saga.ignored == len(record.ignored) == 4
    assert record.saga.status("a").outcome is Outcome.NONE
    await outside.reply(_answer(command))
    assert (await outside.command())["step"] == "b"
    await outside.close()


@virtual
async def test_only_the_last_twenty_ignored_answers_are_kept():
    """The count goes on, the list does not grow."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    reply = _answer(await outside.command())
    for _ in range(31):
        await outside.reply(reply)
    await outside.quiet()
    record = await outside.manager.record(saga.id)
    assert (record.saga.ignored, len(record.ignored)) == (30, 20)
    await outside.close()


@virtual
async def test_a_reply_the_store_refuses_takes_no_neighbour_with_it():
    """The others of its message commit; the message is kept with the reason."""
    store = WatchedStore(await open_store())
    outside = await Outside.open(store)
    sagas, replies = [], []
    for _ in range(3):
        sagas.append(await outside.manager.start("s", FAR.chain("a")))
        replies.append(_answer(await outside.command()))
    store.poison("transact", lambda: sagas[1].id, StoreDataError("cannot be read"))
    await outside.reply(*replies)
    for saga in (sagas[0], sagas[2]):
        assert (await outside.manager.wait(saga.id, timeout=60)).is_completed
    dead = await outside.dead.next(seconds=30)
    assert "cannot be read" in dead.headers.get("saga-reason", "")
    await outside.close()


@virtual
async def test_an_undelivered_command_counts_as_unknown():
    """A command in the dead letters settles its dispatch, and the saga turns back."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    delivery = await outside._commands.next()
    await put(outside.broker, TOPOLOGY.undelivered, delivery.body, "saga.commands")
    undo = await outside.command()
    assert undo["direction"] == "compensation"
    assert undo["output"] is None
    saga = await outside.manager.get(saga.id)
    assert saga.status("a").outcome is Outcome.UNKNOWN
    assert "Undeliverable" in saga.reason
    await outside.reply(_answer(undo))
    assert (await outside.manager.wait(saga.id, timeout=5)).is_compensated
    await outside.close()


@virtual
@pytest.mark.parametrize("kind", ["saga.commands", "saga.replies", ""])
async def test_garbage_in_the_undelivered_queue_is_set_aside(kind):
    """What is no command of ours cannot make the intake fail."""
    outside = await Outside.open()
    await put(outside.broker, TOPOLOGY.undelivered, b"garbage", kind)
    dead = await outside.dead.next()
    assert dead.headers["saga-queue"] == TOPOLOGY.undelivered
    await outside.close()


@virtual
async def test_a_deferred_answer_may_come_much_later():
    """*Accepted* without heartbeats waits as long as the step's limit."""
    outside = await Outside.open()
    saga = await outside.manager.start("s", FAR.chain("a"))
    command = await outside.command()
    await outside.reply(_answer(command, Answer.ACCEPTED))
    await LoopClock().sleep(2 * 3600)
    await outside.reply(_answer(command, output="late"))
    assert (await outside.manager.wait(saga.id, timeout=5)).outputs == {"a": "late"}
    await outside.close()


@virtual
async def test_two_queues_that_answer_one_dispatch_raise_an_alarm():
    """An action belongs to one queue; problems names both."""
    outside = await Outside.open()
    await outside.manager.start("s", FAR.chain("a"))
    command = await outside.command()
    await outside.reply(_answer(command, answered_by="one"))
    await outside.reply(_answer(command, answered_by="two"))
    await until(outside.manager.problems)
    (problem,) = outside.manager.problems()
    assert "one" in problem
    assert "two" in problem
    await outside.close()


@virtual
async def test_a_store_that_is_away_keeps_the_answers():
    """No answer is acknowledged before it is committed."""
    store = WatchedStore(await open_store())
    outside = await Outside.open(store)
    saga = await outside.manager.start("s", FAR.chain("a"))
    reply = _answer(await outside.command())
    gate = asyncio.Event()

    async def away(*_args, **_options):
        await gate.wait()

    store.gates["transact"] = away
    await outside.reply(reply)
    await LoopClock().sleep(5)
    (consumer,) = [
        c
        for c in outside.manager._broker._consumers
        if c._queue.spec.name == TOPOLOGY.replies
    ]
    assert len(consumer._unsettled) == 1
    gate.set()
    assert (await outside.manager.wait(saga.id, timeout=5)).is_completed
    await until(lambda: not consumer._unsettled)
    await outside.close()
