"""Names on the broker. All configurable, honoured everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from saga_orchestrator.core.states import Direction


@dataclass(frozen=True, slots=True)
class Topology:
    """The exchange and the queues of one installation.

    Undo has queues of its own, so that a forward backlog cannot starve a
    rollback. No queue binds a wildcard: an action belongs to one queue, and a
    command that no queue is bound for comes back as unroutable.

    Attributes:
        exchange: the durable topic exchange that commands go through.
        steps: the queue for actions; ``<steps>.<service>`` for a named one.
        compensate: the queue for compensations, likewise.
        replies: answers of participants outside the orchestrator's process.
        undelivered: where the broker puts commands and replies that passed the
            delivery limit; orchestrators consume it and settle the dispatch.
        events: the durable topic exchange that events for others go through.
        dead: messages that can never be processed, with the reason in the
            header ``saga-reason``; they stay for a person.
    """

    exchange: str = "sagas"
    steps: str = "saga.steps"
    compensate: str = "saga.compensate"
    replies: str = "saga.replies"
    undelivered: str = "saga.undelivered"
    dead: str = "saga.dead"
    events: str = "saga.events"

    @classmethod
    def of_run(cls, stem: str) -> Self:
        """Return names for one run of a program beside whatever else is there.

        The queues are its own. The exchange is the usual one: an engine relays all
        commands of its store, also those of other installations, and theirs must
        reach their queues.
        """
        return cls(
            steps=f"{stem}.steps",
            compensate=f"{stem}.compensate",
            replies=f"{stem}.replies",
            undelivered=f"{stem}.undelivered",
            dead=f"{stem}.dead",
        )

    def queue_for(self, direction: Direction, service: str) -> str:
        """Return the queue of a service's actions or compensations."""
        base = self.steps if direction is Direction.ACTION else self.compensate
        return f"{base}.{service}" if service else base
