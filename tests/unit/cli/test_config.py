"""`saga config show`: values, and where they come from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.brokers.rabbitmq import failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result


def test_origins(
    saga: Callable[..., Result], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag beats the environment, which beats saga.toml, which beats the default."""
    (directory / "saga.toml").write_text(
        'store = "sqlite:///file.db"\nbroker = "amqp://file/"\n'
        'concurrency = 7\nexchange = "shop"\n'
    )
    monkeypatch.setenv("SAGA_BROKER", "amqp://environment/")
    monkeypatch.setenv("SAGA_CONCURRENCY", "8")
    shown = json.loads(
        saga("config", "show", "--broker", "amqp://flag/", "--json").stdout
    )
    picked = {
        name: (shown[name]["value"], shown[name]["origin"])
        for name in ("broker", "concurrency", "store", "drain_seconds")
    }
    assert picked == {
        "broker": ("amqp://flag/", "flag --broker"),
        "concurrency": (8, "environment SAGA_CONCURRENCY"),
        "store": ("sqlite:///file.db", "file saga.toml"),
        "drain_seconds": (25.0, "default"),
    }


def test_secrets_are_masked(saga: Callable[..., Result]) -> None:
    """A password is shown as ***, in text and in JSON."""
    url = "postgresql://saga:hunter2@db/saga"
    for option in ([], ["--json"]):
        text = saga("config", "show", "--store", url, *option).stdout
        assert "hunter2" not in text
        assert "postgresql://saga:***@db/saga" in text


@pytest.mark.parametrize(
    "password", ["hunter2", "hun/ter2", "hun@ter2", "hun?ter2", "hun#ter2", "1/ter2"]
)
def test_passwords_that_were_not_escaped(
    saga: Callable[..., Result], password: str
) -> None:
    """What makes no URL is masked all the same, in every message."""
    url = f"amqp://saga:{password}@127.0.0.1:1/"
    shown = saga("config", "show", "--broker", url).stdout
    assert "amqp://saga:***@127.0.0.1:1/" in shown
    assert "ter2" not in shown
    assert "ter2" not in failures.masked(url)


def test_doctor_hides_a_password_that_was_not_escaped(
    saga: Callable[..., Result],
) -> None:
    """What it tells of a broker that is not there is masked, too."""
    url = "amqp://saga:1/ter2@127.0.0.1:1/"
    done = saga("doctor", "--store", "sqlite:///none.db", "--broker", url)
    assert "ter2" not in done.output


def test_a_wrong_setting(
    saga: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that makes no sense is named, with the ways to set it."""
    monkeypatch.setenv("SAGA_CONCURRENCY", "many")
    done = saga("config", "show")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: concurrency: ")
    assert "SAGA_CONCURRENCY" in done.stderr


@pytest.mark.parametrize(
    ("key", "words"),
    [("stor", "did you mean 'store'?"), ("xyz", "use one of store, broker, ")],
)
def test_an_unknown_key(
    saga: Callable[..., Result], directory: Path, key: str, words: str
) -> None:
    """A key of saga.toml that is no setting is named, with the one that was meant."""
    (directory / "saga.toml").write_text(f'{key} = "sqlite:///x.db"\n')
    for command in (["config", "show"], ["list"]):
        done = saga(*command)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(
            f"error: saga.toml: unknown setting '{key}'; {words}"
        )


def test_a_misspelt_variable(
    saga: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is nearly one of ours is a warning; others are not ours."""
    monkeypatch.setenv("SAGA_STOER", "sqlite:///x.db")
    monkeypatch.setenv("SAGA_DEBUG", "0")
    monkeypatch.setenv("SAGA_PORT", "tcp://10.0.0.1:80")
    done = saga("config", "show")
    assert done.exit_code == 0
    assert done.stderr == (
        "warning: SAGA_STOER in the environment is not used; did you mean SAGA_STORE?\n"
    )


def test_a_broken_file(saga: Callable[..., Result], directory: Path) -> None:
    """A saga.toml that cannot be read is an error with its place."""
    (directory / "saga.toml").write_text("store = \n")
    done = saga("config", "show")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: saga.toml: is not TOML: ")
    assert "line 1" in done.stderr


def test_every_setting_is_documented(saga: Callable[..., Result]) -> None:
    """`docs/cli.md` has each setting with its default."""
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)` \| `(SAGA_\w+)` \| .* \| (.*?) \|$", text, re.MULTILINE
    )
    shown = json.loads(saga("config", "show", "--json").stdout)
    documented = {name: default.strip("`") for name, _, default in rows}
    assert documented == {name: str(row["value"]) for name, row in shown.items()}
    assert all(variable == f"SAGA_{name.upper()}" for name, variable, _ in rows)


def test_a_secret_from_a_file(
    saga: Callable[..., Result], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAGA_STORE_FILE names the file of the URL; it is told, the password is not."""
    (directory / "saga.toml").write_text('store = "sqlite:///file.db"\n')
    (directory / "secret").write_text("postgresql://saga:hunter2@db/saga\n")
    monkeypatch.setenv("SAGA_STORE_FILE", str(directory / "secret"))
    done = saga("config", "show", "--json")
    shown = json.loads(done.stdout)["store"]
    assert shown == {
        "value": "postgresql://saga:***@db/saga",
        "origin": "file named by SAGA_STORE_FILE",
    }
    assert done.stderr == ""
    flag = saga("config", "show", "--store", "sqlite:///flag.db", "--json")
    assert json.loads(flag.stdout)["store"]["value"] == "sqlite:///flag.db"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "must have one line"),
        (b"amqp://a/\namqp://b/\n", "must have one line"),
        (b"\xff", "it is not text"),
    ],
)
def test_a_secret_file_that_is_wrong(
    saga: Callable[..., Result],
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    words: str,
) -> None:
    """Missing, empty, of several lines, not text: named, and nothing else is used."""
    if content is not None:
        (directory / "secret").write_bytes(content)
    monkeypatch.setenv("SAGA_BROKER_FILE", str(directory / "secret"))
    done = saga("config", "show")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: SAGA_BROKER_FILE: ")
    assert words in done.stderr


def test_a_secret_given_twice(
    saga: Callable[..., Result], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable and the file together are refused: one would be ignored."""
    (directory / "secret").write_text("sqlite:///a.db")
    monkeypatch.setenv("SAGA_STORE_FILE", str(directory / "secret"))
    monkeypatch.setenv("SAGA_STORE", "sqlite:///b.db")
    done = saga("config", "show")
    assert done.exit_code == 2
    assert "both SAGA_STORE and SAGA_STORE_FILE are set; unset one" in done.stderr
