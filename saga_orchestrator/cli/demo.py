"""`saga demo`: sagas of a scenario, injected faults and a kill; then it is judged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.demo_screen import banner, counted, screen
from saga_orchestrator.cli.exits import Exit
from saga_orchestrator.cli.options import (
    BrokerOption,
    JsonOption,
    OrchestratorsOption,
    StoreOption,
    WorkersOption,
)
from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import (
    DONE,
    NOT_DONE,
    UNDONE,
    columns,
    emit,
    emit_json,
    note,
)
from saga_orchestrator.cli.timeline import timeline
from saga_orchestrator.demo.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from saga_orchestrator.demo.driver import Outcome
    from saga_orchestrator.demo.load import Watcher
    from saga_orchestrator.demo.plan import Plan
    from saga_orchestrator.demo.report import Check, Report

PROBLEMS_SHOWN = 5


def demo(
    *,
    scenario: Annotated[
        str,
        typer.Option("--scenario", metavar="NAME", help=f"{', '.join(SCENARIOS)}."),
    ] = next(iter(SCENARIOS)),
    sagas: Annotated[
        int, typer.Option("--sagas", metavar="N", min=1, help="How many to run.")
    ] = 300,
    seed: Annotated[
        int, typer.Option("--seed", metavar="S", help="Decides what goes wrong.")
    ] = 7,
    store: StoreOption = None,
    broker: BrokerOption = None,
    orchestrators: OrchestratorsOption = 1,
    workers: WorkersOption = 0,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the store, the effects and the logs."),
    ] = False,
    as_json: JsonOption = False,
    without_barrier: Annotated[
        bool,
        typer.Option(
            "--without-barrier",
            help="Take the barrier away: shows that a check can fail.",
        ),
    ] = False,
) -> None:
    """Run sagas with injected faults, kill a process half-way, check the result.

    Services raise, refuse and time out; messages come twice, late and in another
    order. When half the sagas have ended, the orchestrator (and a worker, if
    there are any) gets SIGKILL, and is started again. Every effect is kept in a
    database of its own, and the checks hold it against what the sagas say.

    Nothing is needed but a folder for temporary files. With --store and --broker
    it runs on servers; give it a database of its own, for its schema is brought
    up to date, and its engine also sends the commands of other sagas it finds.
    SAGA_STORE and SAGA_BROKER are not used: a demo must be sent there by hand.

    The exit code is 0 when every check holds, 1 when one does not.

    Example:
        saga demo --store postgresql://… --broker amqp://… --orchestrators 2
    """
    from saga_orchestrator.demo.plan import Plan
    from saga_orchestrator.telemetry import logging

    logging.configure("error")
    with _folder(keep=keep) as folder:
        plan = Plan(
            scenario=_scenario(scenario),
            sagas=sagas,
            seed=seed,
            store=store or f"sqlite:///{folder / 'saga.db'}",
            broker=broker or "memory://",
            orchestrators=orchestrators,
            workers=workers,
            with_barrier=not without_barrier,
        )
        outcome = _run(plan, folder)
        note("")
        if as_json:
            emit_json(outcome.report.to_json(), indent=None)
        else:
            emit(_told(outcome))
            emit(_next(plan, outcome, kept=keep or store is not None))
        if keep:
            note(f"kept: {folder}")
    raise typer.Exit(Exit.OK if outcome.report.ok else Exit.FAILURE)


def _scenario(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise typer.BadParameter(
            f"--scenario: {name!r} is none of {', '.join(SCENARIOS)}"
        )
    return SCENARIOS[name]


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="saga-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _run(plan: Plan, folder: Path) -> Outcome:
    plan.check()
    with screen(plan.sagas) as watcher:
        for line in banner(plan):
            watcher.event(line)
        return asyncio.run(_run_until_signal(plan, folder, watcher))


async def _run_until_signal(plan: Plan, folder: Path, watcher: Watcher) -> Outcome:
    """Run the demo; clean up on SIGTERM as on Ctrl-C."""
    from saga_orchestrator.demo.driver import run_demo
    from saga_orchestrator.ports.clock import SystemClock

    terminated = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None, "it runs in a loop"

    def terminate() -> None:
        terminated.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await run_demo(plan, folder, clock=SystemClock(), watcher=watcher)
    except asyncio.CancelledError:
        if terminated.is_set():
            raise typer.Exit(Exit.TERMINATED) from None
        raise


def _told(outcome: Outcome) -> Iterator[str]:
    """Yield the result for people."""
    report = outcome.report
    yield from _sums(report)
    if outcome.example is not None:
        yield ""
        yield f"One that was undone, {outcome.example.saga.id}:"
        yield from timeline(outcome.example)
    yield ""
    rows = columns(
        [
            (f"{DONE if check.holds else NOT_DONE} {check.rule}", _found(check))
            for check in report.checks
        ]
    )
    for row, check in zip(rows, report.checks, strict=True):
        yield row
        for problem in check.problems[:PROBLEMS_SHOWN]:
            yield f"    {problem}"
        if len(check.problems) > PROBLEMS_SHOWN:
            yield f"    and {len(check.problems) - PROBLEMS_SHOWN} more"


def _sums(report: Report) -> Iterator[str]:
    yield (
        f"{counted(report.sagas, report.scenario)}: "
        f"{DONE} {report.completed} completed, {UNDONE} {report.compensated} undone, "
        f"{NOT_DONE} {report.failed} failed"
    )
    yield (
        f"{counted(report.failed_attempts, 'run')} of handlers failed; "
        f"{counted(report.ignored_answers, 'answer')} came twice or late, "
        "without consequence"
    )
    yield (
        f"{' and '.join(report.killed) or 'nobody'} killed: "
        f"{counted(report.resumed, 'live saga')} resumed, {report.lost} lost"
    )
    yield (
        f"{report.sagas_per_second:.0f} sagas/s over {report.seconds:.1f} s, the kill "
        f"included; p50 {report.p50_ms:.0f} ms, p99 {report.p99_ms:.0f} ms"
    )


def _found(check: Check) -> str:
    looked_at = counted(check.checked, check.noun)
    if check.holds:
        return looked_at
    return f"{looked_at}, {counted(len(check.problems), 'problem')}"


def _next(plan: Plan, outcome: Outcome, *, kept: bool) -> Iterator[str]:
    """Yield the command to try next; it works as it stands, passwords aside."""
    program = _program()
    demo = f"{program} demo --scenario {plan.scenario.name}"
    yield ""
    if not outcome.report.ok:
        yield f"next: {demo} --sagas {plan.sagas} --seed {plan.seed} --keep"
    elif kept and outcome.example is not None:
        option = shlex.quote(masked(plan.store))
        yield f"next: {program} get {outcome.example.saga.id} --store {option}"
    else:
        yield f"next: {demo} --keep  # then look at the sagas: list, get, watch"


def _program() -> str:
    """Return how this program is called from here."""
    if shutil.which("saga"):
        return "saga"
    beside = Path(sys.executable).with_name("saga")
    return shlex.quote(min(os.path.relpath(beside), str(beside), key=len))
