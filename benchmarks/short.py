"""`make bench`: every mode once, in less than two minutes."""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.saga_bench import ORCHESTRATORS, WORKERS, note, saga_bench
from benchmarks.servers import Servers

SAGAS = "1500"
FEW = 300
_COLUMNS = (
    ("sagas/s", "sagas_per_second", "{:,.0f}"),
    ("p50 ms", "p50_ms", "{:,.1f}"),
    ("p99 ms", "p99_ms", "{:,.1f}"),
    ("messages", "messages_per_saga", "{:.2f}"),
    ("commits", "commits_per_saga", "{:.3f}"),
    ("statements", "statements_per_saga", "{:.2f}"),
    ("WAL bytes", "wal_bytes_per_saga", "{:,.0f}"),
)


def measure(sagas: str = SAGAS, repeat: str = "3") -> dict[str, Any]:
    """Run every mode; return what `saga bench` found of each, by a name."""
    found: dict[str, Any] = {}
    size = ("--sagas", sagas, "--repeat", repeat)

    def run(name: str, *options: str) -> dict[str, Any]:
        note(f"{name} …")
        figures = found[name] = saga_bench(*options)
        return figures

    run("embedded", *size)
    with Servers.open(count_statements=True) as servers:

        def run_on_servers(name: str, *options: str) -> dict[str, Any]:
            return run(name, *servers.options(), *ORCHESTRATORS, *options)

        in_process = run_on_servers("in_process", *size)
        run_on_servers("remote", *size, *WORKERS)
        run_on_servers("compensating", *size, "--compensate")
        # These take their time however fast the product is: fewer of them.
        few = ("--sagas", str(min(int(sagas), FEW)), "--repeat", repeat)
        run_on_servers("latency", *few, "--one-at-a-time", "--orchestrators", "1")
        # One engine: of two, each would have the fixed costs of its smaller batches.
        half = max(in_process["sagas_per_second"] / 2, 1)
        for_seconds = ("--sagas", str(3 * int(sagas)), "--repeat", repeat)
        run_on_servers(
            "half_load", *for_seconds, "--rate", f"{half:.1f}", "--orchestrators", "1"
        )
    return found


def main() -> None:
    """Print a table, and as the last line one JSON object."""
    found = measure()
    print_table(found)
    sys.stdout.write(json.dumps(found) + "\n")


def print_table(found: dict[str, Any]) -> None:
    """Print a line for each mode: its figures, and whose CPU a saga took."""
    rows = [("", *(title for title, _, _ in _COLUMNS), "CPU ms a saga")]
    for name, figures in found.items():
        cells = [_cell(pattern, figures[field]) for _, field, pattern in _COLUMNS]
        rows.append((name, *cells, _cpu(figures)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells, cpu in rows:
        shown = [
            cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False)
        ]
        sys.stdout.write("  ".join([name.ljust(widths[0]), *shown, cpu]) + "\n")


def _cell(pattern: str, value: float | None) -> str:
    return "-" if value is None else pattern.format(value)


def _cpu(figures: dict[str, Any]) -> str:
    use = figures["cpu_seconds_per_saga"]
    return ", ".join(f"{name} {seconds * 1000:.2f}" for name, seconds in use.items())
