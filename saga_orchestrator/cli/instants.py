"""Instants as flags have them: ISO 8601 with a time zone, or ``1h``: so long ago."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import typer

from saga_orchestrator.api.instants import parse_instant
from saga_orchestrator.durations import parse_duration

_AGO = ", or 90s, 10m, 1h or 30d for so long ago"


@dataclass(frozen=True, slots=True)
class When:
    """An instant, or a time before now.

    Attributes:
        at: aware instant; None: it counts from now.
        ago: how long before now, where there is no ``at``.
    """

    at: dt.datetime | None
    ago: dt.timedelta = dt.timedelta(0)

    def instant(self, now: dt.datetime) -> dt.datetime:
        """Return the instant, seen from another one."""
        return now - self.ago if self.at is None else self.at


def parse_when(flag: str, text: str | None) -> When | None:
    """Read what a flag was given; None: it was not.

    Raises:
        typer.BadParameter: names the flag and the fix.
    """
    if text is None:
        return None
    try:
        return When(None, parse_duration(text))
    except ValueError:
        pass
    try:
        return When(parse_instant(text, _AGO))
    except ValueError as error:
        raise typer.BadParameter(f"{flag}: {error}") from error
