"""What `saga doctor` says of starts that were asked for in SQL and are no sagas yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

from saga_orchestrator.cli.examination import Finding, Level, counted
from saga_orchestrator.cli.terminal import one_line
from saga_orchestrator.ports.starts import StartRequests, StartsLeft
from saga_orchestrator.ports.store import Store

GROUPS_MAX = 20
TAKEN_WITHIN = dt.timedelta(seconds=10)
"""An engine that knows the definition takes a start within a second."""


async def examine_starts(store: Store) -> AsyncIterator[Finding]:
    """Look for starts that were refused, and for those that nobody takes."""
    if not isinstance(store, StartRequests):
        return
    left = await store.starts_left(GROUPS_MAX)
    now = await store.now()
    for group in left:
        if group.error:
            yield _refused(group)
        elif now - group.since > TAKEN_WITHIN:
            yield _untaken(group)
    if len(left) == GROUPS_MAX:
        fix = "settle these, then look again"
        yield Finding("starts", Level.REMARK, "there may be more kinds of them", fix)


def _refused(group: StartsLeft) -> Finding:
    remove = _removal("id", group.saga_id)
    return Finding(
        "starts",
        Level.WRONG,
        f"{_counted(group)} refused: {one_line(group.error)}",
        f"mend what it says and ask again; then remove it, in psql: {remove}",
    )


def _untaken(group: StartsLeft) -> Finding:
    remove = _removal("name", group.name)
    return Finding(
        "starts",
        Level.WRONG,
        f"{_counted(group)} waiting: no engine at work knows this definition",
        f"run `saga serve` with a module that has {group.name!r}; if the name is "
        f"wrong, remove them, in psql: {remove}",
    )


def _removal(column: str, value: str) -> str:
    """Return the statement to be pasted; whoever asked for a start chose the value."""
    quoted = value.replace("'", "''")
    return f"DELETE FROM saga_starts WHERE {column} = '{quoted}'"  # noqa: S608 - shown


def _counted(group: StartsLeft) -> str:
    number = f"{counted(group.count, 'start')} of {group.name}"
    return (
        f"{number} asked for in SQL, the oldest ({group.saga_id}) at "
        f"{group.since:%Y-%m-%d %H:%M:%S} UTC,"
    )
