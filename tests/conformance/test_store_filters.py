"""The store contract: lists narrowed by instants, and by a part of the reason."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from saga_orchestrator.core.events import StepFailed
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import PayloadError
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.builders import (
    SECOND,
    apply,
    bare,
    begin,
    complete,
    fence_of,
    plan_of,
)

PARKED = plan_of("a", on_failure="park", name="parked")
TICK = dt.timedelta(microseconds=1)

NASTY = [
    "'; DROP TABLE sagas; --",
    "' OR '1'='1",
    '" OR ""="',
    "\\' OR 1=1 --",
    "%",
    "_",
    "100%_\\",
    "[a-z]*",
    "$1",
    "?",
    ":text",
    "{0} %s %(text)s",
    "); SELECT pg_sleep(60); --",
    "/* */",
    "é ÄÖ ßẞ İı",
    "日本語 🦊",
    "\t\n\r",
    "a" * 200,
]


async def _park(store: Store, reason: str) -> Saga:
    """Return a saga that stopped for a reason of a handler's."""
    saga = await begin(store, PARKED)
    fence = fence_of(saga, "a")
    return await apply(store, StepFailed(fence, refused=True, error=reason))


async def _found(store: Store, **fields: Any) -> list[Saga]:
    return await store.find(SagaFilter(**fields))


# -- instants ----------------------------------------------------------------


async def test_created_and_updated_bound_the_list(
    store: Store, clock: ManualClock
) -> None:
    """From an instant on, and before one: neighbours share no saga and miss none."""
    first = await begin(store, plan_of("a"))
    clock.advance(10)
    second = await begin(store, plan_of("a"))
    clock.advance(10)
    first = await complete(store, first)
    born, later, ended = first.created_at, second.created_at, first.updated_at
    assert (later, ended) == (born + 10 * SECOND, born + 20 * SECOND)
    for fields, sagas in (
        ({"created_from": born}, [second, first]),
        ({"created_from": born + TICK}, [second]),
        ({"created_to": later}, [first]),
        ({"created_to": later + TICK}, [second, first]),
        ({"created_from": later, "created_to": later}, []),
        ({"updated_from": ended}, [first]),
        ({"updated_from": ended + TICK}, []),
        ({"updated_to": ended}, [second]),
        ({"updated_from": later, "updated_to": ended + TICK}, [second, first]),
        ({"created_to": later, "updated_from": ended}, [first]),
        ({"created_from": later, "updated_from": ended}, []),
    ):
        found = await _found(store, **fields)
        assert found == [bare(saga) for saga in sagas], fields


async def test_instants_count_in_any_zone(store: Store, clock: ManualClock) -> None:
    """An instant is the same whatever zone it is told in."""
    saga = await begin(store)
    for hours in (-12, 0, 5.5, 14):
        at = saga.created_at.astimezone(dt.timezone(dt.timedelta(hours=hours)))
        assert await _found(store, created_from=at) == [bare(saga)]
        assert await _found(store, created_to=at) == []


async def test_the_ends_of_time_are_instants(store: Store) -> None:
    """The first and the last instant that there are bound nothing."""
    saga = await begin(store)
    first = dt.datetime.min.replace(tzinfo=dt.UTC)
    last = dt.datetime.max.replace(tzinfo=dt.UTC)
    fields = {"created_from": first, "created_to": last}
    fields |= {"updated_from": first, "updated_to": last}
    assert await _found(store, **fields) == [bare(saga)]
    assert await _found(store, created_from=last) == []


# -- the reason --------------------------------------------------------------


async def test_a_part_of_the_reason(store: Store) -> None:
    """Wherever it stands, small or capital; nothing in it is a wildcard."""
    card = await _park(store, "CardDeclined: no 100% cover_age")
    other = await _park(store, "Timeout")
    await complete(store, await begin(store, plan_of("a")))
    for text, sagas in (
        ("carddeclined", [card]),
        ("DECLINED: NO", [card]),
        ("timeout", [other]),
        ("step a: ", [other, card]),
        ("100%", [card]),
        ("1%c", []),
        ("%", [card]),
        ("r_a", [card]),
        ("n_ 100", []),
        ("card.eclined", []),
    ):
        found = await _found(store, text=text)
        assert found == [bare(saga) for saga in sagas], text


