"""What goes back into its queue, each command in a message of its own."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from saga_orchestrator.ports.broker import Broker, Delivery, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.wire.envelope import COMMANDS
from saga_orchestrator.wire.frame import split

QUARANTINE_HEADER = "saga-quarantine"
"""Marks a command that was split off a redelivered frame."""
_SUSPECT: Mapping[str, str | int] = {QUARANTINE_HEADER: 1}


class Received:
    """A message of commands, as it came.

    Attributes:
        body: the message's.
        queue: where it came from.
        is_suspect: it came before, or was split off one that did.
    """

    def __init__(self, delivery: Delivery, queue: str) -> None:
        self.body = delivery.body
        self.queue = queue
        self.is_suspect = delivery.redelivered or QUARANTINE_HEADER in delivery.headers
        self._parts: list[bytes] = []

    def part(self, place: int) -> bytes:
        """Return one of its commands as a message of its own."""
        self._parts = self._parts or split(self.body)
        return self._parts[place]


class Returning:
    """Publishes commands into the queue that they came from."""

    def __init__(self, broker: Broker, clock: Clock, rng: random.Random) -> None:
        self._broker = broker
        self._clock = clock
        self._rng = rng

    async def as_suspects(self, received: Received) -> None:
        """Put back each command of a frame that came back, until all are there."""
        messages = _messages(split(received.body), received.queue, _SUSPECT)
        backoff = Backoff(self._rng)
        while messages:
            receipts = await self._broker.publish(messages)
            pairs = zip(messages, receipts, strict=True)
            messages = [m for m, receipt in pairs if receipt is not Receipt.CONFIRMED]
            if messages:
                await self._clock.sleep(backoff.next())

    async def as_it_was(self, received: Received, places: Sequence[int]) -> bool:
        """Put back commands that were not begun; tell whether all are there.

        One try: without a broker there is no acknowledgement either.
        """
        headers = _SUSPECT if received.is_suspect else {}
        bodies = [received.part(place) for place in places]
        messages = _messages(bodies, received.queue, headers)
        receipts = await self._broker.publish(messages)
        return all(receipt is Receipt.CONFIRMED for receipt in receipts)


def _messages(
    bodies: Sequence[bytes], queue: str, headers: Mapping[str, str | int]
) -> list[OutgoingMessage]:
    return [
        OutgoingMessage(queue, body, COMMANDS, exchange="", headers=headers)
        for body in bodies
    ]
