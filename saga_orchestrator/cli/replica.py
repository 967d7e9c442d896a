"""One of the processes of `saga serve --processes N`.

``python -m saga_orchestrator.cli.replica FD`` gets its task over that socket (URLs hold
passwords, so not from its arguments), and says there when it works. When the other end
is closed its parent is gone: then it drains and ends, as at SIGTERM.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import structlog
import typer

from saga_orchestrator.api.siblings import Siblings
from saga_orchestrator.cli.apps import load
from saga_orchestrator.cli.group import tell
from saga_orchestrator.cli.http import open_face
from saga_orchestrator.cli.orchestrator import caution, orchestrate
from saga_orchestrator.errors import SagaError
from saga_orchestrator.settings import load_settings
from saga_orchestrator.telemetry import logging

if TYPE_CHECKING:
    from saga_orchestrator.cli.daemon import OpenFace
    from saga_orchestrator.runtime.manager import Manager
    from saga_orchestrator.settings import Settings

LINGER_SECONDS = 15.0
"""An orphan that has not ended so long after its drain ends without asking."""

READY = b"ready\n"

_log = structlog.get_logger("saga.process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process is to be.

    Attributes:
        number: of this one, from 1.
        count: of all.
        flags: as they were given to `saga serve`.
        references: definitions and handlers.
        app_dir: put first on the import path.
        folder: where the processes have their sockets; of the parent's.
        listening: the descriptor of the socket that all answer HTTP on; None: of none.
        debug: errors are told with their traceback.
        is_first: says what to be cautious of; the others would only repeat it.
    """

    number: int
    count: int
    flags: dict[str, Any]
    references: list[str]
    app_dir: str
    folder: str
    listening: int | None
    debug: bool
    is_first: bool

    @classmethod
    def read(cls, channel: socket.socket) -> Self:
        """Read what ``to_line`` wrote."""
        with channel.makefile("rb") as lines:
            return cls(**json.loads(lines.readline()))

    def to_line(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"


def main() -> None:
    """Run the process."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)  # what handlers start must not keep it open
    task = Task.read(channel)
    structlog.contextvars.bind_contextvars(process=task.number)
    try:
        _run(task, channel)
    except SagaError as error:
        sys.exit(tell(error, debug=task.debug))
    except typer.Exit as end:
        sys.exit(end.exit_code)


def _run(task: Task, channel: socket.socket) -> None:
    settings = load_settings(**task.flags)
    logging.configure(settings.log_level, settings.log_format)
    threading.Thread(
        target=_end_with_parent,
        args=(channel, task, settings.drain_seconds),
        name="saga-parent",
        daemon=True,
    ).start()
    loaded = load(task.references, Path(task.app_dir))
    if task.is_first:
        caution(settings, loaded)
    orchestrate(
        settings,
        loaded,
        _face(task, settings),
        lambda: _say_ready(channel),
    )


def _face(task: Task, settings: Settings) -> OpenFace[Manager]:
    if task.listening is None:
        return open_face(settings)
    listening = socket.socket(fileno=task.listening)
    listening.set_inheritable(False)
    siblings = Siblings(Path(task.folder), task.number, task.count)
    return open_face(settings, listening, siblings)


def _say_ready(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the thread sees it, too
        channel.sendall(READY)


def _end_with_parent(channel: socket.socket, task: Task, drain_seconds: float) -> None:
    """Wait for the parent's end, in a thread: no busy loop can hide it."""
    with contextlib.suppress(OSError):
        channel.recv(1)
    _log.warning("parent is gone")
    shutil.rmtree(task.folder, ignore_errors=True)  # nobody else is there to do so
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(drain_seconds + LINGER_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
