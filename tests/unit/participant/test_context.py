"""What a handler sees, and what it may change."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from structlog.testing import capture_logs

from saga_orchestrator.errors import PayloadError
from saga_orchestrator.participant.context import StepContext
from tests.support.participants import NOW, SAGA, action, context_of, undo


def test_says_which_step_of_which_saga_runs() -> None:
    """The ids, the attempt and the keys come from the command."""
    ctx = context_of(undo({"id": 1}, attempt=4))
    assert (ctx.saga_id, ctx.step, ctx.attempt) == (SAGA, "charge", 4)
    assert ctx.saga_name == "order"
    assert ctx.output == {"id": 1}
    assert ctx.idempotency_key == f"{SAGA}:charge:compensation"
    assert ctx.action_key == f"{SAGA}:charge:action"


def test_changing_what_was_given_changes_nothing_else() -> None:
    """Context, input and outputs are copies; a command shares its data."""
    shared: dict[str, Any] = {"items": [1]}
    command = action(shared, context=shared, outputs={"create": shared})
    ctx = context_of(command)

    ctx.context["items"].append(2)
    ctx.input["items"].append(3)
    ctx.outputs["create"]["items"].append(4)

    assert shared == {"items": [1]}
    assert ctx.context == {"items": [1, 2]}


@pytest.mark.parametrize(
    ("timeout_s", "expires_s", "deadline_s", "expected_s"),
    [(30, 99, None, 30), (30, 20, None, 20), (30, 20, 10, 10), (5, 20, 10, 5)],
)
def test_the_deadline_is_the_earliest_end(
    timeout_s: int, expires_s: int, deadline_s: int | None, expected_s: int
) -> None:
    """The run's timeout, the step's limit, the saga's deadline: the first counts."""

    def at(seconds: int) -> dt.datetime:
        return NOW + dt.timedelta(seconds=seconds)

    command = action(
        timeout=dt.timedelta(seconds=timeout_s),
        expires_at=at(expires_s),
        deadline_at=None if deadline_s is None else at(deadline_s),
    )
    assert context_of(command).deadline == at(expected_s)


def test_updates_gather_by_key() -> None:
    """The last value of a key wins; None stays, for it deletes the key."""
    ctx = context_of(action())
    ctx.update({"a": 1, "b": {"x": 1}})
    ctx.update({"a": 2, "c": None})
    assert ctx.updates == {"a": 2, "b": {"x": 1}, "c": None}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": {"b": object()}}, "update.a.b"),
        ({"price": float("nan")}, "update.price"),
        ({"a": "x" * 100}, "update"),
        ({1: 2}, "update"),
    ],
)
def test_an_update_that_cannot_travel_is_refused_at_once(
    value: Any, named: str
) -> None:
    """The error names the key, and what was gathered before stays."""
    ctx = StepContext(action(), now=NOW, bytes_max=64)
    ctx.update({"kept": 1})
    with pytest.raises(PayloadError) as caught:
        ctx.update(value)
    assert caught.value.path == named
    assert ctx.updates == {"kept": 1}


def test_the_logger_says_what_a_line_is_about() -> None:
    """Saga, step and attempt are bound."""
    with capture_logs() as lines:
        context_of(action(attempt=2)).logger.info("charged")
    (line,) = lines
    assert (line["saga_id"], line["step"], line["attempt"]) == (SAGA, "charge", 2)


# -- events --------------------------------------------------------------------


def test_events_are_kept_in_order_as_they_were() -> None:
    """What a handler does with a payload afterwards changes nothing."""
    ctx = context_of(action({}))
    payload = {"items": [1]}
    ctx.emit("payment.charged", payload)
    payload["items"].append(2)
    ctx.emit("mail_sent")
    assert [(one.type, one.payload) for one in ctx.emitted] == [
        ("payment.charged", {"items": [1]}),
        ("mail_sent", None),
    ]


@pytest.mark.parametrize(
    "event_type",
    ["", "1a", ".a", "a b", "a/b", "a\n", "é", "a" * 101, "a#", "a*", None, 7],
)
def test_a_type_that_is_no_word_is_refused(event_type: Any) -> None:
    """At the call, so that its line is in the traceback."""
    ctx = context_of(action({}))
    with pytest.raises(PayloadError, match="event_type"):
        ctx.emit(event_type, {})
    assert ctx.emitted == ()


@pytest.mark.parametrize("event_type", ["a", "A-b_c.9", "a" * 100])
def test_a_type_is_words(event_type: str) -> None:
    """Letters, digits and a few signs, at most a hundred."""
    ctx = context_of(action({}))
    ctx.emit(event_type)
    assert len(ctx.emitted) == 1


@pytest.mark.parametrize(
    "payload", [float("nan"), "\0", "\udc00", 2**64, {1: 2}, object(), "x" * 2**20]
)
def test_a_payload_that_cannot_travel_is_refused(payload: Any) -> None:
    """By the rules of every payload; what was emitted before stays."""
    ctx = context_of(action({}))
    ctx.emit("a", 1)
    with pytest.raises(PayloadError, match="event b"):
        ctx.emit("b", {"deep": payload})
    assert [one.type for one in ctx.emitted] == ["a"]


def test_the_events_of_a_run_are_bounded_together() -> None:
    """A hundred of them, and of one payload's size: the answer must travel."""
    ctx = context_of(action({}))
    for _ in range(100):
        ctx.emit("a")
    with pytest.raises(PayloadError, match="100, the limit of one run"):
        ctx.emit("a")
    ctx = context_of(action({}))
    ctx.emit("a", "x" * 600_000)
    with pytest.raises(PayloadError, match="events"):
        ctx.emit("a", "x" * 600_000)
    ctx = context_of(action({}))
    ctx.emit("a", [0] * 15_000)
    with pytest.raises(PayloadError, match="events"):
        ctx.emit("a", [0] * 15_000)


def test_a_payload_may_be_as_deep_as_any() -> None:
    """The list that holds the events takes no level of theirs."""
    deep: Any = 0
    for _ in range(64):
        deep = [deep]
    ctx = context_of(action({}))
    ctx.emit("a", deep)
    assert ctx.emitted[0].payload == deep
