"""A log line is one line, of bounded size, and holds no secret (F98, F99)."""

from __future__ import annotations

import json

import pytest
import structlog

from saga_orchestrator.telemetry.logging import configure
from saga_orchestrator.telemetry.taming import (
    ITEMS_MAX,
    TEXT_CHARS_MAX,
    tamed_text,
)
from tests.unit.runtime.stage import Service, open_manager, raising, virtual

CANARY = "hunter2canary"
HOSTILE = [
    "two\nlines",
    "carriage\rreturn\r\n",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "nul\x00byte",
    '"}\n{"event": "all is well", "level": "info"}',
    "2026-01-01T00:00:00Z [info     ] all is well",
    "bidi\u202eevil\u2066",
    "\u2028separator\u0085",
    "\ud800 lone",
    "x" * 10 * 1024 * 1024,
]


class Written:
    """What goes to stderr."""

    def __init__(self, capsys) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        """Return all of it so far."""
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys):
    """What goes to stderr, as text."""
    yield Written(capsys)
    structlog.reset_defaults()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("fmt", ["json", "console"])
def test_whatever_is_logged_stays_on_its_line(stderr, fmt, text):
    """As the event, as a value, nested, as a key: one line, printable, bounded."""
    configure("debug", fmt)
    log = structlog.get_logger()
    log.info(text, value=text, nested={"a": [text, {text: text}]})
    written = stderr.getvalue()
    assert written.count("\n") == 1
    line = written[:-1]
    assert len(line) < 12 * TEXT_CHARS_MAX
    assert line.isprintable()
    if fmt == "json":
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_an_exception_cannot_fake_a_line(stderr, fmt):
    """Its text may hold anything; a traceback is one value, or has a margin."""
    configure("debug", fmt)
    error = ValueError("\n".join(HOSTILE))
    structlog.get_logger().error("loop failed", exc_info=error)
    written = stderr.getvalue()
    assert len(written) < 20 * TEXT_CHARS_MAX
    first, *rest = written.splitlines()
    assert "loop failed" in first
    assert all(line.startswith("  | ") for line in rest)
    assert "\x1b" not in written
    if fmt == "json":
        assert rest == []
        assert json.loads(first)["exception"][0]["exc_type"] == "ValueError"


def fail(url: str, card: str) -> None:
    """Raise, with secrets in variables and one in the text."""
    assert card
    raise OSError(f"no connection to {url}")


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_secrets_are_hidden(stderr, fmt):
    """In URLs, under telling names, and in the variables of a traceback."""
    configure("debug", fmt)
    password = CANARY
    url = f"postgresql://saga:{password}@db:5432/saga?sslpassword={CANARY}"
    log = structlog.get_logger()
    event = f"connecting to {url}"
    log.info(event, url=url, password=CANARY)
    log.info("headers", headers={"Authorization": f"Bearer {CANARY}"}, api_key=CANARY)
    log.info("told", text=f"token={CANARY}, password: {CANARY}", urls=[url, {"a": url}])
    try:
        fail(url, CANARY)
    except OSError:
        log.exception("connect failed")
    assert CANARY not in stderr.getvalue()
    assert "postgresql://saga:***@db:5432/saga" in stderr.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no amqp://u:hunter@2canary@host/v", "no amqp://u:***@host/v"),
        ("amqp://u:hunter2'can\"ary@h, a@b", "amqp://u:***@h, a@b"),
        ("x://me@corp:hunter2canary@host", "x://me@corp:***@host"),
        ("{'authorization': 'Bearer saga_x'}", "{'authorization': 'Bearer ***'}"),
        ("Authorization: bearer  saga_x.y=", "Authorization: bearer  ***"),
        ("token: Bearer saga_x", "token: *** ***"),
        ("at http://host:80/a@b, http://[::1]:80", None),
    ],
)
def test_secrets_in_a_text(text, shown):
    """Nothing of a password is left that was not escaped, nor of a shown key."""
    assert tamed_text(text) == (shown or text)


@pytest.mark.parametrize("place", [0, 1_000, 5_000, 100_000])
def test_a_text_is_not_cut_within_a_secret(place):
    """Wherever the cut falls, and however long the secret is."""
    for lead in ("postgresql://saga:", "password=", "Bearer "):
        for secret in (CANARY * 9, CANARY * 500):
            text = f"{lead}{secret}@db/saga and more" + "." * place
            for before in range(TEXT_CHARS_MAX - 400, TEXT_CHARS_MAX + 20, 7):
                shown = tamed_text("x" * (before - 1) + " " + text)
                assert CANARY[:4] not in shown
                assert len(shown) < TEXT_CHARS_MAX + 50


def test_long_lists_are_counted(stderr):
    """A value of ten thousand items shows the first, and how many more there are."""
    configure("debug", "json")
    structlog.get_logger().info("many", ids=list(range(10_000)))
    ids = json.loads(stderr.getvalue())["ids"]
    assert ids[:2] == [0, 1]
    assert ids[ITEMS_MAX:] == [f"and {10_000 - ITEMS_MAX} more"]


def test_a_line_about_a_run_names_it(stderr):
    """Saga, step, direction and attempt are on every line that a handler writes."""
    service = Service("shop", "a")
    elsewhere = structlog.get_logger("library")

    async def act(ctx):
        elsewhere.info("charging")

    service.does["a"] = act
    ids = []

    @virtual
    async def run():
        configure("debug", "json")
        async with open_manager(service.handlers) as manager:
            sagas = [await manager.start("sale", service.chain("a")) for _ in "xyz"]
            ids.extend(saga.id for saga in sagas)
            for saga_id in ids:
                await manager.wait(saga_id)
        elsewhere.info("after")

    run()
    lines = [json.loads(line) for line in stderr.getvalue().splitlines()]
    about = [line for line in lines if line["event"] == "charging"]
    assert {line["saga_id"] for line in about} == set(ids)
    told = {(one["step"], one["direction"], one["attempt"]) for one in about}
    assert told == {("a", "action", 1)}
    (after,) = (line for line in lines if line["event"] == "after")
    assert "saga_id" not in after


def test_a_handler_that_fails_is_told_without_its_data(stderr):
    """The error and the place are there; the values of its variables are not."""
    service = Service("shop", "a")
    service.does["a"] = raising(RuntimeError("declined"))

    @virtual
    async def run():
        configure("info", "json")
        async with open_manager(service.handlers) as manager:
            saga = await manager.start("sale", service.chain("a"), {"card": CANARY})
            await manager.wait(saga.id)

    run()
    assert "declined" in stderr.getvalue()
    assert CANARY not in stderr.getvalue()
