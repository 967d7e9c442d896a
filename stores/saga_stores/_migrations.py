"""Migrations of a schema: which there are, and which are to be applied.

A package keeps them as ``migrations/NNNN_name.sql``, numbered from 1. One that
was released never changes; its checksum is stored when it is applied. Applying
them is the store's, under a lock of its database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from saga_orchestrator.errors import SchemaVersionError
from saga_orchestrator.ports.records import Migration

_FILE = re.compile(r"(\d{4})_(\w+)\.sql\Z")


def read_migrations(package: str) -> list[Migration]:
    """Return the migrations in a package's ``migrations`` folder, in order."""
    found = []
    for entry in (files(package) / "migrations").iterdir():
        match = _FILE.match(entry.name)
        if match:
            sql = entry.read_text(encoding="utf-8")
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], sql, checksum))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    assert numbers == list(range(1, len(found) + 1)), f"{package}: {numbers}"
    return found


def pending(
    available: Sequence[Migration], applied: Mapping[int, str]
) -> list[Migration]:
    """Return the migrations that are still to be applied, in order.

    Args:
        available: what this code has.
        applied: checksums by number, as the schema tells.

    Raises:
        SchemaVersionError: one that was applied has changed since, or the
            schema is newer than this code.
    """
    newest = max(applied, default=0)
    if newest > len(available):
        raise SchemaVersionError(
            f"the schema is at migration {newest}, this program knows "
            f"{len(available)}; upgrade the program"
        )
    for migration in available:
        checksum = applied.get(migration.number)
        if checksum not in (None, migration.checksum):
            raise SchemaVersionError(
                f"migration {migration.number:04}_{migration.name} is not the one "
                "that was applied; run the release that the schema was made with"
            )
    return [migration for migration in available if migration.number not in applied]


def require_current(
    available: Sequence[Migration], applied: Mapping[int, str], url: str
) -> None:
    """Refuse a schema that this code cannot work on.

    Args:
        available: what this code has.
        applied: checksums by number; empty: there is no schema.
        url: of the store, to be shown: without its password.

    Raises:
        SchemaVersionError: missing, too old, too new or changed; says the fix.
    """
    missing = pending(available, applied)
    if missing:
        problem = "is too old" if applied else "is missing"
        raise SchemaVersionError(
            f"the schema {problem}: {len(missing)} of {len(available)} migrations "
            f"are not applied; run `saga migrate --store {url}`"
        )
