"""What an operator asks of a saga: it is done and on record, or it is refused."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator.ports.store import Store
from tests.conformance.builders import begin, plan_of, refuse, step, succeed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from typer.testing import Result

    from saga_orchestrator.core.saga import Saga

    Run = Callable[..., Result]
    Make = Callable[[Store], Awaitable[Saga]]

pytestmark = pytest.mark.usefixtures("store")

WHY = ("--reason", "the bank is back", "--principal", "ann")
ON_RECORD = {"reason": "the bank is back", "principal": "ann"}


def _made(make: Make) -> str:
    """Bring a saga somewhere, in the store of the working directory."""

    async def run() -> str:
        store = await Store.open("sqlite:///saga.db")
        try:
            return (await make(store)).id
        finally:
            await store.close()

    return asyncio.run(run())


async def _started(store: Store) -> Saga:
    return await begin(store, plan_of("a", "b"))


async def _compensating(store: Store) -> Saga:
    saga = await succeed(store, await _started(store), "a", output={"id": 1})
    return await refuse(store, saga, "b")


async def _compensated(store: Store) -> Saga:
    return await succeed(store, await _compensating(store), "a")


async def _completed(store: Store) -> Saga:
    saga = await succeed(store, await _started(store), "a")
    return await succeed(store, saga, "b")


async def _stuck_undo(store: Store) -> Saga:
    """A failed saga: the undo of `a` gave up."""
    return await refuse(store, await _compensating(store), "a")


async def _parked(store: Store) -> Saga:
    """A failed saga: the action of `b` gave up, and the definition parks."""
    saga = await begin(store, plan_of("a", "b", "c", on_failure="park"))
    saga = await succeed(store, saga, "a", output={"id": 1})
    return await refuse(store, saga, "b")


async def _past_its_pivot(store: Store) -> Saga:
    saga = await begin(store, plan_of(step("a", pivot=True), "b"))
    saga = await succeed(store, saga, "a")
    return await refuse(store, saga, "b")


@pytest.mark.parametrize(
    ("make", "command", "kind", "state"),
    [
        (_parked, ["retry"], "retry_requested", "started"),
        (_stuck_undo, ["retry"], "retry_requested", "compensating"),
        (_parked, ["resolve", "b"], "step_resolved", "started"),
        (_stuck_undo, ["resolve", "a"], "step_resolved", "compensated"),
        (_started, ["give-up", "a"], "wait_given_up", "compensating"),
        (_compensating, ["give-up", "a"], "wait_given_up", "failed"),
        (_stuck_undo, ["compensate"], "compensate_requested", "compensating"),
    ],
)
def test_it_is_done_and_on_record(
    saga: Run, make: Make, command: list[str], kind: str, state: str
) -> None:
    """The saga moves; the history has who asked and why; stderr says what next."""
    saga_id = _made(make)
    before = len(_history(saga, saga_id))
    done = saga(command[0], saga_id, *command[1:], *WHY)
    assert done.exit_code == 0, done.stderr
    glyph = {"compensated": "↩", "failed": "✗"}.get(state, "·")
    assert done.stdout == f"{saga_id}  {glyph} {state}\n"
    moves = state in ("started", "compensating")
    assert done.stderr == (f"follow it: saga watch {saga_id}\n" if moves else "")
    entry = _history(saga, saga_id)[before]
    assert entry["kind"] == kind
    assert entry["data"].items() >= ON_RECORD.items()


def test_json_is_the_saga(saga: Run) -> None:
    """With --json stdout is the document after the act, and stderr is silent."""
    done = saga("retry", _made(_parked), *WHY, "--json")
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert document["state"] == "started"
    assert document["outputs"] == {"a": {"id": 1}}
    assert [one["attempt"] for one in document["steps"]] == [1, 1, 0]


@pytest.mark.parametrize("given", ['{"id": 2}', "@done.json", "-"])
def test_the_output_of_what_was_done_by_hand(
    saga: Run, directory: Path, given: str
) -> None:
    """It comes from the command line, a file or stdin, and counts as the step's."""
    (directory / "done.json").write_text('{"id": 2}')
    saga_id = _made(_parked)
    done = saga(
        "resolve", saga_id, "b", *WHY, "--output", given, "--json", stdin='{"id": 2}'
    )
    document = json.loads(done.stdout)
    assert document["outputs"] == {"a": {"id": 1}, "b": {"id": 2}}
    assert [one["state"] for one in document["steps"]] == [
        "completed", "completed", "started",
    ]  # fmt: skip
    text = saga("get", saga_id).stdout
    assert "done by hand, says ann: the bank is back\n" in text
    assert '· b: resolved by ann: the bank is back; output {"id": 2}\n' in text


