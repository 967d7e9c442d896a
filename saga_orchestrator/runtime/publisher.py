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

import structlog
from msgspec import Struct

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.dispatch import command_for, unsendable
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.references import MissingPathError
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.waiting import NO_SERVICE, QUEUED
from saga_orchestrator.errors import NewerDataError, StoreError
from saga_orchestrator.ports.broker import Broker, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.complaints import Complaints, unconfirmed
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.runtime.traces import Traces
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import ACTIONS
from saga_orchestrator.wire.envelope import COMMANDS, excess
from saga_orchestrator.wire.frame import Frame, pack

BATCH_MAX = 512
ROWS_MAX = 256
GATHERED_MAX = 20_000
"""Dispatches kept in memory; more wait in the outbox for the relay."""
PAUSE_FIRST = dt.timedelta(seconds=1)
PAUSE_LAST = dt.timedelta(seconds=60)

FENCES_TOLD = 5
"""Commands that a log line names; more are counted."""

_log = structlog.get_logger("saga.publisher")


class Offer(Struct, frozen=True):
    """A dispatch to publish.

    Attributes:
        fence: which.
        resend: it went out before; not sent while its queue has a backlog.
        attempts: how often it was put off before.
        is_new: this process has just committed it; else its saga is read anew.
    """

    fence: Fence
    resend: bool = False
    attempts: int = 0
    is_new: bool = False


