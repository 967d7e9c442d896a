"""Lists in which one row that cannot be read hides no other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.overview import Waiting
from saga_orchestrator.ports.records import OutboxRow, Page, Unreadable
from saga_stores._event_rows import EVENT_COLUMNS, event_from
from saga_stores._residual_rows import residual_from
from saga_stores._rows import PLAN_DIGEST, Row, RowCodec

ReadSaga = Callable[[Row, Plan], Saga]


class KnownPlans:
    """The plans of some rows: read, unreadable or missing."""

    def __init__(
        self, plans: Mapping[str, Plan], problems: Mapping[str, StoreDataError]
    ) -> None:
        """Keep what was found.

        Args:
            plans: by digest.
            problems: why others cannot be read, by digest.
        """
        self._plans = plans
        self._problems = problems

    def of(self, row: Row) -> Plan:
        """Return the plan of a row of ``SAGA_COLUMNS``.

        Raises:
            StoreDataError: it is not there, or cannot be read.
        """
        digest = row[PLAN_DIGEST]
        if digest in self._plans:
            return self._plans[digest]
        problem = self._problems.get(digest)
        text = f"cannot be read: {problem}" if problem else "is not in the store"
        kind = StoreDataError if problem is None else type(problem)
        raise kind(f"saga {row[0]}: its plan {text}") from problem


def saga_page(rows: Iterable[Row], plans: KnownPlans, read: ReadSaga) -> Page[Saga]:
    """Return a page of rows of ``SAGA_COLUMNS``."""
    page: Page[Saga] = Page([], [])
    for row in rows:
        try:
            page.items.append(read(row, plans.of(row)))
        except StoreDataError as error:
            page.unreadable.append(Unreadable(row[0], str(error)))
    return page


def residual_page(rows: Iterable[Row], codec: RowCodec) -> Page[Residual]:
    """Return a page of rows of ``RESIDUAL_COLUMNS``."""
    page: Page[Residual] = Page([], [])
    for row in rows:
        try:
            page.items.append(residual_from(codec, row))
        except StoreDataError as error:
            page.unreadable.append(Unreadable(row[0], str(error), row[1]))
    return page


def waiting_page(
    page: Page[Saga], outbox: Iterable[Row], codec: RowCodec
) -> Page[Waiting]:
    """Return a page of sagas with their commands, rows of ``OUTBOX_COLUMNS``."""
    commands: defaultdict[str, list[OutboxRow]] = defaultdict(list)
    problems = {}
    for row in outbox:
        try:
            commands[row[0]].append(codec.outgoing(row))
        except StoreDataError as error:
            problems[row[0]] = Unreadable(row[0], str(error))
    items = [
        Waiting(saga, tuple(commands[saga.id]))
        for saga in page.items
        if saga.id not in problems
    ]
    return Page(items, [*page.unreadable, *problems.values()])


def event_page(rows: Iterable[Row], codec: RowCodec) -> Page[PublicEvent]:
    """Return a page of rows of ``EVENT_COLUMNS``."""
    page: Page[PublicEvent] = Page([], [])
    for row in rows:
        try:
            page.items.append(event_from(codec, row))
        except StoreDataError as error:
            saga_id = row[EVENT_COLUMNS.index("aggregate_id")]
            page.unreadable.append(Unreadable(saga_id, str(error), row[0]))
    return page
