"""The schema: bringing it up to date, and refusing one that does not fit."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.records import Migration
from saga_stores._migrations import pending, read_migrations, require_current
from saga_stores.postgres.address import Address
from saga_stores.postgres.database import SQL, Database, single_connection

MIGRATIONS = read_migrations(__package__)


async def migrate(address: Address, *, dry_run: bool) -> list[Migration]:
    """Apply what is missing; safe from many processes at once.

    Each migration is a transaction of its own with its row in
    ``schema_migrations``, so one that is killed leaves nothing. An advisory
    lock lets one process at a time apply; the others then find it done.

    Returns:
        Those that this call applied, or would apply.
    """
    async with single_connection(address) as connection:
        missing = pending(MIGRATIONS, await _applied(connection))
        if dry_run:
            return missing
        return [one for one in missing if await _apply(connection, one)]


async def check(database: Database) -> None:
    """Refuse a schema that this code cannot work on.

    Raises:
        SchemaVersionError: says which command mends it.
    """
    async with database.connection() as connection:
        require_current(MIGRATIONS, await _applied(connection), database.shown)


async def read_secret(database: Database) -> bytes:
    """Return the 32 bytes that were made with the schema."""
    rows = await database.fetch("secret")
    if not rows:
        raise StoreError(f"{database.shown}: saga_meta has no secret; restore it")
    secret: bytes = rows[0]["value"]
    return secret


async def _apply(connection: asyncpg.Connection, migration: Migration) -> bool:
    """Apply a migration unless another process did meanwhile."""
    async with connection.transaction():
        await connection.execute(SQL["lock_migrations"])
        await connection.execute(SQL["create_migrations"])
        if migration not in pending(MIGRATIONS, await _applied(connection)):
            return False
        await connection.execute(migration.sql)
        await connection.execute(
            SQL["record_migration"],
            *(migration.number, migration.name, migration.checksum),
        )
    return True


async def _applied(connection: asyncpg.Connection) -> dict[int, str]:
    if not await connection.fetchval(SQL["has_migrations"]):
        return {}
    rows = await connection.fetch(SQL["applied_migrations"])
    return {row["number"]: row["checksum"] for row in rows}
