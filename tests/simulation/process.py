"""A process that can crash: its handles hang for ever once it is dead.

Cancelling a process's tasks would run their ``finally`` blocks, and a killed
process runs none. So a dead process's tasks are left hanging at the next thing
that they ask of the world, and are cleared away after the judgement.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import random

from saga_orchestrator.errors import ConcurrencyError, StoreUnavailableError
from saga_orchestrator.testing.virtual_time import LoopClock


class Life:
    """Whether a process lives."""

    def __init__(self) -> None:
        self.is_over = False
        self._hanging: list[asyncio.Future[None]] = []

    async def check(self) -> None:
        """Return while the process lives; never again after its end."""
        if self.is_over:
            # Kept, for a task that nobody refers to would be collected.
            never = asyncio.get_running_loop().create_future()
            self._hanging.append(never)
            await never


class ProcessClock(LoopClock):
    """The world's time, as long as the process lives."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def sleep(self, seconds: float) -> None:
        """Sleep, if the process lives before and after."""
        await self._life.check()
        await super().sleep(seconds)
        await self._life.check()


class Weather:
    """How bad the world is now; calm in the second phase of a run.

    Attributes:
        rates: probabilities by the name of the fault, drawn once per seed.
        fired: how often each fault happened.
    """

    NAMES = (
        "store_before",
        "store_after",
        "copies",
        "lost_confirm",
        "lost_ack",
        "delay",
        "cut",
    )

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.is_calm = False
        self.rates = {name: rng.choice((0.0, 0.02, 0.1, 0.3)) for name in self.NAMES}
        self.rates["store_before"] = min(self.rates["store_before"], 0.1)
        self.rates["store_after"] = min(self.rates["store_after"], 0.1)
        self.fired = dict.fromkeys(self.NAMES, 0)

    def strikes(self, name: str) -> bool:
        """Draw whether a fault happens now."""
        if self.is_calm or self._rng.random() >= self.rates[name]:
            return False
        self.fired[name] += 1
        return True

    def seconds(self, most: float) -> float:
        """Draw a duration."""
        return self._rng.random() * most

    # -- what the in-process broker asks ----------------------------------

    def copies(self, message: object) -> int:
        """Duplicate a publish now and then."""
        del message
        return 2 if self.strikes("copies") else 1

    def loses_confirm(self, message: object) -> bool:
        """Leave a publisher without an answer now and then."""
        del message
        return self.strikes("lost_confirm")

    def delivery_delay(self, queue: str) -> float:
        """Delay each delivery a little, some much, which reorders them."""
        del queue
        return self.seconds(20.0) if self.strikes("delay") else self.seconds(0.01)

    def loses_ack(self, queue: str) -> bool:
        """Lose an acknowledgement now and then."""
        del queue
        return self.strikes("lost_ack")


class FencedStore:
    """A process's handle on the store: slow, unreliable, and dead with it."""

    def __init__(self, inner: object, life: Life, weather: Weather) -> None:
        self._inner = inner
        self._life = life
        self._weather = weather
        self._clock = ProcessClock(life)

    def __getattr__(self, name: str):
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def fenced(*args, **kwargs):
            await self._clock.sleep(self._weather.seconds(0.005))
            if name != "acquire_engine" and self._weather.strikes("store_before"):
                raise ConcurrencyError("simulated: nothing was written")
            result = await found(*args, **kwargs)
            await self._life.check()
            if name != "acquire_engine" and self._weather.strikes("store_after"):
                raise StoreUnavailableError("simulated: the answer was lost")
            return result

        return fenced


def instant(seconds: float) -> dt.timedelta:
    """Return a duration, for definitions."""
    return dt.timedelta(seconds=seconds)
