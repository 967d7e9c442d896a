"""What the SQL stores share: queries by name, migrations, JSON in columns."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from saga_orchestrator.errors import SchemaVersionError, StoreDataError
from saga_orchestrator.ports.records import Migration
from saga_stores._json import from_json, from_json_object, storable, to_json
from saga_stores._migrations import pending, read_migrations, require_current
from saga_stores._sql import parse_queries

AVAILABLE = [Migration(n, f"m{n}", f"sql {n}", f"sum {n}") for n in (1, 2, 3)]


def test_queries_come_by_name() -> None:
    """A block is its statement, without comments and semicolon."""
    text = """\
-- What this file is for.

-- name: one
-- Why.
SELECT 1
  -- inside
FROM a;

-- name: two
SELECT 2;
"""
    assert parse_queries(text) == {"one": "SELECT 1\nFROM a", "two": "SELECT 2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1;", "without a name"),
        ("-- name: a\n-- name: b\nSELECT 1;", "'a' has no statement"),
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", "two queries"),
    ],
)
def test_a_broken_query_file_is_refused(text: str, said: str) -> None:
    """A mistake shows when the file is loaded."""
    with pytest.raises(ValueError, match=said):
        parse_queries(text)


@pytest.mark.parametrize("package", ["saga_stores.sqlite", "saga_stores.postgres"])
def test_migrations_are_numbered_and_summed(package: str) -> None:
    """A store's migrations count from 1; the checksum is that of the text."""
    found = read_migrations(package)
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert all(
        one.checksum == hashlib.sha256(one.sql.encode()).hexdigest() for one in found
    )


def test_what_was_not_applied_is_pending() -> None:
    """Nothing, some or all of the migrations may be left."""
    assert pending(AVAILABLE, {}) == AVAILABLE
    assert pending(AVAILABLE, {1: "sum 1", 2: "sum 2"}) == AVAILABLE[2:]
    assert pending(AVAILABLE, {1: "sum 1", 2: "sum 2", 3: "sum 3"}) == []


def test_a_changed_migration_is_named() -> None:
    """One that was applied and has changed since stops everything."""
    with pytest.raises(SchemaVersionError, match="0002_m2"):
        pending(AVAILABLE, {1: "sum 1", 2: "another"})


def test_a_newer_schema_asks_for_a_newer_program() -> None:
    """A schema that this code does not know is left alone."""
    with pytest.raises(SchemaVersionError, match="upgrade the program"):
        pending(AVAILABLE, {4: "sum 4"})


@pytest.mark.parametrize(
    ("applied", "said"),
    [({}, "is missing: 3 of 3"), ({1: "sum 1", 2: "sum 2"}, "is too old: 1 of 3")],
)
def test_an_old_schema_says_the_command(applied: dict[int, str], said: str) -> None:
    """The fix stands in the message."""
    with pytest.raises(SchemaVersionError, match=said) as refused:
        require_current(AVAILABLE, applied, "sqlite:///x.db")
    assert "run `saga migrate --store sqlite:///x.db`" in str(refused.value)


@pytest.mark.parametrize("value", [1, "é", "\\u0000", [[]] * 99, {"a": [None, 1.5]}])
def test_json_reads_back(value: Any) -> None:
    """What is written is read."""
    assert from_json(to_json(value, "it"), "it") == value


def test_json_that_no_store_could_read_is_refused() -> None:
    """NaN, NUL, surrogates, too deep, too long an integer, no JSON at all."""
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    for value in (float("nan"), "\0", "\udc00", deep, 10**5000, object()):
        with pytest.raises(StoreDataError, match=r"^saga x: it cannot be stored"):
            to_json({"k": value}, "saga x: it")


def test_columns_that_cannot_be_read_are_named() -> None:
    """A damaged column says whose it is."""
    for text in ("{", "[]", "[" * 2000):
        with pytest.raises(StoreDataError, match=r"^saga x: it cannot be read"):
            from_json_object(text, "saga x: it")


def test_text_that_no_store_could_hold_is_refused() -> None:
    """NUL and lone surrogates; anything else passes unchanged."""
    assert storable("größe 🚀", "it") == "größe 🚀"
    for text in ("a\0", "a\ud800"):
        with pytest.raises(StoreDataError, match=r"^it cannot be stored"):
            storable(text, "it")


@pytest.mark.parametrize("text", ['{"x": 1e999}', '{"x": [-1e999]}', '{"x": NaN}'])
def test_a_number_that_is_none_is_not_read(text: str) -> None:
    """A row that was tampered with is an error of its own, not a poisoned frame."""
    with pytest.raises(StoreDataError, match="saga x: it cannot be read"):
        from_json_object(text, "saga x: it")
