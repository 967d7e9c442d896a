"""What a person reads when a command cannot be done, and that nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

UNKNOWN = "01JGFJJZ00000000000000000A"


@pytest.mark.usefixtures("store")
def test_not_found(saga: Callable[..., Result]) -> None:
    """An unknown id is code 3 and one line, without a traceback."""
    for command in (["get"], ["watch"], ["compensate", "--reason", "x"]):
        done = saga(*command, UNKNOWN)
        assert (done.exit_code, done.stdout) == (3, "")
        assert done.stderr == f"error: no saga {UNKNOWN}\n"


@pytest.mark.usefixtures("store")
def test_debug_shows_the_traceback(
    saga: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--debug`, or SAGA_DEBUG=1, shows where an error comes from."""
    done = saga("--debug", "get", UNKNOWN)
    assert done.exit_code == 3
    assert "Traceback" in done.stderr
    assert done.stderr.endswith(f"error: no saga {UNKNOWN}\n")
    monkeypatch.setenv("SAGA_DEBUG", "1")
    assert "Traceback" in saga("get", UNKNOWN).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", UNKNOWN],
        ["list"],
        ["watch", UNKNOWN],
        ["compensate", UNKNOWN, "--reason", "x"],
        ["start", "shop:order"],
        ["doctor", "--resend"],
        ["migrate", "--dry-run"],
        ["migrate", "--sql"],
        ["config", "show"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_misspelt_store_is_not_made(
    saga: Callable[..., Result], directory: Path, arguments: list[str]
) -> None:
    """No command but those that run an engine, and `migrate`, makes a store."""
    saga(*arguments, "--store", "sqlite:///missing.db")
    assert not list(directory.glob("missing*"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///missing.db", "there is no missing.db; "),
        ("sqlite:///my%20shop.db?synchronous=normal", "there is no my shop.db; "),
        ("sqlite:///nowhere/saga.db", "the folder nowhere does not exist; "),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["get", UNKNOWN],
        ["list"],
        ["watch", UNKNOWN],
        ["compensate", UNKNOWN, "--reason", "x"],
        ["start", "shop:order"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_missing_store_is_named(
    saga: Callable[..., Result], arguments: list[str], url: str, words: str
) -> None:
    """A client in the wrong folder is told so, and not to make a store there."""
    done = saga(*arguments, "--store", url)
    assert done.exit_code == 2
    fix = "run from the folder of `saga dev`, or set --store"
    assert done.stderr == f"error: {words}{fix}\n"


def test_a_folder_for_a_new_store(saga: Callable[..., Result]) -> None:
    """Who makes a store where no folder is reads which folder."""
    done = saga("migrate", "--store", "sqlite:///nowhere/saga.db")
    assert done.exit_code == 6
    assert "nowhere does not exist; make it, or correct the URL" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["start", "shop:order", "--context", "{nonsense"], "--context"),
        (["start", "shop:order", "--context", "[1]"], "must be a JSON object"),
        (
            ["start", "shop:order", "--context", "@nowhere.json"],
            "context: there is no file nowhere.json",
        ),
        (["start", "shop:order", "--context", '{"a": NaN}'], "context.a"),
        (["start", "shop:order", "--key", ""], "key: must be 1 to 255"),
        (["start", "shop:order", "--timeout", "3"], "--timeout needs --wait"),
        (["start", "shop:nothing"], "it has"),
        (["start", "shop:both"], "has 2 saga definitions; name one"),
        (["start", "shop:number"], "name a SagaDefinition or Handlers"),
        (["start", "order"], "add --app MODULE"),
        (["start", "other", "--app", "shop"], "found there: empty, order, unfit"),
        (["start", "order", "--app", "shpo"], "no such module"),
        (["start", "nowhere:order"], "pass --app-dir"),
        (["list", "--before", "yesterday"], "no saga id"),
        (["list", "--state", "sleeping"], "sleeping"),
        (["compensate", UNKNOWN, "--reason", " "], "--reason"),
        (["list", "--store", "mysql://db/"], "the scheme 'mysql' is not known"),
        (["list", "--store", "memory://"], "--store"),
        (["worker", "shop:payments"], "set --broker"),
        (["worker", "shop:order", "--broker", "amqp://mq/"], "no handlers"),
        (
            [
                "worker",
                "shop",
                "--broker",
                "amqp://mq/",
                "--steps-only",
                "--compensate-only",
            ],
            "exclude each other",
        ),
        (["serve", "shop:unfit", "shop:payments"], "payment.refuse"),
        (["serve", "--log-level", "loud"], "log_level"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("store")
def test_wrong_arguments_change_nothing(
    saga: Callable[..., Result], arguments: list[str], words: str
) -> None:
    """They are code 2, with words that say what is wrong; no saga is started."""
    done = saga(*arguments)
    assert done.exit_code == 2, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert saga("list", "--json").stdout == ""


def test_a_module_that_breaks(saga: Callable[..., Result], directory: Path) -> None:
    """An error inside a user's module is told with its file and line."""
    (directory / "broken.py").write_text("x = 1\ny = x / 0\n")
    done = saga("serve", "broken:saga")
    assert done.exit_code == 2
    assert "broken.py:2: ZeroDivisionError: division by zero" in done.stderr


def test_a_wrong_definition(saga: Callable[..., Result], directory: Path) -> None:
    """A definition error names the saga and the step, as at import."""
    (directory / "cyclic.py").write_text(
        "from saga_orchestrator import SagaDefinition, Step\n"
        "saga = SagaDefinition('loop', steps=[Step('a', depends_on=['b'])])\n"
    )
    done = saga("serve", "cyclic:saga")
    assert done.exit_code == 2
    assert "'loop'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_away(saga: Callable[..., Result]) -> None:
    """A server that does not answer is code 6."""
    done = saga("list", "--store", "postgresql://saga@127.0.0.1:1/saga")
    assert done.exit_code == 6
    assert done.stderr.startswith("error: ")
