"""Assembles the `saga` command; each command is in a file of its own."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import saga_orchestrator
from saga_orchestrator.cli import config, keys, residual
from saga_orchestrator.cli.bench import bench
from saga_orchestrator.cli.compensate import compensate
from saga_orchestrator.cli.demo import demo
from saga_orchestrator.cli.dev import dev
from saga_orchestrator.cli.doctor import doctor
from saga_orchestrator.cli.exits import MEANINGS
from saga_orchestrator.cli.get import get
from saga_orchestrator.cli.give_up import give_up
from saga_orchestrator.cli.graph import graph
from saga_orchestrator.cli.group import SagaGroup
from saga_orchestrator.cli.list import list_sagas
from saga_orchestrator.cli.migrate import migrate
from saga_orchestrator.cli.resolve import resolve
from saga_orchestrator.cli.retry import retry
from saga_orchestrator.cli.serve import serve
from saga_orchestrator.cli.stale import stale
from saga_orchestrator.cli.start import start
from saga_orchestrator.cli.watch import watch
from saga_orchestrator.cli.why import why
from saga_orchestrator.cli.worker import worker

_COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "bench": bench,
    "dev": dev,
    "serve": serve,
    "worker": worker,
    "start": start,
    "get": get,
    "list": list_sagas,
    "watch": watch,
    "why": why,
    "stale": stale,
    "graph": graph,
    "compensate": compensate,
    "retry": retry,
    "resolve": resolve,
    "give-up": give_up,
    "migrate": migrate,
    "doctor": doctor,
}

_AS_IT_IS = "\b\n"  # tells the formatter not to wrap the paragraph that follows

_EXIT_CODES = f"{_AS_IT_IS}Exit codes:\n" + "\n".join(
    f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items()
)

app = typer.Typer(
    name="saga",
    cls=SagaGroup,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # panels would cost as much time as all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help_of(command: Callable[..., Any]) -> str:
    """Return a docstring as help, its example on lines of its own."""
    text = inspect.getdoc(command) or ""
    return text.replace("\n\nExample:", f"\n\n{_AS_IT_IS}Example:")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"saga-orchestrator {saga_orchestrator.__version__}")
        raise typer.Exit


def saga(
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="SAGA_DEBUG", help="Show errors' tracebacks."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Sagas on RabbitMQ and PostgreSQL: nothing lost, nothing done twice.

    Settings come from flags, from the environment (SAGA_STORE, SAGA_BROKER, and
    so on) or from saga.toml; `saga config show` tells which. Without any of them
    sagas are kept in saga.db, and the broker is in the process.

    Example:
        saga dev handlers.orders
    """
    del debug, version  # SagaGroup reads the one, its callback the other
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


app.callback(help=_help_of(saga))(saga)
for _name, _command in _COMMANDS.items():
    app.command(_name, help=_help_of(_command))(_command)
for _name, _command in residual.COMMANDS.items():
    residual.app.command(_name, help=_help_of(_command))(_command)
app.add_typer(residual.app, name="residual")
for _name, _command in keys.COMMANDS.items():
    keys.app.command(_name, help=_help_of(_command))(_command)
app.add_typer(keys.app, name="keys")
config.app.command("show", help=_help_of(config.show))(config.show)
app.add_typer(config.app, name="config")
