"""The commands of one delivery, run together, each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from saga_orchestrator.core.commands import Command
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.answering import Answering

TURN_SECONDS = 0.005
"""Handlers that compute and never wait leave the loop to others after so long."""

Serve = Callable[[int, Command, Callable[[], None]], Awaitable[Answering]]
"""Runs the command at a place; calls what it is given where it must wait."""


class Together:
    """Runs commands one after the other, for as long as none of them waits.

    A task for each would cost more than most handlers do. A handler that waits keeps
    the task that it began in, for it may have taken it for its own: a time limit that
    it has set there cancels it. The others go on in tasks of their own.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        serve: Serve,
        clock: Clock,
        is_closing: Callable[[], bool],
    ) -> None:
        """Prepare to run commands.

        Args:
            commands: of one delivery.
            serve: runs one.
            clock: for turns.
            is_closing: tells whether a cancellation is the process's end; else it
                is a handler's that cancelled a task which it had left already.
        """
        self._serve = serve
        self._clock = clock
        self._is_closing = is_closing
        self._left = deque(enumerate(commands))
        unanswered = asyncio.CancelledError("its task was cancelled")
        self._ends: list[Answering | BaseException] = [unanswered] * len(commands)
        self._group = asyncio.TaskGroup()

    async def run(self) -> list[bool | StoreError]:
        """Run all to their ends.

        Returns:
            Of each whether it may be forgotten: its answer is safe, or the command
            in its queue again; if not, it was not begun, or was interrupted. Or why
            the store will never take its answer.

        Raises:
            Exception: a defect; all others are safe.
        """
        try:
            async with self._group:
                await self._run_left()
            return await self._all_safe()
        except asyncio.CancelledError:
            for end in self._ends if self._is_closing() else ():
                if isinstance(end, Answering):
                    end.forget()
            raise

    async def _run_left(self) -> None:
        begun = self._clock.monotonic()
        while self._left:
            await self._run(*self._left.popleft())
            if self._clock.monotonic() - begun > TURN_SECONDS:
                await self._clock.sleep(0)
                begun = self._clock.monotonic()

    async def _run(self, place: int, command: Command) -> None:
        try:
            self._ends[place] = await self._serve(
                place, command, self._let_others_go_on
            )
        except Exception as error:  # noqa: BLE001 - its neighbours go on
            self._ends[place] = error

    def _let_others_go_on(self) -> None:
        while self._left:
            self._group.create_task(self._run(*self._left.popleft()))

    async def _all_safe(self) -> list[bool | StoreError]:
        """Wait for every answer, whatever becomes of the others."""
        safe: list[bool | StoreError] = []
        problems: list[BaseException] = []
        for end in self._ends:
            try:
                safe.append(await _is_safe(end))
            except StoreError as error:
                safe.append(error)
            except Exception as error:  # noqa: BLE001 - raised below
                problems.append(error)
        if problems:
            raise problems[0]
        return safe


async def _is_safe(end: Answering | BaseException) -> bool:
    if isinstance(end, BaseException):
        raise end
    return await end.is_safe()
