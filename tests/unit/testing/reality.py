"""The same script on the real runtime: manager, worker and broker in virtual time.

What the kit only plays is done here: commands and answers are lost, doubled and
delayed by the broker, handlers take their time, people ask the manager.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from saga_orchestrator import (
    Deferred,
    Handlers,
    Manager,
    RetryLater,
    Skip,
    StepContext,
    StepFailed,
)
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.broker import OutgoingMessage
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.testing import Given
from saga_orchestrator.testing.fate import NOW, WELL, Fate
from saga_orchestrator.testing.virtual_time import LoopClock, run_virtual
from saga_orchestrator.wire.envelope import REPLIES, read_commands, read_replies
from saga_orchestrator.wire.frame import pack_replies
from tests.unit.runtime.stage import (
    TOPOLOGY,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    until,
)

LIMIT = 48 * 3600.0
SERVICE = "near"


@dataclass
class Reality:
    """One saga, its script carried out by the real parts.

    Attributes:
        given: the saga and its script. Nothing here makes a command wait in its
            queue; a slow handler does, where ``concurrency`` is 1.
        concurrency: handlers that run at a time.
        runs: the handlers that ran, in order: step and direction.
    """

    given: Given
    concurrency: int = 8
    runs: list[tuple[str, Direction]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay the script out, by step and direction."""
        self._script = {
            (line.step, line.direction): _one_by_one(line.fates)
            for line in self.given.lines
        }
        self._to_run: dict[Fence, deque[Fate]] = defaultdict(deque)
        self._to_answer: dict[Fence, deque[Fate]] = defaultdict(deque)
        self._clock = LoopClock()
        self._busy = 0
        self._jobs: set[asyncio.Task[None]] = set()

    def play(self) -> SagaRecord:
        """Run the saga until nothing more happens; return all that is known of it."""
        return run_virtual(self._play())

    async def _play(self) -> SagaRecord:
        name = fresh_name()
        self._broker = await open_broker(name, faults=self)
        worker = await self._open_worker()
        store = await open_store()
        broker = await open_broker(name, faults=self)
        async with open_manager(store=store, broker=broker, engine=True) as manager:
            context = self.given.context
            saga = await manager.start(self.given.definition, context=context)
            await self._follow(manager, saga.id)
            record = await manager.record(saga.id)
        await worker.stop()
        await worker.close()
        await self._broker.close()
        return record

    async def _follow(self, manager: Manager, saga_id: str) -> None:
        async def perform(at: dt.timedelta, ask) -> None:
            await self._clock.sleep(at.total_seconds())
            await ask(manager, saga_id)

        for act in self.given.acts:
            if act.at is not None:
                self._spawn(perform(act.at, act.ask))
        await self._rest(manager)
        for act in self.given.acts:
            if act.at is None:
                await act.ask(manager, saga_id)
                await self._rest(manager)

    async def _rest(self, manager: Manager) -> None:
        """Wait until nothing is due, queued, run or on its way."""

        async def rests() -> bool:
            return not self._busy and await manager.store.next_due() is None

        await until(rests, limit=LIMIT)
        await self._clock.sleep(1)  # what was answered is committed
        await until(rests, limit=LIMIT)

    async def _open_worker(self) -> Worker:
        worker = Worker(
            broker=self._broker,
            registry=Registry([self._service()]),
            clock=self._clock,
            rng=random.Random(5),
            topology=TOPOLOGY,
            concurrency=self.concurrency,
        )
        await worker.open()
        return worker

    # -- handlers ------------------------------------------------------------

    def _service(self) -> Handlers:
        known = {
            (direction, action): handler
            for service in self.given.handlers
            for direction in Direction
            for action in service.actions(direction)
            if (handler := service.get(direction, action))
        }
        handlers = Handlers(SERVICE)
        for step in self.given.definition.steps:
            for direction in Direction:
                is_action = direction is Direction.ACTION
                action = step.action if is_action else step.compensation
                register = handlers.step if is_action else handlers.compensation
                if action and not handlers.get(direction, action):
                    handler = known.get((direction, action))
                    is_long = handler is not None and handler.long
                    register(action, long=is_long)(self._run)
        return handlers

    async def _run(self, ctx: StepContext) -> object:
        fate = self._to_run[ctx.fence].popleft()
        self._to_answer[ctx.fence].append(fate)
        self.runs.append((ctx.step, ctx.direction))
        if fate.outside_after is not None:
            self._spawn(self._answer_from_outside(ctx, fate))
        if not self._is_late(ctx.step, fate):
            await self._clock.sleep((fate.answers_after or NOW).total_seconds())
        return await self._act(ctx, fate)

    async def _act(self, ctx: StepContext, fate: Fate) -> object:
        match fate.says:
            case Answer.REFUSED:
                raise _named(fate, StepFailed)(fate.error, retryable=fate.retryable)
            case Answer.UNKNOWN if fate.answers_after is None:
                await asyncio.Event().wait()
            case Answer.UNKNOWN:
                raise _named(fate, Exception)(fate.error)
            case Answer.RETRY_LATER:
                raise RetryLater(fate.delay, fate.error)
            case Answer.SKIPPED:
                raise Skip(fate.error)
            case Answer.ACCEPTED:
                raise Deferred
            case _:
                ctx.update(fate.update)
        return fate.output

    async def _answer_from_outside(self, ctx: StepContext, fate: Fate) -> None:
        assert fate.outside_after is not None
        await self._clock.sleep(fate.outside_after.total_seconds())
        await self._reply(Reply(ctx.fence, ctx.token, Answer.SUCCEEDED, fate.output))

    async def _reply(self, reply: Reply) -> None:
        body = pack_replies([replace(reply, answered_by="late")])[0]
        message = OutgoingMessage(TOPOLOGY.replies, body, REPLIES, exchange="")
        await self._broker.publish([message])

    def _spawn(self, coroutine) -> None:
        """Do something later, and let nobody rest before."""

        async def run() -> None:
            try:
                await coroutine
            finally:
                self._busy -= 1

        self._busy += 1
        task = asyncio.get_running_loop().create_task(run())
        self._jobs.add(task)

    # -- what goes wrong on the broker -----------------------------------------

    def copies(self, message: OutgoingMessage) -> int:
        """Take the next fate for a command, and the run's for an answer."""
        if message.kind == REPLIES:
            return self._copies_of_answer(message)
        (command,) = read_commands(message.body)
        fence = command.fence
        fates = self._script.get((fence.step, fence.direction))
        fate = next(fates, WELL) if fates else WELL
        self._to_run[fence].extend([fate] * fate.runs)
        return fate.runs

    def _copies_of_answer(self, message: OutgoingMessage) -> int:
        replies = read_replies(message.body)
        (reply, *more) = replies
        fates = self._to_answer[reply.fence]
        beats = reply.answer is Answer.HEARTBEAT or reply.heartbeat
        if beats or reply.answered_by == "late" or not fates:
            return 1
        fate = fates.popleft()
        assert fate.answers == 1 or not more, "it would do it to others, too"
        if not self._is_late(reply.fence.step, fate):
            return fate.answers
        assert not more, "it would do it to others, too"
        self._spawn(self._late(fate.answers_after or NOW, reply))
        return 0

    def _is_late(self, step: str, fate: Fate) -> bool:
        """Tell whether the answer takes longer than a handler may."""
        (timeout,) = (
            one.timeout for one in self.given.definition.steps if one.name == step
        )
        return fate.answers_after is not None and fate.answers_after >= timeout

    async def _late(self, after: dt.timedelta, reply: Reply) -> None:
        await self._clock.sleep(after.total_seconds())
        await self._reply(reply)

    def loses_confirm(self, message: OutgoingMessage) -> bool:
        """Confirm everything, also what is lost."""
        del message
        return False

    def delivery_delay(self, queue: str) -> float:
        """Deliver at once."""
        del queue
        return 0.0

    def loses_ack(self, queue: str) -> bool:
        """Lose no acknowledgement."""
        del queue
        return False


def _named(fate: Fate, base: type[Exception]) -> type[Exception]:
    """Return an exception's class of the scripted name."""
    if base.__name__ == fate.error_type:
        return base
    return type(fate.error_type, (base,), {})


def _one_by_one(fates: tuple[Fate, ...]) -> Iterator[Fate]:
    for fate in fates:
        if fate.times is None:
            while True:
                yield fate
        yield from [fate] * fate.times
