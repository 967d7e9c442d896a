"""From what processes tell to figures, and to the medians of several runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from saga_orchestrator.bench.account import Account
from saga_orchestrator.bench.database import Totals
from saga_orchestrator.bench.figures import (
    ServerUse,
    figures_of,
    median_of,
    percentile,
)

_NOTHING = Account(
    cpu_seconds=0, peak_bytes=0, messages=0, frames=0, commands=0, commits=0, events=0
)


def _account(**changes: Any) -> Account:
    return replace(_NOTHING, **changes)


def test_ends_are_matched_across_processes() -> None:
    """A saga's start and its end may be told by two; the first end counts."""
    accounts = {
        "orchestrator 1": _account(started={"a": 10.0, "b": 11.0}, ended={"b": 14.0}),
        "orchestrator 2": _account(started={"c": 12.0}, ended={"a": 12.0, "b": 13.0}),
    }
    figures = figures_of(accounts, ServerUse(), lost=1, unexpected=0)
    assert figures.p50_ms == figures.max_ms == 2000.0
    assert figures.sagas_per_second == round(2 / 3, 1)
    assert figures.lost == 1
    assert not figures.ok


def test_shares_of_a_saga() -> None:
    """Totals are divided by the sagas that ended; CPU stays split by process."""
    accounts = {
        "orchestrator 1": _account(
            cpu_seconds=0.4,
            peak_bytes=2**20,
            messages=4,
            frames=3,
            commands=6,
            commits=2,
            events=8,
            started={"a": 0.0, "b": 0.0},
            ended={"a": 1.0, "b": 1.0},
        ),
        "worker 1": _account(cpu_seconds=0.2, messages=2),
    }
    servers = ServerUse(wal_bytes=5000, cpu_seconds={"postgresql": 0.1}, memory={})
    servers = servers.with_totals(Totals(30, None), sagas=10)
    figures = figures_of(accounts, servers, lost=0, unexpected=0)
    assert (figures.messages_per_saga, figures.commits_per_saga) == (3, 1)
    assert (figures.commands_per_message, figures.events_per_commit) == (2, 4)
    assert figures.wal_bytes_per_saga == 2500
    assert (figures.transactions_per_saga, figures.statements_per_saga) == (3, None)
    assert figures.cpu_seconds_per_saga == {
        "orchestrator 1": 0.2,
        "worker 1": 0.1,
        "postgresql": 0.05,
    }
    assert figures.peak_memory_mib["orchestrator 1"] == 1
    assert figures.ok


def test_a_run_in_which_nothing_ended() -> None:
    """There is nothing to divide by, and that is no error."""
    accounts = {"orchestrator 1": _account(started={"a": 1.0})}
    figures = figures_of(accounts, ServerUse(), lost=5, unexpected=0)
    assert figures.sagas_per_second == figures.p99_ms == 0
    assert not figures.ok


def test_medians() -> None:
    """Each figure has its own median; sagas that went wrong are added up."""
    accounts = {"orchestrator 1": _account(started={"a": 0.0}, ended={"a": 1.0})}
    runs = [
        replace(
            figures_of(accounts, ServerUse(), lost=lost, unexpected=0),
            p50_ms=p50,
            cpu_seconds_per_saga={"orchestrator 1": p50},
        )
        for lost, p50 in ((0, 3.0), (2, 1.0), (1, 2.0))
    ]
    medians = median_of(runs)
    assert (medians["p50_ms"], medians["lost"]) == (2.0, 3)
    assert medians["cpu_seconds_per_saga"] == {"orchestrator 1": 2.0}
    assert medians["wal_bytes_per_saga"] is None


def test_percentile() -> None:
    """It is one of the values: the smallest that enough do not exceed."""
    assert percentile([], 0.5) == 0
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([1, 2, 3, 4], 0.99) == percentile([1, 2, 3, 4], 1) == 4
