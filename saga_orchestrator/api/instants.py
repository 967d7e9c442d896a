"""Instants as people and programs write them: ISO 8601 with a time zone."""

from __future__ import annotations

import datetime as dt

EXAMPLE = "2026-11-29T14:30Z"


def parse_instant(text: str, more: str = "") -> dt.datetime:
    """Return an instant, in UTC.

    Args:
        text: what was written.
        more: what else there is to say to who wrote none.

    Raises:
        ValueError: it is none; says what to write.
    """
    try:
        at = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no instant; write {EXAMPLE}{more}") from None
    if at.utcoffset() is None:
        example = f"{at.isoformat(timespec='minutes')}Z"
        raise ValueError(
            f"{text!r} has no time zone; write {example} for UTC, or an offset as "
            "+01:00"
        )
    try:
        return at.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is no instant of the years 1 to 9999") from None
