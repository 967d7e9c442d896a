"""When a batch can do without locks: what is known, and how well."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.events import (
    CompensateRequested,
    Event,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.saga import Saga
from saga_stores._rows import RowCodec
from saga_stores._snapshots import SnapshotCache
from saga_stores.postgres.swap import CLOCK_SECONDS, PAUSE_SECONDS, Swaps
from tests.conformance.builders import bare, fence_of, plan_of, start, step

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SERVER = NOW - dt.timedelta(days=3)
CODEC = RowCodec(lambda instant: instant, lambda column: column)


class Stopwatch:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        """Return them."""
        return self.seconds


@pytest.fixture
def watch() -> Stopwatch:
    """What the swaps reckon with."""
    return Stopwatch()


@pytest.fixture
def snapshots() -> SnapshotCache:
    """What the process remembers."""
    return SnapshotCache(CODEC)


@pytest.fixture
def swaps(snapshots: SnapshotCache, watch: Stopwatch) -> Swaps:
    """Of a process that has just begun."""
    return Swaps(snapshots, watch)


def _started(**options: object) -> Saga:
    event = start(plan_of(step("a", **options)), context={"x": 1})
    return bare(decide(None, event, NOW).saga)


def test_the_clock_goes_on_by_itself_for_a_while(
    swaps: Swaps, watch: Stopwatch
) -> None:
    """After that it must be looked at again."""
    assert swaps.now() is None
    assert swaps.see(SERVER, NOW)
    watch.seconds += 2.5
    assert swaps.now() == NOW + dt.timedelta(seconds=2.5)
    watch.seconds += CLOCK_SECONDS
    assert swaps.now() is None


def test_a_saga_counts_with_its_stamp(swaps: Swaps, snapshots: SnapshotCache) -> None:
    """One that was only read has none; a new one needs none."""
    saga = _started()
    answer = StepSucceeded(fence_of(saga, "a"))
    assert swaps.known([answer]) is None
    snapshots.add([(CODEC.saga_row(saga), saga)])
    assert swaps.known([answer]) is None
    snapshots.add([(CODEC.saga_row(saga), saga)], stamp=7)
    new = start()
    assert swaps.known([answer, TimeCame(saga.id), new]) == {saga.id: (saga, 7)}
    assert swaps.known([answer, TimeCame(new.saga_id)]) is None


def test_what_needs_more_than_rows_is_read(
    swaps: Swaps, snapshots: SnapshotCache
) -> None:
    """Conditions read outputs; what a person asks may have been asked before."""
    plain, curious = _started(), _started(when={"context.x": 1})
    for saga in (plain, curious):
        snapshots.add([(CODEC.saga_row(saga), saga)], stamp=7)
    asked: list[Event] = [CompensateRequested(plain.id, "ann", "she wants to")]
    assert swaps.known(asked) is None
    assert swaps.known([TimeCame(curious.id)]) is None
    assert swaps.known([TimeCame(plain.id)]) is not None


def test_after_a_failure_it_rests(
    swaps: Swaps, snapshots: SnapshotCache, watch: Stopwatch
) -> None:
    """Where replicas move the same sagas, each attempt may be in vain."""
    saga = _started()
    snapshots.add([(CODEC.saga_row(saga), saga)], stamp=7)
    swaps.failed()
    assert swaps.known([TimeCame(saga.id)]) is None
    watch.seconds += PAUSE_SECONDS
    assert swaps.known([TimeCame(saga.id)]) == {saga.id: (saga, 7)}


def test_another_server_is_met_without_memories(
    swaps: Swaps, snapshots: SnapshotCache
) -> None:
    """Neither of sagas nor of the time."""
    saga = _started()
    snapshots.add([(CODEC.saga_row(saga), saga)], stamp=7)
    assert swaps.see(SERVER, NOW)
    swaps.forget()
    assert swaps.now() is None
    assert swaps.see(SERVER, NOW)
    assert not swaps.see(SERVER + dt.timedelta(seconds=1), NOW)
