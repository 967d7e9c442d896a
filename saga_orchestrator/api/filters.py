"""Which sagas a list is to show, as parameters of its query."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query

from saga_orchestrator.api.documents import instant_text
from saga_orchestrator.api.instants import EXAMPLE, parse_instant
from saga_orchestrator.api.parameters import read_by
from saga_orchestrator.api.problems import invalid
from saga_orchestrator.core.ids import KEY_CHARS_MAX
from saga_orchestrator.core.states import ENDED, SagaState
from saga_orchestrator.errors import PayloadError
from saga_orchestrator.ports.saga_filter import REASON_CHARS_MAX
from saga_orchestrator.ports.store import SagaFilter

_States = Annotated[
    list[SagaState],
    Query(description="Only these; may be repeated.", max_length=len(SagaState)),
]
_Name = Annotated[
    str | None,
    Query(min_length=1, max_length=128, description="The definition's name."),
]
_Key = Annotated[
    str | None,
    Query(min_length=1, max_length=KEY_CHARS_MAX, description="The start key."),
]
_Text = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=REASON_CHARS_MAX,
        description="A part of the reason, looked for as it is; small or capital a to "
        "z are the same.",
        examples=["CardDeclined"],
    ),
]
# In a query a + stands for a blank, so an offset that was not escaped has none.
_read = read_by(partial(parse_instant, more=", or an offset with its + as %2B"))
_ZONE = "ISO 8601 with a time zone; the + of an offset is written %2B."
_From = Annotated[
    dt.datetime | None,
    _read,
    Query(description=f"Then or later. {_ZONE}", examples=[EXAMPLE]),
]
_To = Annotated[
    dt.datetime | None,
    _read,
    Query(description=f"Before then. {_ZONE}", examples=[EXAMPLE]),
]


async def _asked(
    *,
    state: _States = [],  # noqa: B006 - FastAPI copies it
    name: _Name = None,
    key: _Key = None,
    created_from: _From = None,
    created_to: _To = None,
    updated_from: _From = None,
    updated_to: _To = None,
    text: _Text = None,
) -> SagaFilter:
    try:
        return SagaFilter(
            frozenset(state),
            name,
            key,
            created_from=created_from,
            created_to=created_to,
            updated_from=updated_from,
            updated_to=updated_to,
            text=text,
        )
    except PayloadError as error:
        raise invalid(f"query.{error.path}", error.problem) from error


WhichSagas = Annotated[SagaFilter, Depends(_asked)]
"""Those that a list is asked for; its page is the route's to say."""


def words_of(which: SagaFilter) -> list[Any]:
    """Return a filter as JSON: a cursor is good for these words only."""
    instants = (
        which.created_from,
        which.created_to,
        which.updated_from,
        which.updated_to,
    )
    return [
        sorted(which.states),
        which.name,
        which.key,
        *map(instant_text, instants),
        which.text,
    ]


def is_search(which: SagaFilter) -> bool:
    """Tell whether many sagas may be passed over: no index leads to those that fit."""
    is_narrow = which.key is not None or (which.states and not which.states & ENDED)
    is_everything = not any(words_of(which))
    return not (is_narrow or is_everything)
