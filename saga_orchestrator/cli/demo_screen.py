"""What `saga demo` shows on stderr while it runs: bars, or plain lines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_orchestrator.cli.terminal import DONE, NOT_DONE, TOLD, UNDONE, encodable, note

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from saga_orchestrator.demo.load import Progress, Watcher

PLAIN_LINES = 4
"""Lines of progress where stderr is no terminal."""
BAR_COLUMNS = 40

_KINDS = (
    ("started", TOLD, "blue"),
    ("completed", DONE, "green"),
    ("undone", UNDONE, "yellow"),
    ("failed", NOT_DONE, "red"),
)


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
