"""Spells of bad weather: what happens at an instant of the storm, or for a while."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation.scenario import SERVICES

if TYPE_CHECKING:
    from tests.simulation.world import World

_HOSTILE = {"replay", "contradict", "forge", "malformed"}
_LASTING = {
    "store_away": 20.0,
    "row_locked": 20.0,
    "blocked": 30.0,
    "broker_away": 10.0,
    "unrouted": 40.0,
    "pause": 30.0,
}
"""The longest that a spell lasts, in seconds."""


class Spells:
    """Casts the spells of a storm, at the instants that the seed draws."""

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self, seconds: float) -> None:
        """Draw and await all spells of the storm."""
        for kind, count in self._world.weather.counts.items():
            for number in range(count):
                rng = self._world.rng(f"{kind} {number}")
                self._world.spawn(self._cast(kind, rng, rng.random() * seconds))

    async def _cast(self, kind: str, rng: random.Random, after: float) -> None:
        world = self._world
        await world.clock_sleep(after)
        if kind in _LASTING:
            until = world.clock.monotonic() + rng.random() ** 2 * _LASTING[kind]
            getattr(self, f"_{kind}")(until, rng)
            done = kind == "pause"  # others fire when somebody feels them
        elif kind == "cut":
            done = self._cut(rng)
        elif kind == "drain":
            done = await rng.choice(world.machines).drain()
        elif kind in _HOSTILE:
            done = await getattr(world.hostile, kind)()
        else:
            done = await world.operators.act(kind)
        if done:
            world.weather.fired[kind] += 1

    def _store_away(self, until: float, rng: random.Random) -> None:
        self._world.store_away_until = until

    def _row_locked(self, until: float, rng: random.Random) -> None:
        if self._world.books.sagas:
            saga_id = rng.choice(list(self._world.books.sagas))
            self._world.locks[saga_id] = until

    def _blocked(self, until: float, rng: random.Random) -> None:
        self._world.blocked_until = until

    def _broker_away(self, until: float, rng: random.Random) -> None:
        self._world.broker_away_until = until
        for machine in self._world.machines:
            if machine.broker is not None:
                machine.broker.cut_connection()

    def _unrouted(self, until: float, rng: random.Random) -> None:
        self._world.unrouted_until[rng.choice(SERVICES)] = until

    def _pause(self, until: float, rng: random.Random) -> None:
        rng.choice(self._world.machines).life.pause(until)

    def _cut(self, rng: random.Random) -> bool:
        broker = rng.choice(self._world.machines).broker
        if broker is None:
            return False
        broker.cut_connection()
        return True