def test_an_undo_done_by_hand(saga: Run) -> None:
    """It is told as an undo, by step and in the timeline."""
    saga_id = _made(_stuck_undo)
    saga("resolve", saga_id, "a", *WHY)
    text = saga("get", saga_id).stdout
    assert "undone by hand, says ann: the bank is back\n" in text
    assert "· undo a: resolved by ann: the bank is back\n" in text


def test_the_user_asks(saga: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --principal the user's name is on record."""
    monkeypatch.setenv("LOGNAME", "bea")
    saga_id = _made(_parked)
    saga("retry", saga_id, "--reason", "again")
    asked = [e for e in _history(saga, saga_id) if e["kind"] == "retry_requested"]
    told = asked[0]["data"]
    assert (told["principal"], told["reason"]) == ("bea", "again")


@pytest.mark.parametrize(
    ("make", "command", "words"),
    [
        (_started, ["retry"], "is started: only a failed saga can be retried"),
        (_completed, ["retry"], "is completed: "),
        (_compensating, ["retry"], "is compensating: "),
        (_started, ["resolve", "a"], "is started: only a step of a failed saga"),
        (_compensated, ["resolve", "a"], "is compensated: "),
        (_parked, ["resolve", "a"], "step a is completed; only failed ones resolve"),
        (_parked, ["resolve", "b", "--undone"], "count step b as done only"),
        (_stuck_undo, ["resolve", "a", "--done"], "count step a as undone only"),
        (_stuck_undo, ["resolve", "a", "--output", "1"], "which has no output"),
        (_stuck_undo, ["resolve", "b"], "step b is failed, with nothing to undo"),
        (_parked, ["resolve", "x"], "it has no step 'x'; its steps are a, b, c"),
        (_parked, ["give-up", "b"], "is failed: nothing is in flight"),
        (_completed, ["give-up", "a"], "is completed: nothing is in flight"),
        (_started, ["give-up", "b"], "step b is pending and idle"),
        (_started, ["give-up", "x"], "it has no step 'x'; its steps are a, b"),
        (_completed, ["compensate"], "is completed: undoing a completed saga needs"),
        (_past_its_pivot, ["compensate"], "is failed: it is past its pivot; "),
    ],
)
def test_the_state_does_not_allow_it(
    saga: Run, make: Make, command: list[str], words: str
) -> None:
    """It is code 4; the line names the state and why, and nothing changes."""
    saga_id = _made(make)
    before = saga("get", saga_id, "--json").stdout
    done = saga(command[0], saga_id, *command[1:], *WHY)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith(f"error: saga {saga_id} is ")
    assert words in done.stderr
    assert saga("get", saga_id, "--json").stdout == before


@pytest.mark.parametrize("command", ["retry", "resolve", "give-up", "compensate"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Missing option '--reason'"),
        (["--reason", " "], "'--reason': say why; it is kept in the history"),
        (["--reason", "x" * 501], "reason: must be 1 to 500 characters of text"),
        (["--reason", "x", "--principal", ""], "principal: must be 1 to 500"),
    ],
    ids=["none", "blank", "long", "nobody"],
)
def test_who_and_why_must_be_said(
    saga: Run, command: str, options: list[str], words: str
) -> None:
    """Without a reason it is code 2, the option is named, and nothing changes."""
    saga_id = _made(_parked)
    before = saga("get", saga_id, "--json").stdout
    steps = ["b"] if command in ("resolve", "give-up") else []
    done = saga(command, saga_id, *steps, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert saga("get", saga_id, "--json").stdout == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("paid", "--output: is not JSON: "),
        ("@nowhere.json", "--output: there is no file nowhere.json"),
        ("[" * 200_000, "--output: is nested too deep"),
        ('{"id": NaN}', "output.id: is nan"),
        ("[" * 99 + "]" * 99, "is nested too deep; flatten it"),
    ],
    ids=["text", "no file", "too deep to read", "NaN", "too deep"],
)
def test_an_output_that_is_none(saga: Run, given: str, words: str) -> None:
    """What is not JSON is code 2, the option is named, and nothing changes."""
    saga_id = _made(_parked)
    before = saga("get", saga_id, "--json").stdout
    done = saga("resolve", saga_id, "b", *WHY, "--output", given)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert saga("get", saga_id, "--json").stdout == before


