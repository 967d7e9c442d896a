"""`saga config`: what a process would run with, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from saga_orchestrator.cli.options import (
    BrokerOption,
    JsonOption,
    StoreOption,
    settings_of,
)
from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import columns, emit, emit_json

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings

app = typer.Typer(
    help="What a process would run with.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _config() -> None:
    """Keep ``show`` a subcommand, though it is the only one."""


def show(
    store: StoreOption = None,
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each setting, its value, and where it comes from.

    A flag is stronger than the environment (SAGA_…), which is stronger than
    saga.toml in the working directory. Passwords are shown as ***.

    Example:
        saga config show --json
    """
    flags = {"store": store, "broker": broker}
    settings = settings_of(**flags)
    rows = list(_rows(settings, flags))
    if as_json:
        emit_json({name: {"value": v, "origin": origin} for name, v, origin in rows})
    else:
        emit(
            columns(
                [
                    ("SETTING", "VALUE", "FROM"),
                    *((name, str(value), origin) for name, value, origin in rows),
                ]
            )
        )


def _rows(
    settings: Settings, flags: Mapping[str, str | None]
) -> Iterator[tuple[str, Any, str]]:
    """Yield each setting with its value and its origin."""
    from saga_orchestrator.settings import FILE, PREFIX, secret_file_variable

    in_environment = {name.upper() for name in os.environ}
    in_file = _keys_of_file()
    for name, value in settings.model_dump().items():
        variable = f"{PREFIX}{name.upper()}"
        if flags.get(name) is not None:
            origin = f"flag --{name}"
        elif variable in in_environment:
            origin = f"environment {variable}"
        elif (named := secret_file_variable(name)) and named in in_environment:
            origin = f"file named by {named}"
        elif name in in_file:
            origin = f"file {FILE}"
        else:
            origin = "default"
        yield name, masked(value) if isinstance(value, str) else value, origin


def _keys_of_file() -> frozenset[str]:
    import tomllib

    from saga_orchestrator.settings import FILE

    if not FILE.is_file():
        return frozenset()
    return frozenset(tomllib.loads(FILE.read_text(encoding="utf-8")))
