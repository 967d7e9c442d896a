"""Instants as people write them: ISO 8601 with a time zone, or ``1h``: so long ago."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import typer

from saga_orchestrator.durations import parse_duration


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
        at = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{flag}: {text!r} is no instant; write 2026-11-29T14:30Z, or 90s, 10m, 1h "
            "or 30d for so long ago"
        ) from None
    if at.utcoffset() is None:
        example = f"{at:%Y-%m-%dT%H:%M}Z"
        raise typer.BadParameter(
            f"{flag}: {text!r} has no time zone; write {example} for UTC, or an offset "
            "as +01:00"
        )
    try:
        return When(at.astimezone(dt.UTC))
    except OverflowError:
        raise typer.BadParameter(
            f"{flag}: {text!r} is no instant of the years 1 to 9999"
        ) from None
