"""Those outside who answer deferred commands: late, twice over, or never."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from saga_orchestrator import StepContext
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.ports.broker import OutgoingMessage, Receipt
from saga_orchestrator.wire.envelope import REPLIES
from saga_orchestrator.wire.frame import pack_replies
from tests.simulation.process import Life, ProcessClock
from tests.simulation.seam import ProcessBroker

if TYPE_CHECKING:
    from tests.simulation.world import World

LATE_SECONDS = 40.0
_ATTEMPTS = 60


class Outside:
    """A process that nobody crashes; its broker connection has its faults."""

    def __init__(self, world: World) -> None:
        self._world = world
        life = Life()
        self._clock = ProcessClock(life)
        self._broker = ProcessBroker(world, life)

    async def open(self) -> None:
        """Connect."""
        await self._broker.open()

    def take(self, ctx: StepContext, rng: random.Random) -> None:
        """Take over a command, with what its answer must carry."""
        kinds = ("outside_refuse", "outside_never", "outside_silent")
        mood = self._world.weather.mood(rng, *kinds)
        if mood:
            self._world.weather.fired[mood] += 1
        self._world.spawn(self._work(ctx, rng, mood))

    async def publish(self, message: OutgoingMessage) -> bool:
        """Publish until it is confirmed, for a minute or two; tell whether it was."""
        for _ in range(_ATTEMPTS):
            if await self._broker.publish([message]) == [Receipt.CONFIRMED]:
                return True
            await self._clock.sleep(1)
        return False

    async def answer(self, reply: Reply) -> None:
        """Send an answer."""
        queue = self._world.topology.replies
        body = pack_replies([reply])[0]
        await self.publish(OutgoingMessage(queue, body, REPLIES, exchange=""))

    async def _work(self, ctx: StepContext, rng: random.Random, mood: str) -> None:
        calm = self._world.weather.is_calm
        await self._clock.sleep(rng.random() * (1 if calm else LATE_SECONDS))
        if mood == "outside_silent":
            await self.answer(Reply(ctx.fence, ctx.token, Answer.HEARTBEAT))
        if mood in ("outside_silent", "outside_never"):
            return
        ledger = self._world.run.ledger
        key = (ctx.saga_id, ctx.step)
        if mood == "outside_refuse" and not ledger.stands(key):
            ledger.decline(ctx)
            reply = Reply(ctx.fence, ctx.token, Answer.REFUSED, error="declined")
        elif ledger.is_buried(key):
            reply = Reply(ctx.fence, ctx.token, Answer.SUPERSEDED, effect=False)
        else:
            is_new = not ledger.stands(key)
            if is_new and ledger.has_declined(ctx):
                ledger.doubtful.add(key)
            output = ledger.effect(key)
            reply = Reply(
                ctx.fence, ctx.token, Answer.SUCCEEDED, output=output, effect=is_new
            )
        await self.answer(reply)
