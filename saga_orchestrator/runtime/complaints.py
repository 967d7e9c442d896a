"""Complaints: what went wrong lately, shown until it has passed.

A loop that tries again does not raise, so nobody would hear of it. It notes
under a name what it could not do, and clears the name when it could.
"""

from __future__ import annotations

from saga_orchestrator.ports.clock import Clock

RECENT_SECONDS = 20.0
"""What was not noted again for so long has passed: a publish that is tried again
takes ten seconds at most, after a claim of five."""
NAMES_MAX = 20
"""Names that are shown; more are counted as one."""


class Complaints:
    """Problems by name, each with the time until which it is shown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: dict[str, tuple[str, float]] = {}

    def note(self, name: str, text: str, seconds: float = RECENT_SECONDS) -> None:
        """Note a problem; it is shown for so long, or until it is cleared."""
        now = self._clock.monotonic()
        for old in [n for n, (_, until) in self._noted.items() if until < now]:
            del self._noted[old]
        self._noted[name] = (text, now + seconds)

    def clear(self, name: str) -> None:
        """Forget a problem: what failed has worked."""
        self._noted.pop(name, None)

    def problems(self) -> list[str]:
        """Name what was noted lately, and not cleared."""
        now = self._clock.monotonic()
        recent = [text for text, until in self._noted.values() if until >= now]
        if len(recent) > NAMES_MAX:
            rest = len(recent) - NAMES_MAX
            recent = [*recent[:NAMES_MAX], f"and {rest} more of this kind"]
        return recent


def unconfirmed(what: str) -> str:
    """Return the text for what the broker does not confirm."""
    return (
        f"{what} not confirmed: the broker is silent or forbids it, or a queue takes "
        "nothing (it is full, or has lost its majority)"
    )
