"""Durations as people write them: ``90s``, ``10m``, ``1h``, ``30d``."""

from __future__ import annotations

import datetime as dt
import re

_TEXT = re.compile(r"(\d{1,9})\s*([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = dt.timedelta(days=36_500)


def parse_duration(text: str) -> dt.timedelta:
    """Return a duration.

    Raises:
        ValueError: it is none, or is longer than 100 years; says what one looks like.
    """
    found = _TEXT.match(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration; write 90s, 10m, 1h or 30d")
    duration = dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    if duration > _LONGEST:
        raise ValueError(f"{text!r} is longer than 100 years")
    return duration


def parse_positive(text: str) -> dt.timedelta:
    """Return a duration that is not zero.

    Raises:
        ValueError: as ``parse_duration``, or it is zero.
    """
    duration = parse_duration(text)
    if not duration:
        raise ValueError(f"{text!r} is no time at all; write 90s, 10m, 1h or 30d")
    return duration
