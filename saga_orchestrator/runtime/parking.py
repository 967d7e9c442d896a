"""Parking: messages that can never be processed are kept for a person.

They go to ``saga.dead``, unchanged, with the reason and the queue they came
from in their headers. Nobody consumes that queue.
"""

from __future__ import annotations

import random

import structlog

from saga_orchestrator.ports.broker import Broker, Delivery, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.backoff import Backoff

REASON_HEADER = "saga-reason"
QUEUE_HEADER = "saga-queue"
REASON_CHARS_MAX = 500

_log = structlog.get_logger("saga.parking")


class Parking:
    """Moves deliveries to the dead letters, never losing one."""

    def __init__(
        self, broker: Broker, queue: str, clock: Clock, rng: random.Random
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._clock = clock
        self._rng = rng
        self.parked = 0

    async def park(self, delivery: Delivery, source: str, reason: str) -> None:
        """Publish the message to the dead letters; acknowledge it when confirmed."""
        message = OutgoingMessage(
            self._queue,
            delivery.body,
            delivery.kind,
            exchange="",
            headers={REASON_HEADER: reason[:REASON_CHARS_MAX], QUEUE_HEADER: source},
        )
        backoff = Backoff(self._rng)
        while (await self._broker.publish([message])) != [Receipt.CONFIRMED]:
            await self._clock.sleep(backoff.next())
        self.parked += 1
        _log.error("message set aside", queue=source, reason=reason)
        await delivery.ack()