@pytest.mark.parametrize("command", [["retry"], ["resolve", "a"], ["give-up", "a"]])
@pytest.mark.parametrize("saga_id", ["01JGFJJZ00000000000000000A", "nonsense"])
def test_no_such_saga(saga: Run, command: list[str], saga_id: str) -> None:
    """It is code 3 and one line."""
    done = saga(command[0], saga_id, *command[1:], *WHY)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == f"error: no saga {saga_id}\n"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_parked, ["retry", "resolve", "compensate"]),
        (_past_its_pivot, ["retry", "resolve", "compensate"]),
        (_stuck_undo, ["retry", "resolve"]),
    ],
)
def test_get_names_what_leads_on(saga: Run, make: Make, expected: list[str]) -> None:
    """`saga get` of a failed saga ends with commands, and each of them works."""
    for number, command in enumerate(expected):
        text = saga("get", _made(make)).stdout
        ways = text.partition("what leads it on, one of:\n")[2].splitlines()
        assert [way.split()[1] for way in ways] == expected
        words = shlex.split(_command(ways[number]))
        done = saga(*("null" if word == "JSON" else word for word in words[1:]))
        assert done.exit_code == 0, (command, done.stderr)


@pytest.mark.parametrize("make", [_started, _compensating, _completed, _compensated])
def test_get_names_no_way_where_none_is_needed(saga: Run, make: Make) -> None:
    """A saga that goes on, or has ended, needs nobody."""
    assert "what leads it on" not in saga("get", _made(make)).stdout


def _command(way: str) -> str:
    """Return the command of a line of `saga get`, without what it is for."""
    return way.strip().partition("  ")[0]


def _history(saga: Run, saga_id: str) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = json.loads(saga("get", saga_id, "--json").stdout)[
        "history"
    ]
    return history


async def _half_undone(store: Store) -> Saga:
    """A completed saga: `a` can be undone, `go` and `letter` cannot."""
    only_forward = {"compensation": ""}
    saga = await begin(
        store,
        plan_of("a", step("go", **only_forward), step("letter", **only_forward)),
    )
    for name in ("a", "go", "letter"):
        saga = await succeed(store, saga, name)
    return saga


def test_what_has_no_compensation_is_named(saga: Run) -> None:
    """Who undoes a saga reads which effects stand, at once and from `saga get`."""
    saga_id = _made(_half_undone)
    standing = "not undone, no compensation: go, letter\n"
    assert standing not in saga("get", saga_id).stdout
    done = saga("compensate", saga_id, *WHY, "--force")
    assert done.stderr.endswith(standing)
    assert standing in saga("get", saga_id).stdout
    assert saga("compensate", saga_id, *WHY, "--json").stderr == ""


def test_a_long_way_on_stands_below_what_it_is_for(saga: Run) -> None:
    """No line of the ways on is wider than 100 columns; the commands stay whole."""
    name = "transfer_to_the_savings_account"

    async def parked(store: Store) -> Saga:
        return await refuse(
            store, await begin(store, plan_of(name, on_failure="park")), name
        )

    saga_id = _made(parked)
    text = saga("get", saga_id).stdout.partition("what leads it on, one of:\n")[2]
    assert text.splitlines()[2:4] == [
        f"  {name} was done by hand",
        f"    saga resolve {saga_id} {name} --done --output JSON --reason TEXT",
    ]


def test_the_wrong_step_is_led_to_the_right_one(saga: Run) -> None:
    """A failed saga has something to resolve; `saga get` says what."""
    saga_id = _made(_stuck_undo)
    done = saga("resolve", saga_id, "b", *WHY)
    assert done.stderr.endswith(f"nothing to undo; see `saga get {saga_id}`\n")
    started = _made(_started)
    assert "saga get" not in saga("resolve", started, "a", *WHY).stderr
