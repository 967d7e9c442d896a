"""Effects that may stand: listed, undone by a saga of their own, or dismissed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator.core.events import StepSucceeded
from saga_orchestrator.core.ids import is_saga_id
from saga_orchestrator.ports.store import Store
from tests.conformance.builders import (
    apply,
    begin,
    fence_of,
    plan_of,
    refuse,
    step,
    succeed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

    from saga_orchestrator.core.saga import Saga

    Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("store")

WHY = ("--reason", "charged twice", "--principal", "ann")
OUTPUT = {"charge": "ch-1"}


async def _late(store: Store, output: Any, compensation: str) -> Saga:
    """A compensated saga whose step `a` told its success after its undo was sent."""
    first = step("a", compensation=compensation, undo_failed="always")
    saga = await begin(store, plan_of(first, "b"))
    fence = fence_of(saga, "a")
    saga = await refuse(store, saga, "a")
    if compensation:
        saga = await succeed(store, saga, "a")
    return await apply(store, StepSucceeded(fence, output))


def _residual(output: Any = OUTPUT, compensation: str = "undo.a") -> tuple[str, str]:
    """Leave a residual; return its saga and its number, as words of a command."""

    async def run() -> str:
        store = await Store.open("sqlite:///saga.db")
        try:
            return (await _late(store, output, compensation)).id
        finally:
            await store.close()

    return asyncio.run(run()), "4"


def test_the_list(saga: Run) -> None:
    """A line has the saga, number, step, when, and what stands, shortened."""
    assert saga("residual", "list").stderr == "no open residuals\n"
    saga_id, number = _residual()
    _residual({"text": "x" * 100 + "\n"})
    done = saga("residual", "list")
    assert done.stderr == "what settles one is told by: saga get ID\n"
    titles, line, long = done.stdout.splitlines()
    assert titles.split() == ["SAGA", "NUMBER", "STEP", "ANSWERED", "OUTPUT"]
    assert line.split()[:3] == [saga_id, number, "a"]
    assert line.endswith('Z  {"charge": "ch-1"}')
    assert long.endswith("xxx...")
    assert len(long) < 140


def test_the_list_as_json(saga: Run) -> None:
    """One residual a line, with all that is known of it."""
    saga_id, number = _residual()
    (line,) = saga("residual", "list", "--json").stdout.splitlines()
    document = json.loads(line)
    assert document.pop("at").endswith("+00:00")
    assert document == {
        "saga_id": saga_id,
        "number": int(number),
        "output": OUTPUT,
        "step": "a",
        "direction": "action",
        "generation": 1,
        "settled": None,
    }


def test_a_page_at_a_time(saga: Run) -> None:
    """Stderr tells the next page; what is settled is on none."""
    all_of_them = [_residual() for _ in range(3)]
    saga("residual", "dismiss", *all_of_them[0], *WHY)
    seen = []
    more: list[str] = []
    for _ in range(2):
        page = saga("residual", "list", "--limit", "1", "--json", *more)
        seen += [json.loads(line)["saga_id"] for line in page.stdout.splitlines()]
        assert page.stderr.startswith("there may be more: --after ")
        more = page.stderr.split()[-2:]
    assert seen == [saga_id for saga_id, _ in all_of_them[1:]]
    assert saga("residual", "list", "--limit", "1", "--json", *more).stdout == ""


def test_undo(saga: Run) -> None:
    """Stdout is the id of the saga that undoes it; both sagas tell of it."""
    saga_id, number = _residual()
    done = saga("residual", "undo", saga_id, number, *WHY)
    undo_id = done.stdout.strip()
    assert is_saga_id(undo_id)
    assert done.stderr == f"follow it: saga watch {undo_id}\n"
    undoing = json.loads(saga("get", undo_id, "--json").stdout)
    assert undoing["state"] == "compensating"
    assert undoing["undoes"] == saga_id
    assert undoing["outputs"] == {"a": OUTPUT}
    text = saga("get", undo_id).stdout
    assert f"\nundoes   a residual of saga {saga_id}\n" in text
    assert f"✓ a       in saga {saga_id}\n" in text
    assert "· compensate requested by ann: charged twice\n" in text

    record = json.loads(saga("get", saga_id, "--json").stdout)
    assert (record["residuals"], record["open_residuals"]) == (0, [])
    settled = record["settled_residuals"][0]["settled"]
    assert settled.pop("at") >= record["created_at"]
    assert settled == {
        "principal": "ann", "reason": "charged twice", "undo_id": undo_id,
    }  # fmt: skip
    text = saga("get", saga_id).stdout
    assert text.endswith(
        f"· residual {number}: a: its undo is saga {undo_id}, asked for by ann: "
        "charged twice\n"
    )
    assert (
        f"· a: residual {number}: undo requested by ann: charged twice; its undo "
        f"is saga {undo_id}\n"
    ) in text


def test_undo_as_json(saga: Run) -> None:
    """With --json it is the document of the saga that undoes it."""
    saga_id, number = _residual()
    done = saga("residual", "undo", saga_id, number, *WHY, "--json")
    document = json.loads(done.stdout)
    assert (document["undoes"], document["state"]) == (saga_id, "compensating")
    assert done.stderr == ""


def test_dismiss(saga: Run) -> None:
    """The saga keeps its state; who dismissed it and why is on record."""
    saga_id, number = _residual()
    done = saga("residual", "dismiss", saga_id, number, *WHY)
    assert (done.exit_code, done.stdout) == (0, f"{saga_id}  ↩ compensated\n")
    record = json.loads(saga("get", saga_id, "--json").stdout)
    assert record["history"][-1]["kind"] == "residual_dismissed"
    told = record["history"][-1]["data"]
    assert (told["principal"], told["reason"]) == ("ann", "charged twice")
    assert told["residual"] == int(number)
    assert record["settled_residuals"][0]["settled"]["undo_id"] is None
    text = saga("get", saga_id).stdout
    told = f"residual {number}: dismissed by ann: charged twice\n"
    assert f"· a: {told}" in text
    assert text.endswith(f"· residual {number}: a: dismissed by ann: charged twice\n")


@pytest.mark.parametrize("command", ["undo", "dismiss"])
def test_it_is_settled_once(saga: Run, command: str) -> None:
    """Who comes second is told who was first; it is code 4, nothing changes."""
    saga_id, number = _residual()
    first = saga("residual", command, saga_id, number, *WHY)
    before = saga("get", saga_id, "--json").stdout
    for second in ("undo", "dismiss"):
        done = saga("residual", second, saga_id, number, "--reason", "me too")
        assert (done.exit_code, done.stdout) == (4, "")
        words = (
            f"was handed over: its undo is saga {first.stdout.strip()}, as ann asked"
            if command == "undo"
            else "was dismissed by ann"
        )
        assert done.stderr == (
            f"error: saga {saga_id} is compensated: residual {number} {words}\n"
        )
    assert saga("get", saga_id, "--json").stdout == before
    assert len(saga("list", "--json").stdout.splitlines()) == (
        2 if command == "undo" else 1
    )


def test_what_has_no_compensation(saga: Run) -> None:
    """It cannot be undone by a saga; the refusal, and `get`, say what to do."""
    saga_id, number = _residual(compensation="")
    done = saga("residual", "undo", saga_id, number, *WHY)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.endswith("undo residual 4 by hand, then dismiss it\n")
    text = saga("get", saga_id).stdout
    assert "saga residual undo" not in text
    assert f"saga residual dismiss {saga_id} {number} --reason TEXT" in text


@pytest.mark.parametrize("command", ["undo", "dismiss"])
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["99", *WHY], 4, "is compensated: it has no residual 99"),
        (["0", *WHY], 2, "Invalid value for 'NUMBER'"),
        (["first", *WHY], 2, "Invalid value for 'NUMBER'"),
        (["4"], 2, "Missing option '--reason'"),
        (["4", "--reason", " "], 2, "'--reason': say why"),
        (["4", "--reason", "x", "--principal", " "], 2, "principal: must be 1 to"),
        (["9" * 40, *WHY], 4, "it has no residual 9999"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_words_change_nothing(
    saga: Run, command: str, words: list[str], code: int, told: str
) -> None:
    """The argument or the option is named, and the residual stays open."""
    saga_id, _ = _residual()
    before = saga("get", saga_id, "--json").stdout
    done = saga("residual", command, saga_id, *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert told in done.stderr
    assert saga("get", saga_id, "--json").stdout == before


@pytest.mark.parametrize("command", ["undo", "dismiss"])
def test_no_such_saga(saga: Run, command: str) -> None:
    """It is code 3 and one line."""
    done = saga("residual", command, "01JGFJJZ00000000000000000A", "4", *WHY)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "error: no saga 01JGFJJZ00000000000000000A\n"


@pytest.mark.parametrize(
    "after", ["yesterday", "01JGFJJZ00000000000000000A", "01JGFJJZ00000000000000000A:x"]
)
def test_a_cursor_that_is_none(saga: Run, after: str) -> None:
    """It is code 2, and the line says which form it has."""
    done = saga("residual", "list", "--after", after)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"--after: {after!r} is not ID:NUMBER" in done.stderr


@pytest.mark.parametrize("command", ["undo", "dismiss"])
def test_get_names_the_commands(saga: Run, command: str) -> None:
    """An open residual is an alarm, with the commands that settle it; they work."""
    saga_id, _ = _residual()
    lines = saga("get", saga_id).stdout.splitlines()
    alarm = next(n for n, line in enumerate(lines) if line.startswith("! residual"))
    assert lines[alarm].endswith('its effect may stand; output {"charge": "ch-1"}')
    ways = [line.strip().partition("  ")[0] for line in lines[alarm + 1 :]]
    assert [way.split()[2] for way in ways] == ["undo", "dismiss"]
    way = next(way for way in ways if command in way)
    assert saga(*way.split()[1:]).exit_code == 0
    assert not [
        line for line in saga("get", saga_id).stdout.splitlines() if line[:1] == "!"
    ]


def test_sagas_with_residuals_are_marked(saga: Run) -> None:
    """`saga list` and `saga graph` say that effects may stand, and so does the undo."""
    saga_id, number = _residual()
    assert f"{saga_id}  ↩ compensated !1  order" in saga("list").stdout
    alarm = "! 1 open residual: effects that may stand outside its account"
    assert alarm in saga("graph", saga_id).stdout.splitlines()
    document = json.loads(saga("graph", saga_id, "--json").stdout)
    assert document["residuals"] == 1

    saga("residual", "undo", saga_id, number, *WHY)
    text = saga("list").stdout
    assert "!1" not in text
    assert f"residual {number} of saga {saga_id}: charged twice\n" in text
    assert "open residual" not in saga("graph", saga_id).stdout
