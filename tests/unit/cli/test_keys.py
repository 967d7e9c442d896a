"""`saga keys`: made once, shown once, revoked for good."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

pytestmark = pytest.mark.usefixtures("store")


def test_a_key_is_shown_once_and_kept_as_its_hash(
    saga: Callable[..., Result], directory: Path
) -> None:
    """Stdout has the key and nothing else; the file has only its SHA-256."""
    done = saga("keys", "new", "shop", "--role", "start")
    assert (done.exit_code, done.stderr) == (0, "keep it: it cannot be shown again\n")
    key = done.stdout.removesuffix("\n")
    assert key.startswith("saga_")
    assert len(key) == len("saga_") + 43  # 32 bytes in base 64
    kept = b"".join(file.read_bytes() for file in directory.glob("saga.db*"))
    assert key.encode() not in kept
    assert hashlib.sha256(key.encode()).hexdigest().encode() in kept
    assert saga("keys", "new", "till", "--role", "start").stdout != done.stdout


def test_the_list(saga: Callable[..., Result]) -> None:
    """Names, roles and instants; never a key or a hash."""
    assert saga("keys", "list").stderr == "no keys\n"
    saga("keys", "new", "shop", "--role", "start")
    saga("keys", "new", "ann", "--role", "admin")
    saga("keys", "revoke", "shop")
    lines = saga("keys", "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["NAME", "ROLE"],
        ["ann", "admin"],
        ["shop", "start"],
    ]
    shown = [
        json.loads(line) for line in saga("keys", "list", "--json").stdout.splitlines()
    ]
    assert [set(key) for key in shown] == [
        {"name", "role", "created_at", "revoked_at"}
    ] * 2
    assert [bool(key["revoked_at"]) for key in shown] == [False, True]


def test_as_json(saga: Callable[..., Result]) -> None:
    """A new key is a document that has the key; a revoked one has its instant."""
    made = json.loads(saga("keys", "new", "a", "--role", "read", "--json").stdout)
    assert (made["name"], made["role"], made["revoked_at"]) == ("a", "read", None)
    assert made["key"].startswith("saga_")
    revoked = json.loads(saga("keys", "revoke", "a", "--json").stdout)
    assert revoked["revoked_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("new", "shop", "--role", "read"), 4, "take another name"),
        (("revoke", "nobody"), 3, "no API key 'nobody'"),
        (("new", "a b", "--role", "read"), 2, "name 'a b' is not 1 to 64"),
        (("new", "x" * 65, "--role", "read"), 2, "is not 1 to 64"),
        (("new", "till", "--role", "root"), 2, "--role"),
        (("new", "till"), 2, "--role"),
    ],
)
def test_what_is_refused(
    saga: Callable[..., Result], arguments: tuple[str, ...], code: int, words: str
) -> None:
    """A taken or bad name, an unknown role, a missing key: named, nothing made."""
    saga("keys", "new", "shop", "--role", "read")
    done = saga("keys", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr
    assert len(saga("keys", "list").stdout.splitlines()) == 2
