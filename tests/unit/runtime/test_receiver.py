"""The receiver: what it does with each kind of delivery."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from itertools import pairwise

import pytest

from saga_orchestrator import Handlers, RetryLater, RetryPolicy, Step
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Outcome
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    ONCE,
    TOPOLOGY,
    Service,
    WatchedStore,
    dead_letters,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    open_worker,
    put,
    raising,
    seconds,
    until,
    virtual,
)

QUEUE = "saga.steps.near"


@virtual
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"v": 2, "commands": []}', "message.v: is 2"),
        (b'{"v": 1, "commands": []}', "message.commands"),
        (b'{"v": 1, "commands": [{}]}', "message.commands.0.saga_id"),
        (b'{"v": 1, "replies": []}', "message.commands"),
    ],
)
async def test_a_message_that_cannot_be_read_is_set_aside(body, reason):
    """It goes to the dead letters, unchanged, with its reason and its queue."""
    name = fresh_name()
    async with open_manager(
        Service().handlers, broker=await open_broker(name)
    ) as manager:
        broker = await open_broker(name)
        inbox = await dead_letters(broker)
        await put(broker, QUEUE, body, "saga.commands")
        dead = await inbox.next()
        assert dead.body == body
        assert reason in dead.headers["saga-reason"]
        assert dead.headers["saga-queue"] == QUEUE
        assert (await broker.stats(QUEUE)).ready == 0
        assert manager.problems() == []
        await broker.close()


async def _frame_of(steps: list[Step], count: int, *, queue: str = "catch"):
    """Start sagas whose commands nobody answers; return store, ids and bodies."""
    store = await open_store()
    name = fresh_name()
    catcher = await open_broker(name)
    keys = [f"step.{step.action}" for step in steps]
    bodies = []

    async def catch(delivery):
        bodies.append(delivery.body)
        await delivery.ack()

    spec = QueueSpec(queue, tuple(keys), dead_letter=TOPOLOGY.undelivered)
    await catcher.consume(spec, catch, prefetch=100)
    async with open_manager(store=store, engine=False) as client:
        sagas = [await client.start("s", steps) for _ in range(count)]
    async with open_manager(
        store=store, broker=await _durable(name), engine=True
    ) as engine:
        await until(lambda: _count(bodies) == count)
        await engine.stop()
    await catcher.close()
    return store, sagas, bodies


def _count(bodies: list[bytes]) -> int:
    return sum(len(json.loads(body)["commands"]) for body in bodies)


class _Queues:
    """A broker of its own with a queue, to put messages in before an engine runs."""

    def __init__(self, broker) -> None:
        self.broker = broker

    @classmethod
    async def open(cls, name: str) -> _Queues:
        queues = cls(await open_broker(name))
        spec = QueueSpec(QUEUE, dead_letter=TOPOLOGY.undelivered)
        await queues.broker.declare(spec)
        return queues

    async def put_redelivered(self, body: bytes) -> None:
        """Leave the message as a process that died with it would."""
        await put(self.broker, QUEUE, body, "saga.commands")
        taken = asyncio.Event()

        async def take(delivery) -> None:
            del delivery
            taken.set()

        spec = QueueSpec(QUEUE, dead_letter=TOPOLOGY.undelivered)
        await self.broker.consume(spec, take, prefetch=1)
        await taken.wait()
        self.broker.crash()
        await self.broker.open()


@virtual
async def test_commands_of_a_frame_run_together():
    """A full frame takes as long as its slowest command, not their sum."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(10)
    store, sagas, bodies = await _frame_of(service.chain("a"), 8)
    assert len(bodies) == 1
    name = fresh_name()
    queues = await _Queues.open(name)
    await put(queues.broker, QUEUE, bodies[0], "saga.commands")
    clock = LoopClock()
    async with open_manager(
        service.handlers, store=store, broker=await _durable(name)
    ) as manager:
        before = clock.monotonic()
        for saga in sagas:
            assert (await manager.wait(saga.id)).is_completed
        assert clock.monotonic() - before < 11


async def _durable(name: str):
    """Return a broker handle whose queues are said to survive."""
    broker = await open_broker(name)
    broker.outlives_process = True
    return broker


@virtual
async def test_a_frame_that_came_back_is_split_and_runs_one_by_one():
    """Each command of a redelivered frame runs alone in its process."""
    service = Service()
    running, most = 0, 0

    async def busy(ctx):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await LoopClock().sleep(1)
        running -= 1

    service.does["a"] = busy
    store, sagas, bodies = await _frame_of(service.chain("a"), 5)
    name = fresh_name()
    await (await _Queues.open(name)).put_redelivered(bodies[0])
    async with open_manager(
        service.handlers, store=store, broker=await _durable(name)
    ) as manager:
        for saga in sagas:
            assert (await manager.wait(saga.id)).is_completed
        assert len(service.runs) == 5
        assert most == 1


