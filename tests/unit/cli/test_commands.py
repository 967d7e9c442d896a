"""The commands on a store of the working directory, no engine running."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.core.ids import is_saga_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("store")


def test_start_prints_the_id(saga: Run) -> None:
    """What a script needs, and nothing else, is on stdout."""
    done = saga("start", "shop:order", "--context", '{"customer": "c-1"}')
    assert done.exit_code == 0
    assert is_saga_id(done.stdout.strip())
    record = json.loads(saga("get", done.stdout.strip(), "--json").stdout)
    assert record["context"] == {"customer": "c-1"}


def test_context_from_a_file_or_stdin(saga: Run, directory: Path) -> None:
    """`@FILE` and `-` give the same context as JSON on the command line."""
    (directory / "order.json").write_text('{"sku": "book"}')
    started = [
        saga("start", "shop:order", "--json", "--context", "@order.json"),
        saga(
            "start", "shop:order", "--json", "--context", "-", stdin='{"sku": "book"}'
        ),
    ]
    contexts = [json.loads(done.stdout)["context"] for done in started]
    assert contexts == [{"sku": "book"}] * 2


def test_start_by_name(saga: Run) -> None:
    """A name is looked up in the modules given by --app."""
    done = saga("start", "empty", "--app", "shop", "--json")
    assert json.loads(done.stdout)["name"] == "empty"


def test_a_key_starts_once(saga: Run) -> None:
    """The same key returns the same saga; with another context it is code 4."""
    first = saga("start", "shop:order", "--key", "k")
    assert saga("start", "shop:order", "--key", "k").stdout == first.stdout
    other = saga("start", "shop:order", "--key", "k", "--context", '{"a": 1}')
    assert (other.exit_code, other.stdout) == (4, "")


def test_wait(saga: Run) -> None:
    """`--wait` returns at the end; without an engine the time runs out."""
    done = saga("start", "shop:empty", "--wait")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1] == "✓ completed"
    late = saga("start", "shop:order", "--wait", "--timeout", "0.1")
    assert late.exit_code == 7
    assert "saga watch" in late.stderr


def test_watch(saga: Run) -> None:
    """An ended saga's history is printed at once; one that goes on times out."""
    ended = saga("start", "shop:empty").stdout.strip()
    done = saga("watch", ended)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].endswith("· completed")
    lines = saga("watch", ended, "--json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["saga_started"]
    going = saga("start", "shop:order").stdout.strip()
    assert saga("watch", going, "--timeout", "0.1").exit_code == 7


def test_get_tells_all(saga: Run) -> None:
    """State, steps and timeline as text; the whole record as JSON."""
    saga_id = saga("start", "shop:order", "--key", "o-1").stdout.strip()
    text = saga("get", saga_id).stdout
    assert f"saga     {saga_id}\n" in text
    assert "state    · started\n" in text
    assert "key      o-1\n" in text
    assert (
        "pay   started  none     1 of 3   not sent yet: no engine has taken it\n"
        in text
    )
    assert text.endswith("· started order\n")
    record = json.loads(saga("get", saga_id, "--json").stdout)
    assert record["plan"]["name"] == "order"
    assert record["history"][0]["sent"][0]["generation"] == 1
    assert record["outbox"][0]["step"] == "pay"


def test_list(saga: Run) -> None:
    """Newest first, by state, name and key; a page at a time."""
    ids = [saga("start", "shop:order").stdout.strip() for _ in range(3)]
    ended = saga("start", "shop:empty", "--key", "e").stdout.strip()

    def listed(*options: str) -> list[str]:
        lines = saga("list", "--json", *options).stdout.splitlines()
        return [json.loads(line)["id"] for line in lines]

    assert listed() == [ended, *reversed(ids)]
    assert listed("--state", "started", "--limit", "2") == [ids[2], ids[1]]
    assert listed("--name", "order", "--before", ids[1]) == [ids[0]]
    assert listed("--name", "empty", "--key", "e") == [ended]
    assert listed("--state", "completed", "--state", "failed") == [ended]
    page = saga("list", "--limit", "2")
    assert page.stderr == f"there may be more: --before {ids[2]}\n"
    titles = ["ID", "STATE", "NAME", "KEY", "STARTED", "REASON"]
    assert page.stdout.splitlines()[0].split() == titles
    assert page.stdout.splitlines()[1].startswith(f"{ended}  ✓ completed  empty")


def test_compensate(saga: Run) -> None:
    """An undo is asked for with a reason; a completed saga needs force."""
    saga_id = saga("start", "shop:order").stdout.strip()
    done = saga("compensate", saga_id, "--reason", "called", "--principal", "ann")
    assert done.exit_code == 0
    assert done.stdout == f"{saga_id}  · compensating\n"
    history = json.loads(saga("get", saga_id, "--json").stdout)["history"]
    told = history[-1]["data"]
    assert len(told.pop("request_id")) == 26
    assert told == {"principal": "ann", "reason": "called", "force": False}

    ended = saga("start", "shop:empty").stdout.strip()
    refused = saga("compensate", ended, "--reason", "called")
    assert refused.exit_code == 4
    assert refused.stderr.endswith("needs force; add --force\n")
    forced = saga("compensate", ended, "--reason", "called", "--force")
    assert forced.stdout == f"{ended}  ↩ compensated\n"


def test_migrate(saga: Run) -> None:
    """It tells what it would do, does it once, and can be run again."""
    url = "sqlite:///new.db"
    assert saga("migrate", "--dry-run", "--store", url).stdout.startswith("would apply")
    sql = saga("migrate", "--sql", "--store", url).stdout
    assert sql.startswith("-- 0001_")
    assert "CREATE TABLE" in sql
    applied = saga("migrate", "--json", "--store", url).stdout.splitlines()
    assert json.loads(applied[0])["applied"] is True
    again = saga("migrate", "--store", url)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "is up to date" in again.stderr


def test_doctor(saga: Run) -> None:
    """A store that works is well; what is wrong has a fix and a code."""
    saga("start", "shop:order")
    done = saga("doctor", "--resend")
    assert done.exit_code == 0
    assert "✓ sagas: 1 started" in done.stdout
    assert "✓ resend: 1 open commands will be sent again" in done.stdout
    assert "! broker: memory:// lives inside a process" in done.stdout
    assert "fix:" not in done.stdout
    broken = saga("doctor", "--store", "sqlite:///missing.db")
    assert broken.exit_code == 1
    assert "✗ store: there is no missing.db" in broken.stdout
    assert "fix: run from the folder of `saga dev`" in broken.stdout
    findings = json.loads(saga("doctor", "--json").stdout)
    assert {
        "about": "sagas",
        "level": "well",
        "text": "1 started",
        "fix": "",
    } in findings
