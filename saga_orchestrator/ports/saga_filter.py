"""Which sagas a list shows, checked where it is asked for."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import encode
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import PayloadError

REASON_CHARS_MAX = 200
"""Of the part of a reason that is looked for."""

_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SMALL = str.maketrans(_CAPITALS, _CAPITALS.lower())


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """Which sagas to list; newest first. All that is given must hold.

    A page reads the list from its cursor on until it is full, so its cost is what it
    passes over. With a key, or with nothing but active states, an index leads to the
    rows, however many have ended. Everything else (a name, an instant, a text) is
    compared row by row: where it fits few among millions of ended sagas, add states,
    or expect a read of the whole table, which the store's time limit may end.

    Attributes:
        states: any of these; empty: all.
        name: the definition's name; None: any.
        key: the start key; None: any.
        created_from: created at this instant or later; None: whenever.
        created_to: created before this instant; None: whenever.
        updated_from: last changed at this instant or later; None: whenever.
        updated_to: last changed before this instant; None: whenever.
        text: a part of the reason, 1 to 200 characters as they are: there are no
            wildcards; capitals of a to z count as small ones. None: any reason.
        before: only ids below this one: the cursor of the next page.
        limit: rows at most.

    Raises:
        PayloadError: an instant, or a text that no database could hold; names it and
            the fix.
    """

    states: frozenset[SagaState] = field(default_factory=frozenset)
    name: str | None = None
    key: str | None = None
    before: SagaId | None = None
    limit: int = 100
    created_from: dt.datetime | None = None
    created_to: dt.datetime | None = None
    updated_from: dt.datetime | None = None
    updated_to: dt.datetime | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        for name in ("created_from", "created_to", "updated_from", "updated_to"):
            _check_instant(name, getattr(self, name))
        for name in ("name", "key"):
            encode(getattr(self, name), name)
        if self.text is not None:
            _check_text(self.text)


def plain(text: str) -> str:
    """Return a text as reasons are compared: the capitals of a to z as small ones.

    No other letters, for databases do not agree on those.
    """
    return text.translate(_SMALL)


def _check_instant(name: str, instant: object) -> None:
    if instant is None:
        return
    if not isinstance(instant, dt.datetime) or instant.utcoffset() is None:
        raise PayloadError(
            name, "must be an instant with a time zone, as datetime.now(UTC)"
        )
    try:
        instant.astimezone(dt.UTC)
    except OverflowError:
        raise PayloadError(name, "is no instant of the years 1 to 9999") from None


def _check_text(text: object) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= REASON_CHARS_MAX:
        raise PayloadError("text", f"must be 1 to {REASON_CHARS_MAX} characters")
    encode(text, "text")
