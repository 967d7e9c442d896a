"""The publisher: turns dispatches into frames and sees them confirmed.

It takes whatever gathered, builds the commands from the store, packs,
publishes, and lets the next commit remove the confirmed ones from the outbox.
First sends, resends and the relay all come through here. What it loses, in a
crash or because it is full, stays in the outbox: the relay of any replica
takes it up when its claim lapses.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.dispatch import command_for
from saga_orchestrator.core.events import StepFailed
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.references import MissingPathError
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.broker import Broker, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.wire.envelope import COMMANDS, MESSAGE_BYTES_MAX
from saga_orchestrator.wire.frame import Frame, pack

BATCH_MAX = 512
GATHERED_MAX = 20_000
"""Dispatches kept in memory; more wait in the outbox for the relay."""
UNROUTABLE_FIRST = dt.timedelta(seconds=1)
UNROUTABLE_LAST = dt.timedelta(seconds=60)

_log = structlog.get_logger("saga.publisher")


@dataclass(frozen=True, slots=True)
class Offer:
    """A dispatch to publish.

    Attributes:
        fence: which.
        resend: it went out before; not sent while its queue has a backlog.
        attempts: how often it came back as unroutable.
    """

    fence: Fence
    resend: bool = False
    attempts: int = 0


class Publisher:
    """Publishes commands; owns those that it has in hand."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        pipeline: CommitPipeline,
        clock: Clock,
        routes: Routes,
    ) -> None:
        self._store = store
        self._broker = broker
        self._pipeline = pipeline
        self._clock = clock
        self._routes = routes
        self._gathered: deque[Offer] = deque()
        self._arrived = asyncio.Event()
        self._pending: dict[Fence, float] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(self, offers: Iterable[Offer]) -> None:
        """Take dispatches to publish; too many are left to the relay."""
        self._gathered.extend(offers)
        while len(self._gathered) > GATHERED_MAX:
            self._gathered.pop()
        if self._gathered:
            self._idle.clear()
            self._arrived.set()

    @property
    def is_full(self) -> bool:
        """Whether the relay should leave rows where they are."""
        return len(self._gathered) > GATHERED_MAX // 2

    async def drained(self) -> None:
        """Wait until nothing is in hand."""
        await self._idle.wait()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._gathered:
                batch = [
                    self._gathered.popleft()
                    for _ in range(min(len(self._gathered), BATCH_MAX))
                ]
                await self._publish(batch)
            self._idle.set()

    async def keep_claims(self) -> None:
        """Keep the claims of publishes that a slow broker holds up, for ever."""
        half = LEASE.total_seconds() / 2
        while True:
            await self._clock.sleep(half)
            late = [
                fence
                for fence, since in self._pending.items()
                if self._clock.monotonic() - since >= half / 2
            ]
            if late:
                try:
                    await self._store.extend(late, LEASE)
                except StoreError as error:
                    _log.warning("claims not kept", count=len(late), error=str(error))

    async def _publish(self, batch: list[Offer]) -> None:
        offers = {offer.fence: offer for offer in batch}
        since = self._clock.monotonic()
        self._pending.update(dict.fromkeys(offers, since))
        try:
            commands = await self._commands(list(offers.values()))
            frames = [frame for frame in pack(commands) if self._fits(frame)]
            messages = [
                OutgoingMessage(frame.routing_key, frame.body, COMMANDS)
                for frame in frames
            ]
            receipts = await self._broker.publish(messages) if messages else []
            await self._settle(frames, receipts, offers)
        except StoreError as error:
            _log.warning("left to the relay", count=len(batch), error=str(error))
        finally:
            for fence in offers:
                self._pending.pop(fence, None)

    async def _commands(self, offers: list[Offer]) -> list[Command]:
        """Build what is still awaited; settle what is not."""
        loaded = await self._store.load_dispatches([offer.fence for offer in offers])
        commands: list[Command] = []
        obsolete: list[Fence] = []
        for offer, found in zip(offers, loaded, strict=True):
            command = found and self._command(offer.fence, *found)
            if command is None or (offer.resend and await self._is_queued(command)):
                obsolete.append(offer.fence)
            else:
                commands.append(command)
        if obsolete:
            self._pipeline.settle(obsolete)
        return commands

    def _command(self, fence: Fence, saga: Saga, data: SagaData) -> Command | None:
        """Return the command; None when it cannot be built, and its step fails."""
        number = saga.plan.number[fence.step]
        try:
            command = command_for(saga, number, data, self._store.secret)
        except MissingPathError as error:
            self._fail(fence, f"input: {error}")
            return None
        return command

    def _fits(self, frame: Frame) -> bool:
        """Tell whether a frame may travel; one that may not holds one command."""
        if len(frame.body) <= MESSAGE_BYTES_MAX:
            return True
        for fence in frame.fences:
            self._fail(
                fence,
                f"command: is {len(frame.body)} bytes with its context and outputs, "
                f"the limit is {MESSAGE_BYTES_MAX}; pass references instead",
            )
        return False

    async def _is_queued(self, command: Command) -> bool:
        return await self._routes.is_queued(command.routing_key)

    def _fail(self, fence: Fence, problem: str) -> None:
        failure = StepFailed(
            fence,
            refused=True,
            error_type="InvalidInput",
            error=problem,
            retryable=False,
        )
        self._pipeline.post(failure)

    async def _settle(
        self,
        frames: Sequence[Frame],
        receipts: Sequence[Receipt],
        offers: dict[Fence, Offer],
    ) -> None:
        confirmed: list[Fence] = []
        for frame, receipt in zip(frames, receipts, strict=True):
            if receipt is Receipt.CONFIRMED:
                confirmed.extend(frame.fences)
            elif receipt is Receipt.UNROUTABLE:
                await self._defer(frame, max(offers[f].attempts for f in frame.fences))
        if confirmed:
            self._pipeline.settle(confirmed)

    async def _defer(self, frame: Frame, attempts: int) -> None:
        error = f"no service handles {frame.routing_key.partition('.')[2]}"
        delay = min(UNROUTABLE_FIRST * (1 << min(attempts, 10)), UNROUTABLE_LAST)
        await self._store.defer(frame.fences, error, delay)
        _log.warning(
            "unroutable", routing_key=frame.routing_key, count=len(frame.fences)
        )
