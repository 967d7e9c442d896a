"""`saga migrate`: bring the store's schema up to date."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from saga_orchestrator.cli.options import JsonOption, StoreOption, settings_of
from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import emit, emit_json, note
from saga_orchestrator.ports.adapters import STORES, adapter_for
from saga_orchestrator.ports.records import Migration


def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be applied.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the missing statements; apply nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the store's schema up to date.

    Safe to run again, and from many processes at once. Run it before the new
    release of `saga serve`. With --json one migration a line.

    Example:
        saga migrate --dry-run --store postgresql://saga@db/saga
    """
    url = settings_of(store=store).store
    changes_nothing = dry_run or sql
    adapter = adapter_for(STORES, "store", url)
    migrations: list[Migration] = asyncio.run(
        adapter.migrate(url, dry_run=changes_nothing)
    )
    for one in migrations:
        if as_json:
            emit_json(_document(one, applied=not changes_nothing), indent=None)
        elif sql:
            emit([f"-- {one.number:04}_{one.name}", one.sql.rstrip(), ""])
        else:
            verb = "would apply" if dry_run else "applied"
            emit([f"{verb} {one.number:04}_{one.name}"])
    if not migrations:
        note(f"{masked(url)} is up to date")


def _document(migration: Migration, *, applied: bool) -> dict[str, object]:
    return {
        "number": migration.number,
        "name": migration.name,
        "checksum": migration.checksum,
        "sql": migration.sql,
        "applied": applied,
    }
