"""What a worker concludes about the store's clock, with its own an hour off."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec import structs

from saga_orchestrator.core.commands import Answer, Command
from saga_orchestrator.participant.store_time import PERIOD_SECONDS, StoreTime
from tests.support.participants import NOW, action

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
NONE = dt.timedelta(0)


class SkewedClock:
    """A worker's clock: off by ``skew``; ``true`` is the store's."""

    def __init__(self, skew: dt.timedelta) -> None:
        self.skew = skew
        self.true = NOW

    def now(self) -> dt.datetime:
        """Return what the worker believes."""
        return self.true + self.skew

    def monotonic(self) -> float:
        """Return seconds that no skew touches."""
        return (self.true - NOW).total_seconds() + 5000

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        raise AssertionError(seconds)


class Worker:
    """A worker's view: what was sent at one time and read at another."""

    def __init__(self, skew: dt.timedelta) -> None:
        self.clock = SkewedClock(skew)
        self.store_time = StoreTime(self.clock)

    def get(
        self,
        *,
        limit: dt.timedelta,
        queued: dt.timedelta = NONE,
        saga: str = "",
        generation: int = 1,
    ) -> Command:
        """Take a command off the queue; ``limit`` from now on, by the store's clock."""
        plain = action(saga_id=saga or "01J00000000000000000000001")
        command = structs.replace(
            plain,
            fence=structs.replace(plain.fence, generation=generation),
            expires_at=self.clock.true + limit,
            as_of=self.clock.true - queued,
        )
        self.store_time.hear(command)
        return command

    def calls_late(self, **how: object) -> bool:
        """Tell what the worker thinks of such a command."""
        return self.store_time.is_late(self.get(**how))  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("skew", [-HOUR, -MINUTE, NONE, MINUTE])
def test_what_is_in_time_is_in_time(skew: dt.timedelta) -> None:
    """A clock that is slow, right, or less fast than there is time left."""
    assert not Worker(skew).calls_late(limit=2 * MINUTE)


def test_a_right_clock_knows_what_is_late() -> None:
    """However long the command was in its queue."""
    worker = Worker(NONE)
    assert worker.calls_late(limit=-MINUTE, queued=HOUR)
    assert worker.calls_late(limit=NONE, queued=HOUR)


def test_a_slow_clock_learns_from_what_was_sent_later() -> None:
    """An undo that was sent after the action's limit shows that it has passed."""
    worker = Worker(-HOUR)
    late = worker.get(limit=-MINUTE, queued=HOUR)
    worker.get(limit=24 * HOUR, saga="02J00000000000000000000001")
    assert worker.store_time.is_late(late)


def test_a_fast_clock_puts_off_once_and_then_knows() -> None:
    """The dispatch that its own answer caused tells what the time cannot be after."""
    worker = Worker(HOUR)
    command = worker.get(limit=10 * MINUTE)
    assert worker.store_time.is_late(command)
    reply = worker.store_time.put_off(command)
    assert (reply.answer, reply.fence) == (Answer.RETRY_LATER, command.fence)
    worker.clock.true += dt.timedelta(seconds=3)
    assert not worker.calls_late(limit=9 * MINUTE, generation=2)
    assert not worker.calls_late(limit=MINUTE, saga="02J00000000000000000000001")
    assert worker.calls_late(limit=-MINUTE)


def test_a_redelivery_is_no_consequence() -> None:
    """The same dispatch again may have been sent long before the answer."""
    worker = Worker(HOUR)
    command = worker.get(limit=10 * MINUTE)
    worker.store_time.put_off(command)
    assert worker.calls_late(limit=9 * MINUTE)


def test_what_was_learned_is_forgotten() -> None:
    """Clocks step and drift: after two periods only the worker's own counts."""
    worker = Worker(HOUR)
    worker.store_time.put_off(worker.get(limit=10 * MINUTE))
    worker.get(limit=9 * MINUTE, generation=2)
    worker.clock.true += dt.timedelta(seconds=PERIOD_SECONDS)
    assert not worker.calls_late(limit=9 * MINUTE)
    worker.clock.true += dt.timedelta(seconds=2 * PERIOD_SECONDS)
    assert worker.calls_late(limit=9 * MINUTE)


def test_a_sender_that_tells_no_instant() -> None:
    """Then the worker has nothing but its own clock."""
    worker = Worker(NONE)
    command = structs.replace(worker.get(limit=MINUTE), as_of=None)
    worker.store_time.hear(command)
    assert not worker.store_time.is_late(command)
    worker.clock.true += HOUR
    assert worker.store_time.is_late(command)
