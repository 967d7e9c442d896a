"""What `saga bench` shows people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from saga_orchestrator.cli.terminal import ALARM, DONE, columns

if TYPE_CHECKING:
    from saga_orchestrator.bench.report import Report

_LINES = (
    ("sagas a second", "sagas_per_second", "{:,.0f}"),
    ("latency, p50", "p50_ms", "{:,.1f} ms"),
    ("latency, p99", "p99_ms", "{:,.1f} ms"),
    ("longest", "max_ms", "{:,.1f} ms"),
    ("messages a saga", "messages_per_saga", "{:.2f}"),
    ("commands a message", "commands_per_message", "{:.1f}"),
    ("commits a saga", "commits_per_saga", "{:.3f}"),
    ("events a commit", "events_per_commit", "{:.1f}"),
    ("bytes of WAL a saga", "wal_bytes_per_saga", "{:,.0f}"),
    ("database transactions a saga", "transactions_per_saga", "{:.2f}"),
    ("statements a saga", "statements_per_saga", "{:.2f}"),
)


def table(report: Report) -> Iterator[str]:
    """Yield the result: what was run, the figures, and whether all sagas ended."""
    medians = report.medians
    yield _heading(report)
    rows = [
        (name, pattern.format(medians[field]), _spread(report, field, pattern))
        for name, field, pattern in _LINES
        if medians[field] is not None
    ]
    yield from columns([("", "median", "of the runs"), *rows])
    yield ""
    yield from columns([("process", "CPU ms a saga", "memory MiB"), *_use(medians)])
    yield ""
    yield from _verdict(report)


def _heading(report: Report) -> str:
    plan, shape = report.plan, report.plan.shape
    parts = [f"{plan.mode}: {plan.sagas} sagas of {shape.step_count} steps"]
    if shape.fan_out:
        parts.append(f"{shape.fan_out} of them at once")
    if shape.compensate:
        parts.append("the last refused and the others undone")
    if shape.payload:
        parts.append(f"{shape.payload} bytes of payload")
    if plan.rate is not None:
        parts.append(f"{plan.rate:g} starts a second")
    elif plan.in_flight == 1:
        parts.append("one at a time")
    else:
        parts.append(f"{plan.in_flight} under way")
    return ", ".join(parts)


def _spread(report: Report, field: str, pattern: str) -> str:
    """Return the lowest and the highest of the runs; nothing where there is one."""
    values = [getattr(run, field) for run in report.runs]
    if len(values) == 1 or None in values:
        return ""
    return f"{pattern.format(min(values))} to {pattern.format(max(values))}"


def _use(medians: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, seconds in medians["cpu_seconds_per_saga"].items():
        memory = medians["peak_memory_mib"][name]
        yield name, f"{seconds * 1000:.3f}", f"{memory:.0f}"


def _verdict(report: Report) -> Iterator[str]:
    lost, unexpected = report.medians["lost"], report.medians["unexpected"]
    if report.ok:
        runs = "the run" if len(report.runs) == 1 else f"all {len(report.runs)} runs"
        yield f"{DONE} every saga of {runs} ended as it should"
    if lost:
        yield f"{ALARM} {lost} sagas were lost: not started, or not ended"
    if unexpected:
        yield f"{ALARM} {unexpected} sagas ended as they should not"
