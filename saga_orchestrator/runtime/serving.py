"""Serving commands: each at its place, when it is its turn, to its answer."""

from __future__ import annotations

import datetime as dt
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.executor import execute, execute_long
from saga_orchestrator.participant.handlers import Handler, Handlers
from saga_orchestrator.participant.run import Interrupted, Run, nobody_else
from saga_orchestrator.participant.store_time import StoreTime
from saga_orchestrator.participant.threads import HandlerThreads
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.answering import (
    Answering,
    CopyAnswering,
    LongAnswering,
)
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.in_hand import InHand
from saga_orchestrator.runtime.returning import Received, Returning
from saga_orchestrator.runtime.sinks import Sink
from saga_orchestrator.runtime.slots import NoSlot, Slots
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.telemetry import metrics, tracing

PUT_OFF = dt.timedelta(seconds=30)
"""How long a command waits that came to a service without its handler."""

AGAIN = dt.timedelta(seconds=1)
"""How long a long run waits for its next process, when its own one stops."""

_Execution = Callable[..., Coroutine[Any, Any, Reply]]


class Serving:
    """Runs a process's handlers: so many at a time, and no command twice at once."""

    def __init__(
        self,
        *,
        sink: Sink,
        returning: Returning,
        in_hand: InHand,
        supervisor: Supervisor,
        clock: Clock,
        rng: random.Random,
        concurrency: int,
    ) -> None:
        self._sink = sink
        self._returning = returning
        self._in_hand = in_hand
        self._supervisor = supervisor
        self._clock = clock
        self._rng = rng
        self._slots = Slots(concurrency)
        self._at_work: dict[Fence, Answering] = {}
        self._threads = HandlerThreads(len(Direction) * concurrency)
        self._store_time = StoreTime(clock)
        self._is_traced = False

    def hear(self, commands: list[Command]) -> None:
        """Note what commands tell of the store's clock, before any of them is run."""
        for command in commands:
            self._store_time.hear(command)
        self._is_traced = tracing.is_on()  # may be said late; asking takes long

    def is_closing(self) -> bool:
        """Tell whether a cancellation is the process's end."""
        return self._supervisor.is_ending

    async def serve(
        self,
        received: Received,
        service: Handlers,
        place: int,
        command: Command,
        when_it_waits: Callable[[], None],
    ) -> Answering:
        """Run one command; its answer is on its way, or it is elsewhere, or left."""
        queue = received.queue
        first = self._at_work.get(command.fence)
        if first is not None:  # it was taken for lost while it waited, or ran
            return CopyAnswering(self._sink, queue, first)
        answering = Answering(self._sink, queue)
        handler = service.get(command.fence.direction, command.action)
        if handler is None:
            missing = f"queue {queue} has no handler for {command.action}"
            answering.hand_over(_later(command, missing, PUT_OFF))
            return answering
        if handler.long:
            return self._begin_long(received, place, command, handler)
        self._at_work[command.fence] = answering
        execution = functools.partial(execute, command, handler)
        try:
            reply = await self._perform(command, queue, execution, when_it_waits)
            if reply is not None:
                answering.hand_over(reply)
        except NoSlot:
            await self._return(received, place, command, answering)
        finally:
            self._leave(command, answering)
        return answering

    async def _return(
        self, received: Received, place: int, command: Command, answering: Answering
    ) -> None:
        """Put a command back for which nothing became free: it may run elsewhere.

        It is tried until it is there, for it must not wait here; a drain does it
        with all that is left.
        """
        # Before it is there: it may come here again at once, and is no copy then. The
        # copies that wait go on waiting: once it is there, it stands for them, too.
        self._forget(command, answering)
        backoff = Backoff(self._rng)
        while not self._in_hand.is_draining:
            if await self._returning.as_it_was(received, [place]):
                answering.returned()
                return
            await self._clock.sleep(backoff.next())

    def _leave(self, command: Command, answering: Answering) -> None:
        """Note that a command is at work no more, and tell its copies."""
        self._forget(command, answering)
        answering.over()

    def _forget(self, command: Command, answering: Answering) -> None:
        """Take the next one for no copy."""
        if self._at_work.get(command.fence) is answering:
            del self._at_work[command.fence]

    def _begin_long(
        self, received: Received, place: int, command: Command, handler: Handler
    ) -> LongAnswering:
        """Begin a long handler; its *accepted* is on its way."""
        queue = received.queue
        answering = LongAnswering(self._sink, queue)
        self._at_work[command.fence] = answering
        execution = functools.partial(execute_long, command, handler, answering.send)

        async def run() -> None:
            with self._in_hand:
                try:
                    await work()
                except NoSlot:
                    await self._return(received, place, command, answering)
                except Exception as error:
                    answering.failed(error)
                    raise
                finally:
                    self._leave(command, answering)
                    answering.ended()

        async def work() -> None:
            reply = await self._perform(command, queue, execution)
            if reply is None and answering.are_sent:
                # Its delivery is gone: only an answer brings it back.
                reply = _later(command, "its process was stopped", AGAIN)
            if reply is not None:
                await answering.send(reply)

        self._supervisor.once(f"long {command.action}", run)
        return answering

    async def _perform(
        self,
        command: Command,
        queue: str,
        execution: _Execution,
        when_it_waits: Callable[[], None] = nobody_else,
    ) -> Reply | None:
        """Run a handler when it is its turn; None: a drain left it without answer.

        Raises:
            NoSlot: its turn does not come soon.
        """
        way = command.fence.direction
        await self._slots.take(way, when_it_waits)
        try:
            if self._in_hand.is_draining:
                return None
            if self._store_time.is_late(command):
                return self._store_time.put_off(command)
            begun = self._clock.monotonic()
            run = Run(self._in_hand.waiting, when_it_waits, self.is_closing)
            span = (
                tracing.running(command, queue) if self._is_traced else tracing.UNTRACED
            )
            try:
                with span as traced:
                    reply = traced.ended(
                        await execution(
                            clock=self._clock, threads=self._threads, run=run
                        )
                    )
            except Interrupted:
                return None
            took = self._clock.monotonic() - begun
            metrics.handler_duration(command.action, reply.answer).observe(took)
            return reply
        finally:
            self._slots.leave(way)


def _later(command: Command, reason: str, delay: dt.timedelta) -> Reply:
    return Reply(
        command.fence, command.token, Answer.RETRY_LATER, error=reason, delay=delay
    )
