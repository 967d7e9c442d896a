"""The broker of a world, and what went over its connections.

S10: nothing goes out whose dispatch was not committed. S11: nothing is
acknowledged before the commit that applied it, or before its answer, its parts
or its dead letter were confirmed. What is set aside for people is no genuine
message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saga_orchestrator.brokers.memory.queues import MemoryNode, StoredMessage
from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.events import (
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
)
from saga_orchestrator.core.fence import Fence, is_genuine
from saga_orchestrator.ports.broker import Delivery, OutgoingMessage
from saga_orchestrator.wire.envelope import COMMANDS, REPLIES
from tests.simulation.messages import Item, items_of

if TYPE_CHECKING:
    from tests.simulation.world import World

_EVENTS = {
    Answer.SUCCEEDED: StepSucceeded,
    Answer.SKIPPED: StepSkipped,
    Answer.REFUSED: StepFailed,
    Answer.UNKNOWN: StepFailed,
    Answer.SUPERSEDED: StepFailed,
    Answer.RETRY_LATER: StepPostponed,
    Answer.ACCEPTED: StepAccepted,
    Answer.HEARTBEAT: StepHeartbeat,
}


class Node(MemoryNode):
    """The broker of a world; notes what it dead-letters."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def dead_letter(self, message: StoredMessage, queue: str, target: str) -> None:
        """Dead-letter; an answer that ends there is told to nobody."""
        self._world.weather.fired["dead_letter"] += 1
        self._world.wire.lose(message.body)
        super().dead_letter(message, queue, target)

    def wipe(self) -> None:
        """Lose everything, as an in-process broker does with its process."""
        for queue in self._queues.values():
            for message in queue.messages():
                self._world.wire.lose(message.body)
        self._queues.clear()
        self._bindings.clear()

    def backlog(self) -> dict[str, int]:
        """Count what is in the queues, those for people excepted."""
        for_people = self._world.topology.dead
        return {
            name: len(queue.messages())
            for name, queue in self._queues.items()
            if queue.messages() and name != for_people
        }


class Wire:
    """What went over the broker's connections, for the checks.

    Attributes:
        answered: dispatches with an answer that the broker has.
        parked: bodies that the broker has among the dead letters.
        commands: what was published, for those who would repeat it.
        replies: likewise.
        lost: bodies of which the broker lost, or dead-lettered, a copy.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.answered: set[Fence] = set()
        self.parked: set[bytes] = set()
        self.commands: list[Item] = []
        self.replies: list[bytes] = []
        self.lost: set[bytes] = set()
        self._split: set[Fence] = set()

    def check_publish(self, message: OutgoingMessage) -> None:
        """Hold a message that goes out to S10."""
        if message.kind != COMMANDS or message.exchange == "":
            return
        for item in items_of(message.body):
            if not self._world.books.was_sent(item.fence):
                self._world.accuse(f"S10: {item.fence.text} was not committed")

    def confirmed(self, message: OutgoingMessage) -> None:
        """Note a message that the broker has taken responsibility for."""
        if message.routing_key == self._world.topology.dead:
            self.parked.add(message.body)
            self._check_parked(message.body)
        elif message.kind == REPLIES:
            items = items_of(message.body)
            self.answered.update(item.fence for item in items)
            self.replies.append(message.body)
        elif message.kind == COMMANDS and message.exchange == "":
            self._split.update(item.fence for item in items_of(message.body))
        elif message.kind == COMMANDS:
            items = items_of(message.body)
            self._world.books.confirmed.update(item.fence for item in items)
            self.commands.extend(items)

    def _check_parked(self, body: bytes) -> None:
        """Hold what is set aside for people to being no genuine message."""
        secret, books = self._world.backend.secret, self._world.books
        items = items_of(body)
        if items and all(
            item.fence.saga_id in books.sagas
            and books.was_sent(item.fence)
            and is_genuine(secret, item.fence, item.token)
            for item in items
        ):
            self._world.accuse(f"F22: set aside, though genuine: {items[0].fence.text}")

    def check_ack(self, delivery: Delivery, queue: str) -> None:
        """Hold an acknowledgement to S11."""
        if delivery.body in self.parked:
            return
        books = self._world.books
        from_engine = queue in (
            self._world.topology.replies,
            self._world.topology.undelivered,
        )
        for item in items_of(delivery.body):
            fence = item.fence
            if delivery.kind == REPLIES:
                is_safe = (fence, _EVENTS[Answer(item.answer)]) in books.decided
                is_safe = is_safe or (fence, StepFailed) in books.decided
            elif from_engine:
                is_safe = (fence, StepFailed) in books.decided
            else:
                is_safe = (
                    fence in self.answered
                    or fence in self._split
                    or not books.is_awaited(fence)
                )
            if not is_safe:
                self._world.accuse(f"S11: {fence.text} acknowledged too early")

    def lose(self, body: bytes) -> None:
        """Note a message that nobody will see: the only witness of a success, maybe."""
        self.lost.add(body)
        for item in items_of(body):
            if item.answer == Answer.SUCCEEDED:
                self._world.run.ledger.doubtful.add(self._world.owner(item.fence))
