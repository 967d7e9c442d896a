"""What goes back into its queue, each command in a message of its own."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from saga_orchestrator.ports.broker import Broker, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.wire.envelope import COMMANDS
from saga_orchestrator.wire.frame import split

QUARANTINE_HEADER = "saga-quarantine"
"""Marks a command that was split off a redelivered frame."""


class Returning:
    """Publishes commands into the queue that they came from."""

    def __init__(self, broker: Broker, clock: Clock, rng: random.Random) -> None:
        self._broker = broker
        self._clock = clock
        self._rng = rng

    async def as_suspects(self, body: bytes, queue: str) -> None:
        """Put back each command of a frame that came back, until all are there."""
        messages = _messages(split(body), queue, {QUARANTINE_HEADER: 1})
        backoff = Backoff(self._rng)
        while messages:
            receipts = await self._broker.publish(messages)
            pairs = zip(messages, receipts, strict=True)
            messages = [m for m, receipt in pairs if receipt is not Receipt.CONFIRMED]
            if messages:
                await self._clock.sleep(backoff.next())

    async def as_new(self, bodies: Sequence[bytes], queue: str) -> bool:
        """Put back commands that were not begun; tell whether all are there.

        One try: without a broker there is no acknowledgement either.
        """
        receipts = await self._broker.publish(_messages(bodies, queue, {}))
        return all(receipt is Receipt.CONFIRMED for receipt in receipts)


def _messages(
    bodies: Sequence[bytes], queue: str, headers: Mapping[str, str | int]
) -> list[OutgoingMessage]:
    return [
        OutgoingMessage(queue, body, COMMANDS, exchange="", headers=headers)
        for body in bodies
    ]
