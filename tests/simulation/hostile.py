"""A hostile participant: it repeats, contradicts, forges and babbles.

It has what a participant has: the commands of its queue, with their tokens. So
it may lie about them, and the ledger then calls these steps doubtful; what it
says without a token must change nothing.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.broker import OutgoingMessage
from saga_orchestrator.wire.envelope import COMMANDS, REPLIES
from saga_orchestrator.wire.frame import pack_replies
from tests.simulation.scenario import seconds

if TYPE_CHECKING:
    from tests.simulation.world import World

FORGED = "forged"
"""What a forged success would write; the judge looks for it."""

_BABBLE = (
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"[]",
    b'{"v":1}',
    b'{"v":2,"replies":[]}',
    b'{"v":1,"replies":[{"saga_id":"x"}]}',
    b'{"v":1,"replies":[],"n":1e999}',
    b"[" * 2000,
    b'{"v":1,"commands":[{"n":' + b"9" * 5000 + b"}]}",
)
_ACTION_LIES = (
    Answer.REFUSED, Answer.UNKNOWN, Answer.SKIPPED, Answer.RETRY_LATER,
    Answer.ACCEPTED, Answer.HEARTBEAT,
)  # fmt: skip
_UNDO_LIES = (Answer.UNKNOWN, Answer.RETRY_LATER, Answer.HEARTBEAT)


class Hostile:
    """Acts when the world says so."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self.babbled: set[bytes] = set()

    async def replay(self) -> bool:
        """Send an answer again that was sent before, however long ago."""
        if not self._world.wire.replies:
            return False
        await self._send(self._rng.choice(self._world.wire.replies))
        return True

    async def contradict(self) -> bool:
        """Say something else about a command that it was given."""
        if not self._world.wire.commands:
            return False
        item = self._rng.choice(self._world.wire.commands[-6:])
        undo = item.fence.direction is Direction.COMPENSATION
        answer = self._rng.choice(_UNDO_LIES if undo else _ACTION_LIES)
        if not undo:
            self._world.run.ledger.doubtful.add(self._world.owner(item.fence))
        await self._reply(
            Reply(
                item.fence,
                item.token,
                answer,
                error="a lie",
                delay=seconds(self._rng.random() * 5),
                # Else only the limit ends the wait, after a day at the latest.
                heartbeat=True,
            )
        )
        return True

    async def forge(self) -> bool:
        """Answer without a token, with another's, or for a saga that is not there."""
        commands = self._world.wire.commands
        if not commands:
            return False
        item, other = self._rng.choice(commands), self._rng.choice(commands)
        fence = self._rng.choice(
            (
                item.fence,
                Fence(other.fence.saga_id, item.fence.step, item.fence.direction, 9),
                Fence(SagaId("0" * 26), "s0", Direction.ACTION, 1),
                Fence(item.fence.saga_id, "no-step", Direction.ACTION, 1),
            )
        )
        token = self._rng.choice(("", "0" * 32, other.token))
        if fence == item.fence and token == item.token:
            token = "é" * 32
        await self._reply(Reply(fence, token, Answer.SUCCEEDED, output=FORGED))
        return True

    async def malformed(self) -> bool:
        """Publish what is no message, to the orchestrators or to a service."""
        body = self._rng.choice(_BABBLE)
        topology = self._world.topology
        queue, kind = self._rng.choice(
            (
                (topology.replies, REPLIES),
                (topology.undelivered, REPLIES),
                (topology.undelivered, COMMANDS),
                (topology.queue_for(Direction.ACTION, "far"), COMMANDS),
            )
        )
        if self._world.node.find(queue) is None:
            return False
        message = OutgoingMessage(queue, body, kind, exchange="")
        if await self._world.outside.publish(message):
            self.babbled.add(body)
        return True

    async def _reply(self, reply: Reply) -> None:
        await self._send(pack_replies([reply])[0])

    async def _send(self, body: bytes) -> None:
        queue = self._world.topology.replies
        await self._world.outside.publish(
            OutgoingMessage(queue, body, REPLIES, exchange="")
        )
