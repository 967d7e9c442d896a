"""SQL in files: a store's ``queries.sql`` as statements by name.

A file is a list of blocks. Each begins with its name, then says what it is
for, then holds one statement::

    -- name: settle
    -- Forget commands that the broker has confirmed.
    DELETE FROM saga_outbox WHERE ...
"""

from __future__ import annotations

from importlib.resources import files

_HEAD = "-- name:"


def load_queries(package: str) -> dict[str, str]:
    """Return the statements of a package's ``queries.sql``, by name."""
    return parse_queries((files(package) / "queries.sql").read_text(encoding="utf-8"))


def parse_queries(text: str) -> dict[str, str]:
    """Return the statements of the text, by name, without comments and semicolon.

    Raises:
        ValueError: a name twice, a block without statement, or SQL before the
            first name.
    """
    blocks: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if line.startswith(_HEAD):
            name = line.removeprefix(_HEAD).strip()
            if name in blocks:
                raise ValueError(f"two queries are named {name!r}")
            lines = blocks[name] = []
        elif line.strip() and not line.lstrip().startswith("--"):
            if lines is None:
                raise ValueError(f"a query without a name: {line!r}")
            lines.append(line)
    for name, statement in blocks.items():
        if not statement:
            raise ValueError(f"query {name!r} has no statement")
    return {name: "\n".join(lines).rstrip(";") for name, lines in blocks.items()}
