"""`saga bench`: throughput and latency of sagas whose handlers do nothing."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.bench_table import table
from saga_orchestrator.cli.exits import Exit
from saga_orchestrator.cli.options import (
    BrokerOption,
    JsonOption,
    OrchestratorsOption,
    StoreOption,
    WorkersOption,
)
from saga_orchestrator.cli.terminal import emit, emit_json, note
from saga_orchestrator.errors import ConfigurationError

if TYPE_CHECKING:
    from saga_orchestrator.bench.plan import Plan
    from saga_orchestrator.bench.report import Report

SAGAS = 2000
SAGAS_ONE_AT_A_TIME = 300


def bench(
    *,
    sagas: Annotated[
        int | None,
        typer.Option(
            "--sagas",
            metavar="N",
            min=1,
            help=f"In each run; {SAGAS}, or {SAGAS_ONE_AT_A_TIME} one at a time.",
        ),
    ] = None,
    store: StoreOption = None,
    broker: BrokerOption = None,
    workers: WorkersOption = 0,
    orchestrators: OrchestratorsOption = 1,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="One after the other.")
    ] = 3,
    fan_out: Annotated[
        int,
        typer.Option(
            "--fan-out",
            metavar="N",
            min=0,
            help="So many steps at once, between a first and a last.",
        ),
    ] = 0,
    payload: Annotated[
        int,
        typer.Option(
            "--payload", metavar="BYTES", min=0, help="Text in each saga's context."
        ),
    ] = 0,
    compensate: Annotated[
        bool,
        typer.Option(
            "--compensate", help="The last step is refused, the others are undone."
        ),
    ] = False,
    in_flight: Annotated[
        int | None,
        typer.Option(
            "--in-flight",
            metavar="N",
            min=1,
            help="Sagas under way at a time; 500. As one ends, the next starts.",
        ),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="The latency of single sagas.")
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", metavar="R", help="Starts a second, however fast sagas end."
        ),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat", metavar="N", min=1, help="Runs; each figure is their median."
        ),
    ] = 3,
    seed: Annotated[
        int, typer.Option("--seed", metavar="S", help="Decides the payload.")
    ] = 7,
    patience: Annotated[
        float,
        typer.Option(
            "--patience",
            metavar="SECONDS",
            min=0.1,
            help="Give a run up when no saga has ended for so long.",
        ),
    ] = 30.0,
    watch_process: Annotated[
        list[str] | None,
        typer.Option(
            "--watch-process",
            metavar="NAME=PID",
            help="Count a server's CPU and memory too; may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure sagas whose handlers do nothing, from the first start to the last end.

    Everything is on that is on in `saga serve`: history, outbox, confirms, fsync. Each
    saga is looked up in the store afterwards: where one is lost, or ended otherwise
    than it should, the exit code is 1.

    Without servers it uses a SQLite file and the broker in the process. Give it a
    database of its own: its sagas stay there. SAGA_STORE and SAGA_BROKER are not used.
    docs/benchmarks.md says what each figure means.

    Example:
        saga bench --store postgresql://… --broker amqp://… --workers 1
    """
    from saga_orchestrator.bench.plan import Plan, Shape
    from saga_orchestrator.telemetry import logging

    logging.configure("error")
    width = _in_flight(in_flight, rate, one_at_a_time=one_at_a_time)
    with _folder() as folder:
        plan = Plan(
            sagas=sagas or (SAGAS_ONE_AT_A_TIME if one_at_a_time else SAGAS),
            shape=Shape(
                steps=steps, fan_out=fan_out, payload=payload, compensate=compensate
            ),
            store=store or f"sqlite:///{folder / 'saga.db'}",
            broker=broker or "memory://",
            orchestrators=orchestrators,
            workers=workers,
            in_flight=width,
            rate=rate,
            repeat=repeat,
            seed=seed,
            patience=patience,
            watched=tuple(_watched(text) for text in watch_process or ()),
        )
        report = asyncio.run(_run_until_signal(plan, folder))
    if as_json:
        emit_json(report.to_json(), indent=None)
    else:
        emit(table(report))
    raise typer.Exit(Exit.OK if report.ok else Exit.FAILURE)


def _in_flight(
    in_flight: int | None, rate: float | None, *, one_at_a_time: bool
) -> int:
    """Return how many sagas are under way at a time.

    Raises:
        ConfigurationError: two options say it.
    """
    from saga_orchestrator.bench.plan import IN_FLIGHT_DEFAULT

    said = {
        "--one-at-a-time": one_at_a_time,
        "--rate": rate is not None,
        "--in-flight": in_flight is not None,
    }
    given = [option for option, is_given in said.items() if is_given]
    if len(given) > 1:
        raise ConfigurationError(
            f"{given[1]}: {given[0]} says already when the next saga starts; "
            "leave one of them out"
        )
    return 1 if one_at_a_time else in_flight or IN_FLIGHT_DEFAULT


def _watched(text: str) -> tuple[str, int]:
    """Read ``NAME=PID``.

    Raises:
        ConfigurationError: it is something else.
    """
    name, _, pid = text.partition("=")
    if not name or not pid.isdecimal():
        raise ConfigurationError(
            f"--watch-process: {text!r} is not NAME=PID; write it as postgresql=1234"
        )
    return name, int(pid)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="saga-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run_until_signal(plan: Plan, folder: Path) -> Report:
    """Run the bench; clean up on SIGTERM as on Ctrl-C."""
    from saga_orchestrator.bench.driver import run_bench
    from saga_orchestrator.ports.clock import SystemClock

    terminated = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None, "it runs in a loop"

    def terminate() -> None:
        terminated.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await run_bench(plan, folder, clock=SystemClock(), watcher=note)
    except asyncio.CancelledError:
        if terminated.is_set():
            raise typer.Exit(Exit.TERMINATED) from None
        raise
