"""The intake: answers and dead letters that come in over the broker.

``saga.replies`` holds the answers of participants in other processes, and
``saga.undelivered`` what passed the broker's delivery limit. Whatever cannot
be read, or was not asked for, is set aside with its reason and changes nothing.
What is about a saga that only a newer release can read is left to that release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from saga_orchestrator.core.commands import Command, Reply, event_of, key_of
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Answered, StepFailed, StepSucceeded
from saga_orchestrator.core.fence import Fence, is_genuine
from saga_orchestrator.core.payload import normalise
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.waiting import UNDELIVERABLE
from saga_orchestrator.errors import (
    ForgedReplyError,
    MalformedMessageError,
    MessageError,
    NewerDataError,
    PayloadError,
    SagaError,
)
from saga_orchestrator.ports.broker import (
    Broker,
    Consumer,
    Delivery,
    OutgoingMessage,
    QueueSpec,
    Receipt,
)
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.complaints import Complaints
from saga_orchestrator.runtime.parking import Parking
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.runtime.sinks import committed
from saga_orchestrator.wire.envelope import COMMANDS, read_commands, read_replies
from saga_orchestrator.wire.topology import Topology

PREFETCH = 64
HEADER_CHARS_MAX = 300
"""Of a header that is repeated; a queue's name has 255 bytes at most."""

DROPS_SECONDS = 600.0
"""How long a queue that has dropped a message is told of."""

_LIMITS = ("expired", "maxlen")
"""Reasons for a dead letter that come from a limit which we never set."""
NEWER_SECONDS = 1.0
"""The pause before an answer is put back that a newer release has to take."""

_Reader = Callable[[Delivery], list[Answered | MessageError]]


