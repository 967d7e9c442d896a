"""`saga graph`: a definition or a saga, to stdout or into a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from saga_orchestrator.graph.marks import PLAIN, RESIDUAL, STATES, UNDO, UNDOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    Run = Callable[..., Result]


def test_help_has_an_example(saga: Run) -> None:
    """The command shows how it is called."""
    assert "  Example:\n      saga graph " in saga("graph", "--help").stdout


def test_a_definition(saga: Run) -> None:
    """A definition needs no store; by default it is drawn as text."""
    done = saga("graph", "shop:order")
    assert done.exit_code == 0
    assert done.stdout == "order\n\n●  pay    payment.charge\n"
    assert saga("graph", "order", "--app", "shop").stdout == done.stdout


@pytest.mark.usefixtures("store")
def test_a_saga(saga: Run) -> None:
    """An id is looked up in the store and drawn with its states."""
    saga_id = saga("start", "shop:order").stdout.strip()
    text = saga("graph", saga_id).stdout
    assert text.splitlines() == [
        f"order  {saga_id}",
        "► started",
        "",
        "►  pay    payment.charge  started",
    ]
    assert "started" in saga("graph", saga_id, "--format", "mermaid").stdout
    root = ET.fromstring(saga("graph", saga_id, "--format", "svg").stdout)
    assert saga_id in (root[0].text or "")


def test_json(saga: Run) -> None:
    """Programs get ranks, edges and states as one document."""
    document = json.loads(saga("graph", "shop:order", "--json").stdout)
    assert document["name"] == "order"
    assert (document["ranks"], document["lanes"]) == ([["pay"]], 1)
    assert document["edges"] == []
    assert document["steps"][0]["action"] == "payment.charge"
    assert document["steps"][0]["state"] is None


@pytest.mark.usefixtures("store")
def test_json_of_a_saga(saga: Run) -> None:
    """A saga's document has its id, and the state of it and of its steps."""
    saga_id = saga("start", "shop:order").stdout.strip()
    document = json.loads(saga("graph", saga_id, "--json").stdout)
    assert (document["id"], document["state"]) == (saga_id, "started")
    assert document["steps"][0]["state"] == "started"
    assert document["steps"][0]["attempt"] == 1


@pytest.mark.parametrize("how", [(), ("--format", "svg"), ("--json",)], ids=str)
def test_output(saga: Run, directory: Path, how: tuple[str, ...]) -> None:
    """A file gets what stdout would have; stderr says so, stdout stays empty."""
    done = saga("graph", "shop:order", *how, "--output", "order.out")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "wrote order.out\n"
    written = (directory / "order.out").read_text(encoding="utf-8")
    assert written == saga("graph", "shop:order", *how).stdout


@pytest.mark.parametrize("file", [".", "missing/order.svg"])
def test_output_that_cannot_be_written(saga: Run, file: str) -> None:
    """A folder, or a file in one that is not there, is a wrong argument."""
    done = saga("graph", "shop:order", "--output", file)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"--output: {file}: " in done.stderr


def test_wrong_arguments(saga: Run) -> None:
    """What is not there, and what makes no sense, is told in a line."""
    assert saga("graph", "shop:nothing").exit_code == 2
    both = saga("graph", "shop:order", "--json", "--format", "svg")
    assert both.exit_code == 2
    assert "leave out --format" in both.stderr


@pytest.mark.usefixtures("store")
def test_an_unknown_saga(saga: Run) -> None:
    """A saga that is not in the store has the exit code of `saga get`."""
    done = saga("graph", "01JGFJJZ00000000000000000A")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "error: no saga 01JGFJJZ00000000000000000A\n"


def test_a_module_stands_for_its_only_definition(saga: Run, directory: Path) -> None:
    """Several are listed, with the words to write; none is told."""
    (directory / "alone.py").write_text("from shop import order\n")
    assert saga("graph", "alone").stdout == saga("graph", "shop:order").stdout
    several = saga("graph", "shop")
    assert several.exit_code == 2
    assert several.stderr == (
        "error: shop has: empty, order, unfit; write shop:empty\n"
    )
    (directory / "bare.py").write_text("from shop import payments\n")
    assert "bare: has no saga definitions" in saga("graph", "bare").stderr


@pytest.mark.parametrize("word", ["nothere", "nothere.trip", "shop.trip", "01JGF", "-"])
def test_a_word_that_names_nothing(saga: Run, word: str) -> None:
    """Neither a saga's id nor a module: it is told so, as code 2."""
    done = saga("graph", word)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"error: {word}: no saga and no module has this name; write MODULE:ATTR"
    )


@pytest.mark.parametrize(
    ("word", "module"),
    [
        ("shop.py", "shop"),
        ("handlers/trip.py", "handlers.trip"),
        ("./nothere.py", "nothere"),
        ("../shop.py", "shop"),
    ],
)
def test_a_file_instead_of_a_module(saga: Run, word: str, module: str) -> None:
    """Who names a file is told the module, whatever the command."""
    for command in (["graph", word], ["dev", word], ["start", f"{word}:order"]):
        done = saga(*command)
        assert done.exit_code == 2
        assert done.stderr == f"error: {word}: is a file's name; drop .py: {module}\n"


def test_a_package_that_breaks(saga: Run, directory: Path) -> None:
    """What a module imports in vain is told as its fault, not as no module."""
    (directory / "package").mkdir()
    (directory / "package" / "__init__.py").write_text("import nothing_of_the_kind\n")
    assert "No module named 'nothing_of_the_kind'" in (
        saga("graph", "package.trip").stderr
    )


def test_the_help_explains_the_glyphs(saga: Run) -> None:
    """Every glyph of a picture as text is in the help."""
    text = " ".join(saga("graph", "--help").stdout.split())
    marks = [PLAIN, UNDO, RESIDUAL, *STATES.values(), *UNDOS]
    assert all(f"{mark.glyph} " in text for mark in marks)
