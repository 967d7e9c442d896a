"""Pages of a list: what can be read, what cannot, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from saga_orchestrator.api.cursors import Cursors
from saga_orchestrator.api.documents import Document, unreadable_document
from saga_orchestrator.ports.records import Page, Unreadable

T = TypeVar("T")


def page_document(
    page: Page[T],
    *,
    name: str,
    place: Callable[[T | Unreadable], Any],
    newest_first: bool,
    document: Callable[[T], Document],
    limit: int,
    cursors: Cursors,
    which: object,
) -> Document:
    """Return a page of a list that was asked for one row more than it shows.

    Args:
        page: what the store has.
        name: what the rows are called.
        place: of a row in the list; its parts make the position in the cursor.
        newest_first: whether the list goes down.
        document: of a row.
        limit: rows to show.
        cursors: the store's.
        which: the list and its filters.
    """
    rows: list[T | Unreadable] = [*page.items, *page.unreadable]
    rows.sort(key=place, reverse=newest_first)
    shown, more = rows[:limit], rows[limit:]
    position = ":".join(map(str, place(shown[-1]))) if more else ""
    return {
        name: [document(row) for row in shown if not isinstance(row, Unreadable)],
        "unreadable": [
            unreadable_document(row) for row in shown if isinstance(row, Unreadable)
        ],
        "next_cursor": cursors.encode(which, position) if more else None,
    }