class Intake:
    """Feeds the pipeline from the orchestrator's own queues."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        pipeline: CommitPipeline,
        parking: Parking,
        routes: Routes,
        topology: Topology,
        complaints: Complaints,
        clock: Clock,
    ) -> None:
        self._broker = broker
        self._store = store
        self._pipeline = pipeline
        self._parking = parking
        self._routes = routes
        self._topology = topology
        self._complaints = complaints
        self._clock = clock
        self._consumers: list[Consumer] = []
        self._in_hand = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(self) -> None:
        """Declare and consume both queues."""
        names = self._topology
        replies = QueueSpec(names.replies, dead_letter=names.dead)
        undelivered = QueueSpec(names.undelivered)
        self._consumers = [
            await self._broker.consume(replies, self._on_replies, prefetch=PREFETCH),
            await self._broker.consume(
                undelivered, self._on_undelivered, prefetch=PREFETCH
            ),
        ]

    async def stop(self) -> None:
        """Take nothing new."""
        for consumer in self._consumers:
            await consumer.cancel()

    async def drained(self) -> None:
        """Wait until every delivery in hand is settled."""
        await self._empty.wait()

    async def _on_replies(self, delivery: Delivery) -> None:
        await self._take(delivery, self._topology.replies, self._events_of_replies)

    async def _on_undelivered(self, delivery: Delivery) -> None:
        await self._take(
            delivery, self._topology.undelivered, self._events_of_undelivered
        )

    async def _take(self, delivery: Delivery, queue: str, read: _Reader) -> None:
        self._in_hand += 1
        self._empty.clear()
        try:
            problems = await self._commit_all(read(delivery))
        except MessageError as error:
            problems = [error]
        try:
            if any(isinstance(problem, NewerDataError) for problem in problems):
                await self._put_back(delivery, queue)
            elif problems:
                await self._parking.park(delivery, queue, str(problems[0]))
            else:
                await delivery.ack()
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._empty.set()

    async def _put_back(self, delivery: Delivery, queue: str) -> None:
        """Put a message back, as new: a delivery would count towards its limit."""
        await self._clock.sleep(NEWER_SECONDS)
        message = OutgoingMessage(
            queue, delivery.body, delivery.kind, exchange="", headers=_death(delivery)
        )
        if await self._broker.publish([message]) == [Receipt.CONFIRMED]:
            await delivery.ack()
        else:
            await delivery.requeue()

    async def _commit_all(
        self, items: Sequence[Answered | MessageError]
    ) -> list[SagaError]:
        """Commit each answer by itself; return what was wrong with some."""
        problems: list[SagaError] = [
            item for item in items if isinstance(item, MessageError)
        ]
        events = [item for item in items if not isinstance(item, MessageError)]
        # All at once, so that they share a commit.
        handed = [(event, self._pipeline.enqueue(event)) for event in events]
        try:
            for event, future in handed:
                if found := await self._committed(event, future):
                    problems.append(found)
        except asyncio.CancelledError:
            for _, future in handed:
                future.cancel()
            raise
        return problems

    async def _committed(
        self, event: Answered, future: asyncio.Future[Decision]
    ) -> SagaError | None:
        """Wait for an answer's commit; return why it could not be taken, or nothing."""
        try:
            decision = await committed(self._pipeline, event, future)
        except NewerDataError as error:
            return error
        except Exception as error:  # noqa: BLE001 - it must not stop its neighbours
            return MessageError(f"{event.fence.text}: {error}")
        saga = decision.saga
        if saga is None:
            return MessageError(f"saga_id: there is no saga {event.saga_id}")
        if isinstance(event, StepSucceeded) and event.answered_by:
            self._learn(saga, event.fence, event.answered_by)
        return None

    def _learn(self, saga: Saga, fence: Fence, queue: str) -> None:
        """Note which queue an action is served from."""
        number = saga.plan.number.get(fence.step)
        if number is not None:
            self._routes.learn(key_of(saga.plan.steps[number], fence.direction), queue)

    def _events_of_replies(self, delivery: Delivery) -> list[Answered | MessageError]:
        return [self._checked(reply) for reply in read_replies(delivery.body)]

    def _checked(self, reply: Reply) -> Answered | MessageError:
        if not is_genuine(self._store.secret, reply.fence, reply.token):
            return ForgedReplyError(
                f"reply: token: was not issued for {reply.fence.text}"
            )
        self._routes.answered(reply.fence, reply.answered_by)
        try:
            normalise(reply.output, "reply.output")
            normalise(reply.update, "reply.update")
        except PayloadError as error:
            return MalformedMessageError(f"{reply.fence.text}: {error}")
        return event_of(reply)

    def _events_of_undelivered(
        self, delivery: Delivery
    ) -> list[Answered | MessageError]:
        """Settle the commands of a dead letter as unknown; nobody answered them."""
        self._look_for_limits(delivery.headers)
        if delivery.kind != COMMANDS:
            raise MessageError(f"not a command: {_why(delivery.headers)}")
        why = _why(delivery.headers)
        return [self._unknown(command, why) for command in read_commands(delivery.body)]

    def _look_for_limits(self, headers: Mapping[str, object]) -> None:
        """Complain of a queue that drops what it took.

        Policies cannot be seen over AMQP; this is what shows that there is one.
        """
        if headers.get("x-first-death-reason") in _LIMITS:
            queue = str(headers.get("x-first-death-queue"))[:255]
            self._complaints.note(
                f"{queue}: drops",
                f"queue {queue!r} drops messages ({_why(headers)}): take the TTL or "
                "length limit off its policy (rabbitmqctl list_policies)",
                DROPS_SECONDS,
            )

    def _unknown(self, command: Command, why: str) -> Answered | MessageError:
        key = command.routing_key
        if not is_genuine(self._store.secret, command.fence, command.token):
            return ForgedReplyError(f"{key}: token: was not issued by this store")
        return StepFailed(
            command.fence,
            refused=False,
            error_type=UNDELIVERABLE,
            error=f"{key} was dead-lettered: {why}",
            retryable=False,
        )


def _death(delivery: Delivery) -> dict[str, str]:
    """Return the headers that say why a message is a dead letter."""
    names = ("x-first-death-reason", "x-first-death-queue")
    found = {name: delivery.headers.get(name) for name in names}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _why(headers: Mapping[str, object]) -> str:
    reason = _word(headers, "x-first-death-reason", "unknown reason")
    queue = _word(headers, "x-first-death-queue", "unknown queue")
    return f"{reason} in {queue}"


def _word(headers: Mapping[str, object], name: str, otherwise: str) -> str:
    """Return a header's text; anybody may have written it, and of any kind."""
    value = headers.get(name)
    if not isinstance(value, str):
        return otherwise
    return "".join(filter(str.isprintable, value[:HEADER_CHARS_MAX])) or otherwise
