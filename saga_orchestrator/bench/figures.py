"""The figures of one run, and the medians of several."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saga_orchestrator.bench.account import Account
from saga_orchestrator.bench.database import Totals
from saga_orchestrator.bench.machine import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """What the servers did in one run.

    Attributes:
        wal_bytes: written; None: the store is no PostgreSQL.
        transactions_per_saga: in the database, reading ones too; None likewise.
        statements_per_saga: likewise; None: also where the server counts none.
        cpu_seconds: of each watched process, by name.
        memory: bytes in use at the end of the run, likewise.
    """

    wal_bytes: int | None = None
    transactions_per_saga: float | None = None
    statements_per_saga: float | None = None
    cpu_seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def with_totals(self, totals: Totals, sagas: int) -> ServerUse:
        """Return it with the database's totals over so many sagas."""
        return dataclasses.replace(
            self,
            transactions_per_saga=_share(totals.transactions, sagas),
            statements_per_saga=_share(totals.statements, sagas),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run measured; what others call a field is in ``docs/benchmarks.md``."""

    sagas_per_second: float
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    messages_per_saga: float
    commands_per_message: float
    commits_per_saga: float
    events_per_commit: float
    wal_bytes_per_saga: float | None
    transactions_per_saga: float | None
    statements_per_saga: float | None
    cpu_seconds_per_saga: Mapping[str, float]
    peak_memory_mib: Mapping[str, float]
    lost: int
    unexpected: int

    @property
    def ok(self) -> bool:
        """Whether every saga ended as it should."""
        return self.lost == self.unexpected == 0


def figures_of(
    accounts: Mapping[str, Account], servers: ServerUse, *, lost: int, unexpected: int
) -> Figures:
    """Return a run's figures.

    Args:
        accounts: what each process did, by its name.
        servers: what the servers did.
        lost: sagas that did not end, or were never started.
        unexpected: sagas that ended otherwise than they should.
    """
    started = _merged([account.started for account in accounts.values()])
    ended = _merged([account.ended for account in accounts.values()])
    times = sorted(ended[one] - started[one] for one in ended if one in started)
    seconds = max(ended.values()) - min(started.values()) if times else 0.0
    sagas = max(len(times), 1)
    use = list(accounts.values())
    messages = sum(one.messages for one in use)
    commits = sum(one.commits for one in use)
    frames = sum(one.frames for one in use)
    cpu = {name: one.cpu_seconds for name, one in accounts.items()}
    memory = {name: one.peak_bytes for name, one in accounts.items()}
    return Figures(
        sagas_per_second=round(len(times) / seconds, 1) if seconds else 0.0,
        seconds=round(seconds, 3),
        p50_ms=_milliseconds(percentile(times, 0.5)),
        p99_ms=_milliseconds(percentile(times, 0.99)),
        max_ms=_milliseconds(percentile(times, 1)),
        messages_per_saga=round(messages / sagas, 3),
        commands_per_message=round(sum(o.commands for o in use) / max(frames, 1), 2),
        commits_per_saga=round(commits / sagas, 3),
        events_per_commit=round(sum(one.events for one in use) / max(commits, 1), 2),
        wal_bytes_per_saga=_share(servers.wal_bytes, sagas),
        transactions_per_saga=servers.transactions_per_saga,
        statements_per_saga=servers.statements_per_saga,
        cpu_seconds_per_saga={
            name: round(used / sagas, 6)
            for name, used in {**cpu, **servers.cpu_seconds}.items()
        },
        peak_memory_mib={
            name: round(used / MIB, 1)
            for name, used in {**memory, **servers.memory}.items()
        },
        lost=lost,
        unexpected=unexpected,
    )


def median_of(runs: Sequence[Figures]) -> dict[str, Any]:
    """Return the median of each figure by itself; sagas that went wrong are summed.

    What one run did not have is left out of the others too.
    """
    medians: dict[str, Any] = {}
    for field in dataclasses.fields(Figures):
        values = [getattr(run, field.name) for run in runs]
        if field.name in ("lost", "unexpected"):
            medians[field.name] = sum(values)
        elif isinstance(values[0], Mapping):
            medians[field.name] = {
                name: statistics.median(value[name] for value in values)
                for name in values[0]
            }
        elif None in values:
            medians[field.name] = None
        else:
            medians[field.name] = statistics.median(values)
    return medians


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of ordered values that ``share`` of them do not exceed."""
    if not ordered:
        return 0.0
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _merged(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return all of them; of a saga that two processes saw end, the first instant."""
    merged: dict[str, float] = {}
    for part in parts:
        for saga_id, instant in part.items():
            merged[saga_id] = min(instant, merged.get(saga_id, instant))
    return merged


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _share(total: int | None, sagas: int) -> float | None:
    return None if total is None else round(total / sagas, 2)
