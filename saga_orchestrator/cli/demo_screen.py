"""What `saga demo` shows on stderr while it runs: bars, or plain lines."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import (
    ALARM,
    DONE,
    NOT_DONE,
    TOLD,
    UNDONE,
    encodable,
    note,
)

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from saga_orchestrator.demo.load import Progress, Watcher
    from saga_orchestrator.demo.plan import Plan
    from saga_orchestrator.demo.scenarios import Scenario

PLAIN_LINES = 4
"""Lines of progress where stderr is no terminal."""
BAR_COLUMNS = 40

_KINDS = (
    ("started", TOLD, "blue"),
    ("completed", DONE, "green"),
    ("undone", UNDONE, "yellow"),
    ("failed", NOT_DONE, "red"),
)


def banner(plan: Plan) -> Iterator[str]:
    """Yield what a run is going to be."""
    scenario = plan.scenario
    yield f"saga demo: {counted(plan.sagas, scenario.name)}, seed {plan.seed}"
    yield f"  {_course(scenario)}"
    how = "all at once" if scenario.parallel_compensation else "in reverse"
    yield f"  what was done is undone {how}"
    parts = [counted(plan.orchestrators, "orchestrator")]
    if plan.workers:
        parts.append(counted(plan.workers, "worker"))
    broker = masked(plan.broker) if plan.has_server_broker else "in the process"
    yield f"  {', '.join(parts)}; store {masked(plan.store)}; broker {broker}"
    if not plan.with_barrier:
        yield f"{ALARM} without the barrier: effects will happen twice"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, of one or of many."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _course(scenario: Scenario) -> str:
    """Return the steps in their turn; those that run together are joined by ``+``."""
    if scenario.is_sequence:
        return ", ".join(step.name for step in scenario.steps)
    turns = itertools.groupby(scenario.steps, key=lambda step: step.depends_on)
    return ", ".join(" + ".join(step.name for step in turn) for _, turn in turns)


@contextlib.contextmanager
def screen(sagas: int) -> Iterator[Watcher]:
    """Give a watcher for a run of ``sagas``; clears up after it."""
    if not sys.stderr.isatty():
        yield PlainScreen(sagas)
        return
    with _bars() as bars:
        yield BarScreen(bars, sagas)


class PlainScreen:
    """Writes a line now and then."""

    def __init__(self, sagas: int) -> None:
        self._sagas = sagas
        self._lines = 0

    def progress(self, progress: Progress) -> None:
        """Write a line when another quarter of the sagas has ended."""
        ended = progress.completed + progress.compensated + progress.failed
        lines = PLAIN_LINES * ended // self._sagas
        if lines > self._lines:
            self._lines = lines
            note(
                f"{ended} of {self._sagas} have ended: {progress.completed} completed, "
                f"{progress.compensated} undone, {progress.failed} failed"
            )

    def event(self, text: str) -> None:
        """Write a line."""
        note(text)


class BarScreen:
    """Draws a bar for each way that a saga can be, and lines above them."""

    def __init__(self, bars: Bars, sagas: int) -> None:
        self._bars = bars
        self._tasks = {
            name: bars.add_task(
                encodable(f"{glyph} {name}", sys.stderr), total=sagas, style=style
            )
            for name, glyph, style in _KINDS
        }

    def progress(self, progress: Progress) -> None:
        """Move the bars."""
        for name, count in (
            ("started", progress.started),
            ("completed", progress.completed),
            ("undone", progress.compensated),
            ("failed", progress.failed),
        ):
            self._bars.update(self._tasks[name], completed=count)

    def event(self, text: str) -> None:
        """Write a line above the bars."""
        self._bars.console.print(encodable(text, sys.stderr))


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task, TextColumn
    from rich.progress_bar import ProgressBar

    class Bar(ProgressColumn):
        """A bar in its task's colour, full or not."""

        def render(self, task: Task) -> ProgressBar:
            style = task.fields["style"]
            return ProgressBar(
                task.total,
                task.completed,
                width=BAR_COLUMNS,
                complete_style=style,
                finished_style=style,
            )

    return Progress(
        TextColumn("{task.description}"),
        Bar(),
        TextColumn("{task.completed:.0f}"),
        console=Console(stderr=True, highlight=False),
    )
