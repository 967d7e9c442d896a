"""Who answers in a play: handlers, stand-ins, and what the script says of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from msgspec.structs import replace

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.executor import execute
from saga_orchestrator.participant.handlers import Handler, Handlers
from saga_orchestrator.participant.store_time import StoreTime
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.testing.fate import WELL, Fate
from saga_orchestrator.testing.inline import InlineThreads
from saga_orchestrator.testing.script import Line


class Participants:
    """Runs commands the way the script says, and counts what it used of it."""

    def __init__(
        self, registry: Registry, lines: Collection[Line], *, clock: Clock
    ) -> None:
        self._registry = registry
        self._fates = {(line.step, line.direction): list(line.fates) for line in lines}
        self._unused = {(line.step, line.direction): line for line in lines}
        self._clock = clock
        self._store_time = StoreTime(clock)
        self._threads = InlineThreads()

    def next_fate(self, fence: Fence) -> Fate:
        """Take the next fate of the step's script; one without an end stays."""
        self._unused.pop((fence.step, fence.direction), None)
        fates = self._fates.get((fence.step, fence.direction), [])
        if not fates:
            return WELL
        fate = fates[0]
        if fate.times is not None:
            del fates[0]
            if fate.times > 1:
                fates.insert(0, dataclasses.replace(fate, times=fate.times - 1))
        return fate

    @property
    def unused(self) -> tuple[str, ...]:
        """Lines on which something goes wrong, but no command came to them."""
        lines = self._unused.values()
        return tuple(line.whose for line in lines if not line.is_well)

    def is_long(self, command: Command) -> bool:
        """Tell whether *accepted* is said before the run."""
        handler = self._handler_of(command)
        return handler is not None and handler.long

    async def answer(self, command: Command, fate: Fate) -> Reply:
        """Run what has to be run, and say what the script wants to be said."""
        handler = self._handler_of(command)
        if handler is None or not (fate.says is None or fate.hidden):
            handler = _STAND_IN
        if self._store_time.is_late(command):
            return self._store_time.put_off(command)
        said = await execute(command, handler, clock=self._clock, threads=self._threads)
        if fate.says is None:
            return said
        return Reply(
            command.fence,
            command.token,
            fate.says,
            output=fate.output,
            update=fate.update,
            error_type=fate.error_type,
            error=fate.error or _overrun(command, fate),
            retryable=fate.retryable,
            delay=fate.delay,
        )

    def from_outside(self, reply: Reply, fate: Fate) -> Reply:
        """Say what whoever does the deferred work says of it."""
        return replace(reply, answer=Answer.SUCCEEDED, output=fate.output)

    def _handler_of(self, command: Command) -> Handler | None:
        return self._registry.get(command.fence.direction, command.action)


def _overrun(command: Command, fate: Fate) -> str:
    """Return what the executor says of a run that was cut off."""
    if fate.answers_after is not None:
        return ""
    return f"no answer within {command.timeout.total_seconds():g} s"


def _stand_in() -> Handler:
    """Return the handler of steps that have none: it succeeds, with None."""
    nobody = Handlers()

    @nobody.step("stand.in")
    async def succeed(_ctx: StepContext) -> None:
        """Do nothing."""

    handler = nobody.get(Direction.ACTION, "stand.in")
    assert handler is not None, "it was just registered"
    return handler


_STAND_IN = _stand_in()