@virtual
async def test_a_command_that_came_back_waits_for_what_runs():
    """It begins when nothing else runs, and nothing begins beside it."""
    service = Service()
    log: list[str] = []

    async def noted(ctx):
        log.append(f"+{ctx.saga_name}")
        await LoopClock().sleep(5)
        log.append(f"-{ctx.saga_name}")

    service.does["a"] = noted
    store, (suspect,), bodies = await _frame_of(service.chain("a"), 1)
    name = fresh_name()
    queues = await _Queues.open(name)
    async with open_manager(
        service.handlers, store=store, broker=await _durable(name)
    ) as manager:
        early = await manager.start("early", service.chain("a"))
        await until(lambda: log == ["+early"])
        await _deliver_again(queues.broker, bodies[0])
        late = await manager.start("late", service.chain("a"))
        for saga in (early, suspect, late):
            assert (await manager.wait(saga.id)).is_completed
        assert log == ["+early", "-early", "+s", "-s", "+late", "-late"]


async def _deliver_again(broker, body: bytes) -> None:
    """Publish a command as one that was split off a redelivered frame."""
    message = OutgoingMessage(
        QUEUE, body, "saga.commands", exchange="", headers={"saga-quarantine": 1}
    )
    await broker.publish([message])


@virtual
async def test_a_redelivered_command_that_is_not_awaited_is_dropped():
    """In the orchestrator's process it is acknowledged without being run."""
    service = Service()
    store, (saga,), bodies = await _frame_of(service.chain("a"), 1)
    name = fresh_name()
    queues = await _Queues.open(name)
    async with open_manager(
        service.handlers, store=store, broker=await _durable(name)
    ) as manager:
        await put(queues.broker, QUEUE, bodies[0], "saga.commands")
        assert (await manager.wait(saga.id)).is_completed
        await _deliver_again(queues.broker, bodies[0])
        await until(lambda: _is_empty(manager, queues))
        assert service.runs == ["a"]


@virtual
async def test_a_connection_cut_during_a_run_does_not_run_it_twice():
    """The command comes again while its first run goes on, and is then dropped."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(5)
    broker = await open_broker(fresh_name())
    async with open_manager(service.handlers, broker=broker) as manager:
        saga = await manager.start("s", service.chain("a"))
        await until(lambda: service.runs)
        broker.cut_connection()
        assert (await manager.wait(saga.id)).is_completed
        await LoopClock().sleep(20)
        assert service.runs == ["a"]


async def _is_empty(manager, queues) -> bool:
    await manager._engine._receiver.drained()
    return (await queues.broker.stats(QUEUE)).ready == 0


@virtual
async def test_a_command_without_its_handler_is_put_off():
    """It is tried again later, visibly, at no attempt's cost."""
    service = Service()
    partial = Handlers("near")
    partial.step("near.other")(lambda ctx: None)
    name = fresh_name()
    queues = await open_broker(name)
    spec = QueueSpec(QUEUE, ("step.near.a",), dead_letter=TOPOLOGY.undelivered)
    await queues.declare(spec)  # an older release handled the action
    clock = LoopClock()
    worker = await open_worker(await open_broker(name), partial)
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        saga = await manager.start("s", service.chain("a"))
        await until(lambda: _kinds_include(manager, saga, HistoryKind.STEP_POSTPONED))
        record = await manager.record(saga.id)
        (entry,) = [e for e in record.history if e.kind is HistoryKind.STEP_POSTPONED]
        assert "no handler for near.a" in entry.data["reason"]
        assert record.saga.status("a").attempt == 1
        await worker.close()
        again = await open_worker(await open_broker(name), service.handlers)
        before = clock.monotonic()
        saga = await manager.wait(saga.id, timeout=60)
        assert 29 < clock.monotonic() - before < 32
        assert saga.status("a").attempt == 1
        await again.close()


async def _kinds_include(manager, saga, kind) -> bool:
    return any(e.kind is kind for e in (await manager.record(saga.id)).history)


@virtual
async def test_an_answer_the_store_cannot_keep_takes_no_neighbour_with_it():
    """The other commands of its frame are answered, and their handlers run once."""
    service = Service()
    cancelled: list[str] = []

    async def slow(ctx):
        try:
            await LoopClock().sleep(0 if ctx.saga_id == sagas[0].id else 5)
        except asyncio.CancelledError:
            cancelled.append(ctx.saga_id)
            raise

    service.does["a"] = slow
    inner, sagas, bodies = await _frame_of(service.chain("a"), 4)
    store = WatchedStore(inner)
    store.poison("transact", lambda: sagas[0].id, StoreDataError("cannot be read"))
    name = fresh_name()
    queues = await _Queues.open(name)
    await put(queues.broker, QUEUE, bodies[0], "saga.commands")
    async with open_manager(
        service.handlers, store=store, broker=await _durable(name)
    ) as manager:
        for saga in sagas[1:]:
            assert (await manager.wait(saga.id, timeout=60)).is_completed
        assert cancelled == []
        store.gates.clear()


