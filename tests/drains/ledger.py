"""What the handlers did, in a file: it knows nothing of the engine."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from saga_orchestrator import StepContext

_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, process, key, ended INTEGER NOT NULL DEFAULT 0
)
"""


class Ledger:
    """The runs of all processes: who began them, and whether they came to an end."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")  # no power is cut here
        self._db.execute(_TABLE)

    def begin(self, ctx: StepContext, process: str) -> int:
        """Note a run that begins; return its number."""
        insert = "INSERT INTO runs (process, key) VALUES (?, ?)"
        return self._db.execute(insert, (process, ctx.idempotency_key)).lastrowid or 0

    def end(self, number: int) -> None:
        """Note that a run came to its end: what follows is its answer."""
        self._db.execute("UPDATE runs SET ended = 1 WHERE number = ?", (number,))

    def in_hand(self, process: str) -> int:
        """Count what a process has begun and not ended."""
        query = "SELECT count(*) FROM runs WHERE process = ? AND NOT ended"
        count: int = self._db.execute(query, (process,)).fetchone()[0]
        return count

    def interrupted(self) -> int:
        """Count the runs that never came to their end."""
        query = "SELECT count(*) FROM runs WHERE NOT ended"
        count: int = self._db.execute(query).fetchone()[0]
        return count

    def ends(self) -> Counter[str]:
        """Return how often each action and each undo came to its end."""
        query = "SELECT key, count(*) FROM runs WHERE ended GROUP BY key"
        return Counter(dict(self._db.execute(query).fetchall()))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
