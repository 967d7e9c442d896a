"""Going forward: pivots, conditions, skips, updates, and stopping."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.saga import SagaData
from tests.support.sagas import ONCE, TWICE, Run, definition, seconds, sequence, step
from tests.unit.core import situations as at


def test_past_the_pivot_a_failure_stops() -> None:
    """After the pivot completed the saga only goes forward."""
    run = at.past_pivot()
    run.refuse("c")
    assert (run.saga.state, run.all_sent[-1]) == ("failed", "do.c#1")
    assert "past the pivot" in run.saga.reason
    run.retry()
    run.finish()
    assert run.saga.state == "completed"


def test_failing_pivot_is_undone() -> None:
    """The pivot itself is before the point of no return until it completes."""
    run = Run(definition(step("a"), step("b", pivot=True, retry=ONCE)))
    run.succeed("a")
    run.err("b")
    assert (run.saga.state, run.sent) == ("compensating", ["undo.b#2"])


def test_skipped_pivot_is_not_passed() -> None:
    """A pivot that did not happen binds nobody."""
    run = Run(definition(step("a"), step("b", pivot=True), step("c")))
    run.succeed("a")
    run.skip("b")
    run.refuse("c")
    assert run.sent == ["undo.a#2"]


def test_past_the_pivot_the_deadline_stops() -> None:
    """The saga awaits what runs, sends nothing more, and is failed."""
    steps = [step("a", pivot=True), step("b"), step("c")]
    run = Run(definition(*steps, deadline=seconds(600)))
    run.now += seconds(60)
    run.succeed("a")
    run.wait(540)
    assert (run.saga.state, run.open_steps) == ("started", ["b"])
    run.succeed("b")
    assert (run.saga.state, run.states) == ("failed", ["completed"] * 2 + ["pending"])


def test_stop_awaits_running_steps() -> None:
    """Past the pivot a failure lets parallel steps end, without retries."""
    sides = [step(name, depends_on=["p"], retry=TWICE) for name in ("x", "y", "z")]
    run = Run(definition(step("p", pivot=True), *sides))
    run.succeed("p")
    run.err("z")
    run.refuse("x")
    assert (run.saga.state, run.states[3]) == ("started", "failed")
    run.err("y")
    assert run.saga.state == "failed"
    run.retry()
    assert sorted(run.sent) == ["do.x#2", "do.y#2", "do.z#2"]


def test_park() -> None:
    """``on_failure="park"`` stops for a person, with nothing undone."""
    run = at.parked()
    assert (run.saga.state, run.sent) == ("failed", [])
    assert "step b" in run.saga.reason
    run.compensate()
    run.finish()
    assert run.saga.state == "compensated"


def test_parked_saga_completes_what_runs() -> None:
    """If the last running step is the last of all, the saga is done after all."""
    made = definition(*sequence("a", "b"), deadline=seconds(60), on_deadline="suspend")
    run = Run(made)
    run.now += seconds(10)
    run.succeed("a")
    run.wait(50)
    assert run.saga.state == "started"
    run.succeed("b")
    assert run.saga.state == "completed"


_HOLDS: list[tuple[Any, Any]] = [
    (True, True),
    (1, 1.0),
    ("x", "x"),
    (None, None),
    ({"a": [1]}, {"a": [1]}),
]
_FAILS: list[tuple[Any, Any]] = [
    (True, False),
    (True, 1),
    (0, False),
    ("1", 1),
    ([True], [1]),
    (None, False),
]


@pytest.mark.parametrize(
    ("found", "wanted", "runs"),
    [(*pair, True) for pair in _HOLDS] + [(*pair, False) for pair in _FAILS],
)
def test_condition_compares_as_json(found: Any, wanted: Any, *, runs: bool) -> None:
    """1 is not true, whatever Python says, at any depth."""
    run = Run(definition(step("a", when={"context.x": wanted})), {"x": found})
    assert run.states == ["started" if runs else "skipped"]
    assert run.saga.is_completed is not runs


def test_condition_on_what_is_not_there() -> None:
    """Neither run nor skipped: a misspelt path must not skip a check for fraud."""
    run = Run(definition(step("a"), step("b", when={"context.x.y": None}), step("c")))
    run.succeed("a")
    assert run.states == ["compensating", "failed", "pending"]
    assert run.status("b").outcome == "refused"
    assert run.saga.reason == "step b: when: 'context.x.y' has no 'x'"
    run.finish()
    assert (run.saga.state, run.states[0]) == ("compensated", "compensated")


def test_unjudged_condition_undoes_nothing_of_its_own_step() -> None:
    """The step was never sent, so even ``always`` has nothing to undo."""
    unjudged = step("b", when={"context.x": 1}, undo_failed="always")
    run = Run(definition(step("a"), unjudged))
    run.succeed("a")
    run.finish()
    assert run.all_sent == ["do.a#1", "undo.a#2"]


def test_unjudged_condition_is_judged_again_at_a_retry() -> None:
    """A parked saga goes on once the path is there, or the step is resolved."""
    steps = [step("a"), step("b", when={"context.x": 1}), step("c")]
    run = Run(definition(*steps, on_failure="park"))
    run.succeed("a")
    assert (run.saga.state, run.states[1]) == ("failed", "failed")
    run.retry()
    assert (run.saga.state, run.states[1]) == ("failed", "failed")
    run.resolve("b", {"ok": True})
    assert (run.saga.state, run.sent) == ("started", ["do.c#1"])


@pytest.mark.parametrize("by", ["retry", "resolve"])
def test_unjudged_condition_aborts_what_a_person_let_go_on(by: str) -> None:
    """The saga starts again and turns back in one event; the history tells both."""
    steps = [step("a"), step("b"), step("c", when={"context.x": 1})]
    made = definition(*steps, deadline=seconds(5), on_deadline="suspend")
    run = Run(made)
    run.succeed("a")
    run.wait(5)
    run.refuse("b") if by == "resolve" else run.succeed("b")
    assert run.saga.state == "failed"
    run.retry() if by == "retry" else run.resolve("b")
    states = [entry.state.value for entry in run.history]
    assert states[-3:] == ["failed", "started", "compensating"]
    run.finish()
    assert run.saga.state == "compensated"


def test_step_that_several_paths_make_ready_is_sent_once() -> None:
    """Both that it waits for are passed over in one event."""
    steps = [
        step("a", action="", compensation=""),
        step("b", action="", compensation=""),
        step("c", depends_on=["a", "b"]),
        step("d", depends_on=["a", "b"]),
    ]
    run = Run(definition(*steps))
    assert run.sent == ["do.c#1", "do.d#1"]


def test_unjudged_condition_lets_running_siblings_end() -> None:
    """What was sent before is awaited, then undone; nothing is sent with the abort."""
    steps = [
        step("a"),
        step("b"),
        step("c", depends_on="a", when={"outputs.a.x": 1}),
        step("d", depends_on="a"),
    ]
    run = Run(definition(*steps))
    run.succeed("a", {})
    assert run.states == ["completed", "started", "failed", "pending"]
    run.succeed("b")
    run.finish()
    assert run.all_sent == ["do.a#1", "do.b#1", "undo.b#2", "undo.a#2"]


def test_all_conditions_must_hold() -> None:
    """Conditions are joined by and."""
    made = definition(step("a", when={"context.x": 1, "context.y": 1}))
    assert Run(made, {"x": 1, "y": 1}).states == ["started"]
    assert Run(made, {"x": 1, "y": 2}).states == ["skipped"]


def test_condition_is_judged_in_its_turn() -> None:
    """It sees the outputs and updates of the steps before."""
    steps = [
        step("a"),
        step("b", when={"context.go": True, "outputs.a.ok": True}),
    ]
    run = Run(definition(*steps), {"go": False})
    run.succeed("a", {"ok": True}, update={"go": True})
    assert run.sent == ["do.b#1"]


def test_condition_sees_the_update_of_a_skip() -> None:
    """``Skip`` may come with an update, too."""
    run = Run(definition(step("a"), step("b", when={"context.go": True})), {})
    run.skip("a", update={"go": True})
    assert run.sent == ["do.b#1"]


@pytest.mark.parametrize("by", ["handler", "condition"])
def test_condition_on_a_skipped_step(by: str) -> None:
    """A skipped step has output None."""
    when = None if by == "handler" else {"context.never": 1}
    steps = [
        step("a", when=when),
        step("b"),
        step("c", when={"outputs.a": None, "outputs.a.deep": None}),
    ]
    run = Run(definition(*steps), {"never": 0})
    if by == "handler":
        run.skip("a")
    # As a store loads it: the outputs of steps that succeeded.
    run.saga = replace(run.saga, data=SagaData({}, {}))
    run.succeed("b")
    assert run.sent == ["do.c#1"]


def test_skipped_step_satisfies_its_dependents() -> None:
    """It is done, has no output and is not undone."""
    run = Run(definition(*sequence("a", "b", "c")))
    run.skip("a", reason="not needed")
    assert (run.sent, run.history[-1].data) == (["do.b#1"], {"reason": "not needed"})
    run.succeed("b")
    run.refuse("c")
    run.finish()
    assert run.states == ["skipped", "compensated", "failed"]


def test_saga_of_skipped_steps_completes() -> None:
    """There is nothing left to do."""
    run = Run(definition(*sequence("a", "b", when={"context.x": 1})), {"x": 2})
    assert (run.saga.state, run.states) == ("completed", ["skipped"] * 2)


def test_next_steps() -> None:
    """Pending steps whose dependencies are done, for people to see."""
    run = at.parked()
    assert list(run.saga.next_steps) == []
    run.succeed("b")
    assert list(run.saga.next_steps) == ["c"]
    assert run.saga.completed_steps == ("a", "b")


def test_parallel_updates_merge_by_key() -> None:
    """Per top-level key the last commit wins."""
    steps = [step("r"), step("x", depends_on="r"), step("y", depends_on="r")]
    run = Run(definition(*steps), {"k": {"deep": 1}, "gone": 1})
    run.succeed("r", update={})
    assert (run.saga.revision, run.last.update) == (0, None)
    run.succeed("y", update={"k": {"y": 1}, "gone": None})
    run.succeed("x", update={"k": {"x": 1}})
    assert run.saga.context == {"k": {"x": 1}}
    assert run.saga.revision == 2


def test_repeated_answer_merges_no_update() -> None:
    """An ignored answer has no effect on the context, either."""
    run = Run(definition(*sequence("a", "b")), {"x": 0})
    run.succeed("a", update={"x": 1})
    run.succeed("b", update={"x": 2})
    run.succeed("a", update={"x": 1}, generation=1)
    assert (run.saga.context, run.last.update) == ({"x": 2}, None)


def test_start_is_recorded() -> None:
    """The first entry is the start, and it sent the first steps."""
    run = Run(definition(*sequence("a", "b")), {"x": 1})
    (entry,) = run.history
    assert (entry.seq, entry.kind) == (1, HistoryKind.SAGA_STARTED)
    assert [sent.fence for sent in entry.sent] == [run.fence("a")]
    assert run.last.created