@virtual
async def test_a_delay_beyond_the_calendar_is_no_crash():
    """``RetryLater`` for ever ends with the step's limit, after one run."""
    service = Service()
    service.does["a"] = raising(RetryLater(dt.timedelta.max))
    async with open_manager(service.handlers) as manager:
        steps = service.chain("a", limit=seconds(120), undo_failed="never")
        saga = await manager.start("s", steps)
        saga = await manager.wait(saga.id, timeout=200)
        assert saga.is_compensated
        assert service.runs == ["a"]


@virtual
@pytest.mark.parametrize("levels", [60, 62, 64])
async def test_data_as_deep_as_a_start_takes_reaches_its_handler(levels):
    """What the edge accepts the wire carries: context, outputs and back."""
    service = Service()
    deep: object = 1
    for _ in range(levels - 2):
        deep = [deep]

    async def echo(ctx):
        return {"deep": ctx.context["deep"]}

    service.does["a"] = echo
    service.does["b"] = raising(RuntimeError("turn back"))
    async with open_manager(service.handlers) as manager:
        steps = service.chain("ab", retry=ONCE)
        saga = await manager.start("s", steps, {"deep": deep})
        saga = await manager.wait(saga.id, timeout=60)
        assert saga.is_compensated
        assert service.runs == ["a", "b", "undo_b", "undo_a"]
        assert service.given[-1] == {"deep": deep}


@virtual
async def test_a_timeout_below_a_millisecond_travels():
    """Every timeout that a definition allows makes a command that can be read."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        steps = service.chain("a", timeout=dt.timedelta(microseconds=100))
        saga = await manager.start("s", steps)
        await manager.wait(saga.id, timeout=60)
        assert service.runs


@virtual
async def test_concurrency_bounds_the_handlers_that_run():
    """No more handlers run at a time than the manager was told."""
    service = Service()
    running, most = 0, 0

    async def busy(ctx):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await LoopClock().sleep(1)
        running -= 1

    service.does["a"] = busy
    async with open_manager(service.handlers, concurrency=3) as manager:
        sagas = [await manager.start("s", service.chain("a")) for _ in range(20)]
        for saga in sagas:
            assert (await manager.wait(saga.id)).is_completed
        assert most == 3


@virtual
async def test_a_forward_backlog_does_not_hold_up_an_undo():
    """A rollback begins though hundreds of actions wait for their turn."""
    service = Service()

    async def slow(ctx):
        await LoopClock().sleep(5)

    service.does["a"] = slow
    async with open_manager(service.handlers, concurrency=4) as manager:
        done = await manager.start("undone", service.chain("b"))
        await manager.wait(done.id)
        await asyncio.gather(
            *(manager.start("s", service.chain("a")) for _ in range(400))
        )
        await until(lambda: service.runs.count("a") == 4)
        clock = LoopClock()
        asked = clock.monotonic()
        await manager.compensate(done.id, reason="test", force=True)
        await manager.wait(done.id, timeout=1000)
        assert clock.monotonic() - asked < 60


@virtual
async def test_a_command_that_outlived_its_limit_is_not_begun():
    """One that waited too long in its queue is answered, not run."""
    service = Service()
    block = asyncio.Event()

    async def wait(ctx):
        if ctx.saga_name == "first":
            await block.wait()

    service.does["a"] = wait
    async with open_manager(service.handlers, concurrency=1) as manager:
        long = {"timeout": seconds(600), "undo_failed": "never"}
        await manager.start("first", service.chain("a", **long))
        await until(lambda: service.runs)
        short = {"timeout": seconds(5), "limit": seconds(20), "undo_failed": "never"}
        saga = await manager.start("second", service.chain("a", **short))
        saga = await manager.wait(saga.id, timeout=60)
        assert saga.status("a").outcome is Outcome.UNKNOWN
        block.set()
        await LoopClock().sleep(30)
        assert service.runs == ["a"]


@virtual
async def test_retries_follow_the_policy():
    """Pauses double, attempts are counted, and the last failure turns back."""
    service = Service()
    instants: list[float] = []

    async def fail(ctx):
        instants.append(LoopClock().monotonic())
        raise RuntimeError(f"attempt {ctx.attempt}")

    service.does["a"] = fail
    async with open_manager(service.handlers) as manager:
        retry = RetryPolicy(4, initial_delay=seconds(2), jitter=0)
        saga = await manager.start("s", service.chain("a", retry=retry))
        saga = await manager.wait(saga.id)
        assert saga.is_compensated
        assert saga.reason == "step a: RuntimeError: attempt 4"
        gaps = [b - a for a, b in pairwise(instants)]
        assert [round(gap) for gap in gaps] == [2, 4, 8]
