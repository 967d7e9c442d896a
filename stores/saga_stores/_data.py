"""What grows beside a saga's row: its context by revisions, its outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from saga_orchestrator.core.dispatch import is_awaited, reads_of
from saga_orchestrator.core.draft import merged
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import Outcome
from saga_orchestrator.errors import StoreDataError
from saga_stores._json import from_json_object

Patches = Mapping[SagaId, Iterable[tuple[int, str]]]
"""Per saga (revision, JSON text), by ascending revision, from 0 on."""

Entries = Mapping[tuple[SagaId, int], str | None]
"""The ``data`` column of history entries, by saga and number."""


def awaited_step(saga: Saga | None, fence: Fence) -> int | None:
    """Return the step of a dispatch whose answer is awaited, else None."""
    number = None if saga is None else saga.plan.number.get(fence.step)
    if saga is None or number is None:
        return None
    if saga.id != fence.saga_id or saga.steps[number].direction is not fence.direction:
        return None
    return number if is_awaited(saga, number, fence.generation) else None


def in_which_awaited(
    fences: Iterable[Fence], snapshots: Mapping[SagaId, Saga]
) -> dict[SagaId, Saga]:
    """Return the snapshots that show what is asked about: these need not be read."""
    sagas = dict(snapshots)
    for fence in fences:
        if awaited_step(sagas.get(fence.saga_id), fence) is None:
            sagas.pop(fence.saga_id, None)
    return sagas


def output_entries(saga: Saga, names: Iterable[str]) -> list[tuple[SagaId, int]]:
    """Return where the outputs of these steps are, of those that succeeded."""
    return list(output_places(saga, names).values())


def command_entries(saga: Saga, number: int) -> list[tuple[SagaId, int]]:
    """Return where the outputs are that a step's command is made of."""
    return output_entries(saga, reads_of(saga, number))


def condition_entries(saga: Saga) -> list[tuple[SagaId, int]]:
    """Return where the outputs are that the plan's conditions read."""
    return output_entries(saga, saga.plan.condition_reads())


def all_entries(saga: Saga) -> list[tuple[SagaId, int]]:
    """Return where all outputs are."""
    return output_entries(saga, saga.plan.number)


def command_data(
    saga: Saga, number: int, patches: Patches, entries: Entries
) -> SagaData:
    """Return what a step's command is made of; ``command_entries`` were read."""
    context = context_at(saga.id, saga.steps[number].revision, patches)
    return SagaData(context, _outputs(saga, reads_of(saga, number), entries))


def with_condition_data(saga: Saga, patches: Patches, entries: Entries) -> Saga:
    """Return the saga as ``decide`` needs it; ``condition_entries`` were read."""
    return _with_data(saga, saga.plan.condition_reads(), patches, entries)


def with_all_data(saga: Saga, patches: Patches, entries: Entries) -> Saga:
    """Return the saga with its context and outputs; ``all_entries`` were read."""
    return _with_data(saga, saga.plan.number, patches, entries)


def with_residuals(sagas: Iterable[Saga], residuals: Iterable[Residual]) -> list[Saga]:
    """Return the sagas, each with those of the residuals that are its own."""
    known: defaultdict[SagaId, dict[int, Residual]] = defaultdict(dict)
    for one in residuals:
        known[one.fence.saga_id][one.number] = one
    return [
        replace(saga, data=replace(saga.data, residuals=known[saga.id]))
        if saga.id in known
        else saga
        for saga in sagas
    ]


def with_requests(
    sagas: Iterable[Saga], rows: Iterable[tuple[SagaId, str | None]]
) -> list[Saga]:
    """Return the sagas, each with the requests of people that were applied to it.

    Args:
        sagas: the batch's.
        rows: saga id and ``data`` of the entries of ``REQUEST_KINDS``.
    """
    known: defaultdict[SagaId, set[str]] = defaultdict(set)
    for saga_id, text in rows:
        what = f"saga {saga_id}: what a person asked of it"
        request_id = from_json_object(text or "{}", what).get("request_id")
        if isinstance(request_id, str):
            known[saga_id].add(request_id)
    return [
        replace(saga, data=replace(saga.data, requests=frozenset(known[saga.id])))
        if saga.id in known
        else saga
        for saga in sagas
    ]


def context_at(saga_id: SagaId, revision: int, patches: Patches) -> dict[str, Json]:
    """Return the context at a revision.

    Raises:
        StoreDataError: a patch is missing or cannot be read.
    """
    context: dict[str, Json] = {}
    expected = 0
    for number, text in patches.get(saga_id, ()):
        if number > revision:
            break
        patch = from_json_object(
            text, f"saga {saga_id}: its context at revision {number}"
        )
        context = merged(context, patch) if number else patch
        expected = number + 1
    if expected != revision + 1:
        raise StoreDataError(f"saga {saga_id}: revision {revision} is not there")
    return context


def _with_data(
    saga: Saga, names: Iterable[str], patches: Patches, entries: Entries
) -> Saga:
    context = context_at(saga.id, saga.revision, patches)
    return replace(saga, data=SagaData(context, _outputs(saga, names, entries)))


def _outputs(saga: Saga, names: Iterable[str], entries: Entries) -> dict[str, Json]:
    return {
        name: output_of(place, entries)
        for name, place in output_places(saga, names).items()
    }


def output_of(place: tuple[SagaId, int], entries: Entries) -> Json:
    """Return the output that stands in a history entry.

    Raises:
        StoreDataError: the entry is missing, or cannot be read.
    """
    saga_id, mark = place
    what = f"saga {saga_id}: its history entry {mark}"
    if place not in entries:
        raise StoreDataError(f"{what} is not there")
    text = entries[place]
    return None if text is None else from_json_object(text, what).get("output")


def output_places(saga: Saga, names: Iterable[str]) -> dict[str, tuple[SagaId, int]]:
    """Return where each step's output stands; steps without a success have none."""
    steps, number = saga.steps, saga.plan.number
    return {
        name: (saga.id, steps[number[name]].mark)
        for name in names
        if steps[number[name]].outcome is Outcome.SUCCEEDED
    }


def traceparents_of(entries: Entries) -> dict[SagaId, str]:
    """Return the traces of sagas, from the entries of their starts."""
    found = {}
    for (saga_id, _), data in entries.items():
        if data is not None:
            start = from_json_object(data, f"saga {saga_id}: its first history entry")
            if "traceparent" in start:
                found[saga_id] = str(start["traceparent"])
    return found
