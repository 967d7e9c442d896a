"""Where a participant's answers go.

In the orchestrator's process straight into the commit pipeline; elsewhere over
the broker to ``saga.replies``, so that a worker needs no database of ours.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from saga_orchestrator.core.commands import Reply, event_of
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Answered, StepFailed
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.errors import NewerDataError, StoreDataError, StoreError
from saga_orchestrator.ports.broker import Broker, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.complaints import Complaints, unconfirmed
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.wire.envelope import REPLIES
from saga_orchestrator.wire.frame import COMMANDS_MAX, pack_replies

_log = structlog.get_logger("saga.sink")


class Sink(Protocol):
    """Takes answers, until they cannot be lost any more."""

    def answer(self, reply: Reply) -> asyncio.Future[Any]:
        """Hand over one answer, at once.

        Returns:
            A future that is done when the answer is safe; the command may be
            acknowledged then. Where it has a ``StoreError``, ``refused`` goes on.

        Raises:
            StoreUnavailableError: the process is being closed.
        """
        ...

    async def refused(self, reply: Reply, error: StoreError) -> None:
        """Do what is left to do for an answer that the store refused.

        Raises:
            StoreError: it will never take it, nor that it failed.
        """
        ...

    async def is_awaited(self, fence: Fence) -> bool:
        """Tell whether a redelivered command still needs to be run.

        Raises:
            StoreDataError: its saga cannot be read.
        """
        ...


async def committed(
    pipeline: CommitPipeline, event: Answered, future: asyncio.Future[Decision]
) -> Decision:
    """Wait for an answer's commit, however long the store is away.

    An answer that the store refuses to keep ends its step as unknown: the
    handler ran, and running it again would bring the same answer.

    Raises:
        NewerDataError: a newer release can commit it, this one cannot.
        StoreError: the store refuses that too.
    """
    try:
        return await future
    except NewerDataError:
        raise
    except StoreError as error:
        return await _commit_refusal(pipeline, event, error)


async def _commit_refusal(
    pipeline: CommitPipeline, event: Answered, error: StoreError
) -> Decision:
    failure = StepFailed(
        event.fence,
        refused=False,
        error_type="UnstorableAnswer",
        error=str(error)[:500],
        retryable=False,
    )
    return await pipeline.submit(failure)


class LocalSink:
    """Commits answers directly: the handlers run in the orchestrator's process.

    What only a newer release can commit goes to it over the broker.
    """

    def __init__(
        self,
        pipeline: CommitPipeline,
        store: Store,
        routes: Routes,
        clock: Clock,
        *,
        rng: random.Random,
        outage: Outage,
        elsewhere: Sink,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._routes = routes
        self._clock = clock
        self._rng = rng
        self._outage = outage
        self._elsewhere = elsewhere

    def answer(self, reply: Reply) -> asyncio.Future[Any]:
        """Commit the answer, however long the store is away."""
        self._routes.answered(reply.fence, reply.answered_by)
        return self._pipeline.enqueue(event_of(reply))

    async def refused(self, reply: Reply, error: StoreError) -> None:
        """Leave it to a newer release, or commit that it was refused."""
        if isinstance(error, NewerDataError):
            await self._elsewhere.answer(reply)
        else:
            await _commit_refusal(self._pipeline, event_of(reply), error)

    async def is_awaited(self, fence: Fence) -> bool:
        """Ask the store, however long it is away."""
        backoff = Backoff(self._rng)
        while True:
            try:
                found = await self._store.load_dispatches([fence])
            except NewerDataError:
                return True  # only a newer release could tell
            except StoreDataError:
                raise  # it cannot be read, now or later: the command is set aside
            except StoreError as error:
                self._outage.begins("receiver", error)
                await self._clock.sleep(backoff.next())
            else:
                self._outage.ends("receiver")
                return found[0] is not None


class RemoteSink:
    """Publishes answers to the orchestrators; batches form by themselves."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        clock: Clock,
        rng: random.Random,
        complaints: Complaints,
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._complaints = complaints
        self._clock = clock
        self._rng = rng
        self._gathered: deque[tuple[Reply, asyncio.Future[None]]] = deque()
        self._arrived = asyncio.Event()

    def answer(self, reply: Reply) -> asyncio.Future[Any]:
        """Publish the answer; it is safe when the broker has confirmed it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append((reply, done))
        self._arrived.set()
        return done

    async def refused(self, reply: Reply, error: StoreError) -> None:
        """Raise the error: here no store refuses anything."""
        raise error

    async def is_awaited(self, fence: Fence) -> bool:
        """Say yes: only the orchestrator's store could tell."""
        return True

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._gathered:
                count = min(len(self._gathered), COMMANDS_MAX)
                batch = [self._gathered.popleft() for _ in range(count)]
                await self._publish([reply for reply, _ in batch])
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    async def _publish(self, replies: Sequence[Reply]) -> None:
        messages = [
            OutgoingMessage(self._queue, body, REPLIES, exchange="")
            for body in pack_replies(replies)
        ]
        backoff = Backoff(self._rng)
        while True:
            receipts = await self._broker.publish(messages)
            pairs = zip(messages, receipts, strict=True)
            messages = [m for m, receipt in pairs if receipt is not Receipt.CONFIRMED]
            if not messages:
                self._complaints.clear(self._queue)
                return
            self._complaints.note(self._queue, unconfirmed(f"{self._queue}: answers"))
            _log.warning("answers not confirmed yet", messages=len(messages))
            await self._clock.sleep(backoff.next())
