"""Parking: messages that can never be processed are kept for a person.

They go to ``saga.dead``, unchanged, with the reason and the queue they came
from in their headers. Nobody consumes that queue.

The headers that a message had are kept as text, in one header. Under their own
names they would speak to the broker again: ``CC`` names more queues, and an
``x-death`` of the wrong type closes the channel.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

import structlog

from saga_orchestrator.ports.broker import Broker, Delivery, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.complaints import Complaints, unconfirmed
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import QUEUES

REASON_HEADER = "saga-reason"
QUEUE_HEADER = "saga-queue"
HEADERS_HEADER = "saga-headers"
"""The headers that the message had, as a JSON object; absent where it had none."""

REASON_CHARS_MAX = 500
HEADERS_MAX = 32
HEADER_CHARS_MAX = 500
"""A header whose text is longer is cut, and is then a text.

All of them together must fit into one frame of AMQP, which is 128 KiB.
"""

_log = structlog.get_logger("saga.parking")


class Parking:
    """Moves deliveries to the dead letters, never losing one."""

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
        self._clock = clock
        self._rng = rng
        self._complaints = complaints
        self.parked = 0

    async def park(self, delivery: Delivery, source: str, reason: str) -> None:
        """Publish the message to the dead letters; acknowledge it when confirmed."""
        await self.set_aside(delivery.body, delivery, source, reason)
        await delivery.ack()

    async def set_aside(
        self, body: bytes, delivery: Delivery, source: str, reason: str
    ) -> None:
        """Publish a part of a message to the dead letters; return when confirmed."""
        message = OutgoingMessage(
            self._queue,
            body,
            delivery.kind,
            exchange="",
            headers={
                REASON_HEADER: reason[:REASON_CHARS_MAX],
                QUEUE_HEADER: source,
                **_kept(delivery.headers),
            },
        )
        backoff = Backoff(self._rng)
        while (await self._broker.publish([message])) != [Receipt.CONFIRMED]:
            self._complaints.note(
                self._queue, unconfirmed(f"{self._queue}: dead letter")
            )
            await self._clock.sleep(backoff.next())
        self._complaints.clear(self._queue)
        self.parked += 1
        metrics.PARKED.labels(*QUEUES.label(source)).inc()
        _log.error("message set aside", queue=source, reason=reason)


def _kept(headers: Mapping[str, object]) -> dict[str, str | int]:
    """Return one header that holds the others, within bounds; the broker's first."""
    if not headers:
        return {}
    items = sorted(headers.items(), key=lambda item: not str(item[0]).startswith("x-"))
    kept = {str(name): _bounded(value) for name, value in items[:HEADERS_MAX]}
    if len(items) > HEADERS_MAX:
        kept["and more"] = len(items) - HEADERS_MAX
    return {HEADERS_HEADER: json.dumps(kept)}


def _bounded(value: object) -> object:
    """Return a header's value if it may be kept as it is, else its text, cut."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError):  # odd keys, or nested too deep
        return f"({type(value).__name__} that cannot be shown)"
    return (
        json.loads(text) if len(text) <= HEADER_CHARS_MAX else text[:HEADER_CHARS_MAX]
    )
