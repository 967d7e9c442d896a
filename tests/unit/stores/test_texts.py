"""Contexts and outputs that need not be read: whole, bounded, of the right revision."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.events import StepSucceeded
from saga_orchestrator.core.saga import Saga
from saga_stores._texts import TextCache
from tests.conformance.builders import bare, fence_of, plan_of, start, step

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PLAN = plan_of(step("a"), step("b", depends_on=("a",)))


@pytest.fixture
def saga() -> Saga:
    """One whose step b was sent, after a brought an update."""
    begun = bare(decide(None, start(PLAN), NOW).saga)
    answer = StepSucceeded(fence_of(begun, "a"), "out", {"k": 2})
    return bare(decide(begun, answer, NOW).saga)


def _found(cache: TextCache, saga: Saga, name: str = "b") -> Any:
    fence = fence_of(saga, name)
    return cache.dispatches([fence], {saga.id: saga}).get(fence, "unknown")


def _texts(saga: Saga) -> tuple[list[Any], list[Any]]:
    patches = [(saga.id, 0, '{"k":1,"x":0}'), (saga.id, 1, '{"k":2}')]
    mark = saga.status("a").mark
    return patches, [(saga.id, mark, '{"output":"out"}')]


def test_a_command_is_made_of_what_was_written(saga: Saga) -> None:
    """The context as the step was sent with it, and the outputs that it reads."""
    cache = TextCache()
    cache.add(*_texts(saga))
    found, data = _found(cache, saga)
    assert found is saga
    assert data.context == {"k": 2, "x": 0}
    assert data.outputs == {"a": "out"}
    assert _found(cache, saga, "a") == "unknown"  # not awaited in it: is it younger?


@pytest.mark.parametrize("missing", ["first patch", "last patch", "entry", "snapshot"])
def test_what_is_not_there_is_not_made_up(saga: Saga, missing: str) -> None:
    """Then it is read."""
    patches, entries = _texts(saga)
    if missing == "first patch":
        del patches[0]
    elif missing == "last patch":
        del patches[1]
    elif missing == "entry":
        entries.clear()
    cache = TextCache()
    cache.add(patches, entries)
    if missing == "snapshot":
        fence = fence_of(saga, "b")
        assert cache.dispatches([fence], {}) == {}
    else:
        assert _found(cache, saga) == "unknown"


def test_texts_may_come_twice_and_be_forgotten(saga: Saga) -> None:
    """Written here, then read; gone with the connection."""
    cache = TextCache()
    for _ in range(2):
        cache.add(*_texts(saga))
    assert _found(cache, saga)[1].context == {"k": 2, "x": 0}
    cache.clear()
    assert _found(cache, saga) == "unknown"


def test_what_is_committed_takes_the_place_of_what_was_lost(saga: Saga) -> None:
    """A failover without our last commits: the same numbers, with other contents."""
    cache = TextCache()
    cache.add(*_texts(saga))
    mark = saga.status("a").mark
    cache.add([], [(saga.id, mark, '{"output":"another"}')])
    assert _found(cache, saga)[1].outputs == {"a": "another"}
    cache.add([(saga.id, 0, '{"k":7}')], [])
    assert _found(cache, saga) == "unknown"  # revision 1 came after another one
    cache.add([(saga.id, 1, '{"x":8}')], [])
    assert _found(cache, saga)[1].context == {"k": 7, "x": 8}


def test_texts_are_bounded(saga: Saga) -> None:
    """The sagas that came first go first."""
    other = replace(saga, id=start().saga_id)
    cache = TextCache(bytes_max=1_000)
    cache.add(*_texts(saga))
    cache.add(*_texts(other))
    assert _found(cache, saga) == "unknown"
    assert _found(cache, other) != "unknown"
