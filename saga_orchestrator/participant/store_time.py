"""What a participant can know of the store's clock, without asking it.

Limits are instants of the store's clock, and a participant's own may be wrong by an
hour. What it gets tells it something, though: each command carries an instant that
the store's clock had passed when it was sent. So that clock *cannot be before* the
latest of these, plus what the participant has measured since. And what comes as the
consequence of an answer was sent after that answer, so the store's clock *cannot be
after* its instant plus the time since the answer.

Between the two bounds the participant's own clock has the word. If that says that a
command is late, nothing is run and no attempt is used: the command is put off, and
if it was not late it comes again, and tells the second bound.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.ports.clock import Clock

PERIOD_SECONDS = 600.0
"""What was learned counts for one to two of these: clocks drift, and step."""

PUT_OFF = dt.timedelta(seconds=2)
REMEMBERED_MAX = 1000


class StoreTime:
    """Bounds of the store's clock, as offsets to the process's monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._not_before = _Bound(max)
        self._not_after = _Bound(min)
        self._put_off: dict[str, tuple[int, float]] = {}

    def hear(self, command: Command) -> None:
        """Learn from a command that has just arrived."""
        if command.as_of is None:
            return
        now, told = self._clock.monotonic(), command.as_of.timestamp()
        self._not_before.note(told - now, now)
        if not self._put_off:
            return
        generation, answered = self._put_off.get(_place(command.fence), (0, 0.0))
        if 0 < generation < command.fence.generation:
            del self._put_off[_place(command.fence)]
            self._not_after.note(told - answered, now)

    def is_late(self, command: Command) -> bool:
        """Tell whether a command is past its limit, or may be and had better wait."""
        now, limit = self._clock.monotonic(), command.expires_at.timestamp()
        not_before, not_after = self._not_before.at(now), self._not_after.at(now)
        if not_before is not None and now + not_before >= limit:
            return True
        if not_after is not None and now + not_after < limit:
            return False
        return self._clock.now() >= command.expires_at

    def put_off(self, command: Command) -> Reply:
        """Return the answer for a late command; the store's clock judges it.

        Past the limit the step has ended by it, and nobody waits for this answer.
        """
        if len(self._put_off) >= REMEMBERED_MAX:
            del self._put_off[next(iter(self._put_off))]
        fence = command.fence
        self._put_off[_place(fence)] = (fence.generation, self._clock.monotonic())
        return Reply(
            fence,
            command.token,
            Answer.RETRY_LATER,
            error="not begun: as far as its worker can tell it came after its limit,"
            f" {command.expires_at.isoformat()}",
            delay=PUT_OFF,
        )


class _Bound:
    """The best offset of this period and the one before."""

    def __init__(self, best: Callable[[float, float], float]) -> None:
        self._best = best
        self._since = 0.0
        self._current: float | None = None
        self._previous: float | None = None

    def note(self, offset: float, now: float) -> None:
        """Take an offset into account."""
        self._turn(now)
        current = self._current
        self._current = offset if current is None else self._best(current, offset)

    def at(self, now: float) -> float | None:
        """Return the bound; None: nothing is known."""
        self._turn(now)
        if self._current is None or self._previous is None:
            return self._previous if self._current is None else self._current
        return self._best(self._current, self._previous)

    def _turn(self, now: float) -> None:
        if now - self._since < PERIOD_SECONDS:
            return
        fresh = now - self._since < 2 * PERIOD_SECONDS
        self._previous = self._current if fresh else None
        self._current, self._since = None, now


def _place(fence: Fence) -> str:
    return f"{fence.saga_id}:{fence.step}:{fence.direction}"