class Publisher:
    """Publishes commands; owns those that it has in hand."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        pipeline: CommitPipeline,
        clock: Clock,
        routes: Routes,
        *,
        outage: Outage,
        complaints: Complaints,
        traces: Traces,
    ) -> None:
        self._traces = traces
        self._store = store
        self._broker = broker
        self._pipeline = pipeline
        self._clock = clock
        self._routes = routes
        self._outage = outage
        self._complaints = complaints
        self._gathered: deque[Offer] = deque()
        self._committed: dict[SagaId, Saga] = {}
        self._arrived = asyncio.Event()
        self._in_hand: dict[Fence, float] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()
        self._is_doubtful = False

    def offer(self, offers: Iterable[Offer]) -> None:
        """Take dispatches to publish; too many are left to the relay."""
        since = self._clock.monotonic()
        for offer in offers:
            if len(self._gathered) >= GATHERED_MAX:
                break
            self._gathered.append(offer)
            self._in_hand.setdefault(offer.fence, since)
        if self._gathered:
            self._idle.clear()
            self._busy.set()
            self._arrived.set()

    def notice(self, decisions: Sequence[Decision]) -> None:
        """Take what a commit dispatched, with the snapshots that it is made of."""
        self.offer(
            Offer(sent.fence, resend=entry.kind is HistoryKind.STEP_RESENT, is_new=True)
            for decision in decisions
            for entry in decision.history
            for sent in entry.sent
        )
        for decision in decisions:
            saga = decision.saga
            if saga is None:
                continue
            # Of what was left to the relay nothing is kept: that may go on for hours.
            is_taken = any(one.fence in self._in_hand for one in decision.dispatches)
            if is_taken or saga.id in self._committed:
                self._committed[saga.id] = saga

    @property
    def is_full(self) -> bool:
        """Whether the relay should leave rows where they are."""
        if self._is_doubtful:
            return bool(self._in_hand)
        return len(self._gathered) > GATHERED_MAX // 2

    @property
    def room(self) -> int:
        """How many rows the relay may claim now.

        One where nothing of the last batch was heard of: a replica that is cut
        off from the broker must not keep rows from those that are not.
        """
        return 1 if self._is_doubtful else ROWS_MAX

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
            self._committed.clear()  # also of what was left to the relay
            self._busy.clear()
            self._idle.set()

    async def keep_claims(self) -> None:
        """Keep the claims of what a slow broker holds up, for ever."""
        half = LEASE.total_seconds() / 2
        while True:
            await self._busy.wait()
            await self._clock.sleep(half / 2)
            now = self._clock.monotonic()
            late = [f for f, since in self._in_hand.items() if now - since >= half / 2]
            missed = await self._extend(late)
            if missed and self._in_hand:  # who holds nothing misses nothing
                self._outage.begins("claims", missed)
            else:
                self._outage.ends("claims")

    async def _extend(self, fences: list[Fence]) -> StoreError | None:
        """Keep claims; return why they could not be kept."""
        for start in range(0, len(fences), BATCH_MAX):
            try:
                await self._store.extend(fences[start : start + BATCH_MAX], LEASE)
            except StoreError as error:
                return error
        return None

    async def _publish(self, batch: list[Offer]) -> None:
        """Publish a batch; where it cannot be loaded, find out which it is."""
        try:
            await self._attempt({offer.fence: offer for offer in batch})
        except StoreError as error:
            if error.retryable:
                _log.warning("left to the relay", count=len(batch), error=str(error))
            elif len(batch) > 1:
                for offer in batch:
                    await self._publish([offer])
            elif isinstance(error, NewerDataError):
                # Shown, but not for long: a newer release must get hold of it.
                await self._defer(batch, str(error), PAUSE_FIRST)
            else:
                await self._put_off(batch, str(error))
        finally:
            for offer in batch:
                self._in_hand.pop(offer.fence, None)

    async def _attempt(self, offers: dict[Fence, Offer]) -> None:
        commands = await self._traces.mark(await self._commands(list(offers.values())))
        frames = [frame for frame in pack(commands) if self._fits(frame)]
        messages = [
            OutgoingMessage(frame.routing_key, frame.body, COMMANDS) for frame in frames
        ]
        receipts = await self._send(frames, messages) if messages else []
        confirmed: list[Fence] = []
        returned: list[Frame] = []
        for frame, receipt in zip(frames, receipts, strict=True):
            if receipt is Receipt.UNKNOWN:
                key = frame.routing_key
                self._complaints.note(key, unconfirmed(f"{key}: commands"))
                metrics.UNCONFIRMED.inc()
                continue
            self._complaints.clear(frame.routing_key)
            if receipt is Receipt.CONFIRMED:
                confirmed.extend(frame.fences)
            else:
                returned.append(frame)
        if receipts:
            self._is_doubtful = set(receipts) == {Receipt.UNKNOWN}
        if confirmed:
            self._pipeline.settle(confirmed)
        for frame in returned:
            action = frame.routing_key.partition(".")[2]
            metrics.UNROUTABLE.labels(*ACTIONS.label(action)).inc(len(frame.fences))
            unrouted = [offers[fence] for fence in frame.fences]
            await self._put_off(unrouted, f"{NO_SERVICE}{action}")

    async def _send(
        self, frames: list[Frame], messages: list[OutgoingMessage]
    ) -> list[Receipt]:
        begun = self._clock.monotonic()
        receipts = await self._broker.publish(messages)
        metrics.PUBLISH_DURATION.observe(self._clock.monotonic() - begun)
        for frame in frames:
            metrics.FRAME_COMMANDS.observe(len(frame.fences))
        return receipts

    async def _commands(self, offers: list[Offer]) -> list[Command]:
        """Build what is still awaited; settle what is not.

        What cannot be built is not settled here: its failure may yet have to wait
        for its commit. Once that is through, the relay finds it obsolete.
        """
        fences = [offer.fence for offer in offers]
        old = {offer.fence.saga_id for offer in offers if not offer.is_new}
        committed = {
            saga_id: self._committed.pop(saga_id)
            for saga_id in {fence.saga_id for fence in fences} - old
            if saga_id in self._committed
        }
        loaded = await self._store.load_dispatches(fences, committed)
        commands: list[Command] = []
        obsolete: list[Fence] = []
        queued: dict[str, bool] = {}
        for offer, found in zip(offers, loaded, strict=True):
            if found is None:
                obsolete.append(offer.fence)
                continue
            command = self._command(offer.fence, *found)
            if command is None:
                continue
            if offer.resend and await self._is_queued(command.routing_key, queued):
                await self._put_off([offer], QUEUED)
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
        problem = excess(frame.body)
        for fence in frame.fences if problem else ():
            self._fail(
                fence,
                f"command: with its context and outputs it {problem}; "
                "pass references instead",
            )
        return not problem

    async def _is_queued(self, routing_key: str, known: dict[str, bool]) -> bool:
        if routing_key not in known:
            known[routing_key] = await self._routes.is_queued(routing_key)
        return known[routing_key]

    def _fail(self, fence: Fence, problem: str) -> None:
        self._pipeline.post(unsendable(fence, problem))

    async def _put_off(self, offers: list[Offer], reason: str) -> None:
        """Leave rows in the outbox, with the reason, for the relay to try later."""
        attempts = max(offer.attempts for offer in offers)
        delay = min(PAUSE_FIRST * (1 << min(attempts, 10)), PAUSE_LAST)
        await self._defer(offers, reason, delay)

    async def _defer(
        self, offers: list[Offer], reason: str, delay: dt.timedelta
    ) -> None:
        try:
            await self._store.defer([offer.fence for offer in offers], reason, delay)
        except StoreError as error:
            _log.warning("reason not noted", reason=reason, error=str(error))
        else:
            fences = [offer.fence.text for offer in offers[:FENCES_TOLD]]
            _log.warning("put off", reason=reason, count=len(offers), commands=fences)
