"""A command's answers on their way: when one is safe, the command may be forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from saga_orchestrator.core.commands import Reply
from saga_orchestrator.errors import StoreError
from saga_orchestrator.runtime.sinks import Sink


class Answering:
    """The one answer of an ordinary run, or none: a drain left the command."""

    def __init__(self, sink: Sink, queue: str) -> None:
        """Prepare for an answer.

        Args:
            sink: where it goes.
            queue: the command's, which the answer is marked with.
        """
        self._sink = sink
        self._queue = queue
        self._handed: tuple[Reply, asyncio.Future[Any]] | None = None
        self._is_returned = False
        self._is_over = False
        self._ended: asyncio.Event | None = None

    async def wait(self) -> None:
        """Wait until the run is over, for a copy of its command."""
        if not self._is_over:
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()

    def over(self) -> None:
        """Say that the run is over."""
        self._is_over = True
        if self._ended is not None:
            self._ended.set()

    def returned(self) -> None:
        """Say that the command is in its queue again, to be answered from there."""
        self._is_returned = True

    def hand_over(self, reply: Reply) -> None:
        """Hand the answer to the sink; nobody has to wait for it yet."""
        marked = replace(reply, answered_by=self._queue)
        self._handed = (marked, self._sink.answer(marked))

    async def is_safe(self) -> bool:
        """Wait until the command may be forgotten; False: it must be put back.

        Raises:
            StoreError: the store will never take its answer.
        """
        if self._handed is None:
            return self._is_returned
        reply, future = self._handed
        try:
            await future
        except StoreError as error:
            await self._sink.refused(reply, error)
        return True

    def forget(self) -> None:
        """Wait for nothing: the process ends."""
        if self._handed is not None:
            self._handed[1].cancel()


class CopyAnswering(Answering):
    """The answer of a command that is at work already: its copy has no other."""

    def __init__(self, sink: Sink, queue: str, first: Answering) -> None:
        super().__init__(sink, queue)
        self._first = first

    async def is_safe(self) -> bool:
        """Wait as the first one does, and then for the same."""
        await self._first.wait()
        return await self._first.is_safe()


class LongAnswering(Answering):
    """The answers of a long run; with the first the fate of its delivery is settled.

    Attributes:
        are_sent: whether one was sent and is safe.
    """

    def __init__(self, sink: Sink, queue: str) -> None:
        super().__init__(sink, queue)
        self.are_sent = False
        self._failure: Exception | None = None
        self._settled = asyncio.Event()

    async def wait(self) -> None:
        """Wait for nothing: its first answer is what counts."""

    async def send(self, reply: Reply) -> None:
        """Hand an answer on; return when it is safe."""
        self.hand_over(reply)
        await super().is_safe()
        self.are_sent = True
        self._settled.set()

    def failed(self, error: Exception) -> None:
        """Say why no answer follows, where it is not a drain."""
        self._failure = error

    def ended(self) -> None:
        """Say that no answer follows."""
        self._settled.set()

    async def is_safe(self) -> bool:
        """Wait until the first answer is safe, or the run has ended without one.

        Raises:
            Exception: what the run failed with before it had an answer.
        """
        await self._settled.wait()
        if self._failure is not None and not self.are_sent:
            raise self._failure
        return self.are_sent or self._is_returned

    def forget(self) -> None:
        """Leave the run alone: it is not the delivery's."""
