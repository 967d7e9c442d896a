"""The intake: answers and dead letters that come in over the broker.

``saga.replies`` holds the answers of participants in other processes, and
``saga.undelivered`` what passed the broker's delivery limit. Whatever cannot
be read, or was not asked for, is set aside with its reason and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from saga_orchestrator.core.commands import event_of, key_of, routing_key
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event, StepFailed, StepSucceeded
from saga_orchestrator.core.fence import is_genuine
from saga_orchestrator.errors import ForgedReplyError, MessageError, StoreDataError
from saga_orchestrator.ports.broker import Broker, Consumer, Delivery, QueueSpec
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.parking import Parking
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.wire.envelope import COMMANDS, read_commands, read_replies
from saga_orchestrator.wire.topology import Topology

PREFETCH = 64

_Reader = Callable[[Delivery], list[Event]]

_log = structlog.get_logger("saga.intake")


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
    ) -> None:
        self._broker = broker
        self._store = store
        self._pipeline = pipeline
        self._parking = parking
        self._routes = routes
        self._topology = topology
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
            events = read(delivery)
            decisions = await self._submit(events)
            _check_known(decisions)
            self._learn(events, decisions)
        except (MessageError, StoreDataError) as error:
            await self._parking.park(delivery, queue, str(error))
        else:
            await delivery.ack()
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._empty.set()

    def _learn(self, events: Sequence[Event], decisions: Sequence[Decision]) -> None:
        """Note which queue an action is served from."""
        for event, decision in zip(events, decisions, strict=True):
            if not isinstance(event, StepSucceeded) or not event.answered_by:
                continue
            saga, fence = decision.saga, event.fence
            if saga is not None and fence.step in saga.plan.number:
                step = saga.plan.steps[saga.plan.number[fence.step]]
                self._routes.learn(key_of(step, fence.direction), event.answered_by)

    async def _submit(self, events: Sequence[Event]) -> list[Decision]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._pipeline.submit(e)) for e in events]
        return [task.result() for task in tasks]

    def _events_of_replies(self, delivery: Delivery) -> list[Event]:
        replies = read_replies(delivery.body)
        for reply in replies:
            if not is_genuine(self._store.secret, reply.fence, reply.token):
                raise ForgedReplyError(
                    f"reply: token: was not issued for {reply.fence.text}"
                )
            self._routes.answered(reply.fence, reply.answered_by)
        return [event_of(reply) for reply in replies]

    def _events_of_undelivered(self, delivery: Delivery) -> list[Event]:
        """Settle the commands of a dead letter as unknown; nobody answered them."""
        if delivery.kind != COMMANDS:
            raise MessageError(f"not a command: {_why(delivery.headers)}")
        events: list[Event] = []
        for command in read_commands(delivery.body):
            key = routing_key(command.fence.direction, command.action)
            if not is_genuine(self._store.secret, command.fence, command.token):
                raise ForgedReplyError(f"{key}: token: was not issued by this store")
            events.append(
                StepFailed(
                    command.fence,
                    refused=False,
                    error_type="Undeliverable",
                    error=f"{key} was dead-lettered: {_why(delivery.headers)}",
                    retryable=False,
                )
            )
        return events


def _check_known(decisions: Sequence[Decision]) -> None:
    for decision in decisions:
        if decision.saga is None and decision.ignored is not None:
            fence = decision.ignored.fence
            raise MessageError(f"saga_id: there is no saga {fence.saga_id}")


def _why(headers: Mapping[str, object]) -> str:
    reason = headers.get("x-first-death-reason", "unknown reason")
    queue = headers.get("x-first-death-queue", "unknown queue")
    return f"{reason} in {queue}"