async def test_other_letters_are_as_they_are(store: Store) -> None:
    """Only A to Z have two forms, in every store and whatever its locale."""
    saga = await _park(store, "Ärger mit Straße")
    assert await _found(store, text="Ärger MIT straße") == [bare(saga)]
    assert await _found(store, text="ärger") == []
    assert await _found(store, text="STRASSE") == []


@pytest.mark.parametrize("text", NASTY)
async def test_no_text_is_a_command(store: Store, text: str) -> None:
    """What a caller looks for is data: it finds itself, and nothing else."""
    saga = await _park(store, f"<{text}>"[:500])
    plain = await _park(store, "XYZ")
    assert await _found(store, text=text) == [bare(saga)]
    assert await _found(store, name=text) == []
    assert await _found(store, key=text) == []
    assert await _found(
        store, name="parked", text=text, states=frozenset(SagaState)
    ) == [bare(saga)]
    assert await store.counts() == {SagaState.FAILED: 2}
    assert await _found(store, text="xyz") == [bare(plain)]


# -- together ----------------------------------------------------------------


@pytest.mark.parametrize("states", [frozenset(), frozenset({SagaState.FAILED})])
async def test_all_hold_together_and_pages_go_on(
    store: Store, clock: ManualClock, states: frozenset[SagaState]
) -> None:
    """Narrowed by everything, a page is still full where there are enough."""
    wanted: list[Saga] = []
    for number in range(12):
        reason = "card declined" if number % 2 else "timeout"
        wanted.append(await _park(store, reason))
        clock.advance(1)
    which = SagaFilter(
        states,
        name="parked",
        created_from=wanted[2].created_at,
        updated_to=wanted[10].updated_at,
        text="CARD",
        limit=3,
    )
    found: list[Saga] = []
    pages = []
    while page := await store.find(which):
        pages.append(len(page))
        found += page
        which = replace(which, before=page[-1].id)
    assert found == [bare(wanted[number]) for number in (9, 7, 5, 3)]
    assert pages == [3, 1]


async def test_a_key_is_narrowed_too(store: Store, clock: ManualClock) -> None:
    """The list by key has the same bounds as the others."""
    saga = await begin(store, key="k")
    at = saga.created_at
    assert await _found(store, key="k", created_from=at) == [bare(saga)]
    assert await _found(store, key="k", created_to=at) == []
    assert await _found(store, key="k", updated_from=at + TICK) == []
    assert await _found(store, key="k", updated_to=at + TICK) == [bare(saga)]
    assert await _found(store, key="k", text="declined") == []


# -- bad ones ----------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["created_from", "created_to", "updated_from", "updated_to"]
)
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (dt.datetime(2026, 1, 1), "with a time zone"),  # noqa: DTZ001 - naive
        (dt.date(2026, 1, 1), "with a time zone"),
        ("2026-01-01T00:00:00Z", "with a time zone"),
        (
            dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1))),
            "years 1 to 9999",
        ),
        (
            dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))),
            "years 1 to 9999",
        ),
    ],
)
def test_what_is_no_instant_is_refused(field: str, value: object, told: str) -> None:
    """The error names the field and the fix, before anything is asked."""
    with pytest.raises(PayloadError, match=told) as refused:
        SagaFilter(**{field: value})  # type: ignore[arg-type]  # on purpose
    assert refused.value.path == field


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize("field", ["name", "key"])
def test_what_no_database_can_hold_is_refused(field: str, text: str) -> None:
    """The error names the field, on every store; PostgreSQL would take no such text."""
    with pytest.raises(PayloadError) as refused:
        SagaFilter(**{field: text})  # type: ignore[arg-type]  # one of two texts
    assert refused.value.path == field


@pytest.mark.parametrize("text", ["", "a" * 201, "a\0b", "\ud800", 7])
def test_what_is_no_text_is_refused(text: Any) -> None:
    """Empty, endless, or not to be kept by a database."""
    with pytest.raises(PayloadError) as refused:
        SagaFilter(text=text)
    assert refused.value.path == "text"
