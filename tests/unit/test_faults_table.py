"""The page of faults says what is shown, and by what; so it must be true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (F\d\d) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[^`]+\.py)::(test_\w+)(\[[^`]+\])?`")
_COUNT = 90


@cache
def _rows() -> dict[str, str]:
    """Return what each row names in its last column."""
    text = (_ROOT / "tests" / "FAULTS.md").read_text()
    found = _ROW.findall(text)
    assert len(found) == len({row[0] for row in found}), "a number stands twice"
    return {row[0]: row[3] for row in found}


@cache
def _functions(file: str) -> set[str]:
    tree = ast.parse((_ROOT / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_fault_has_its_row() -> None:
    """Each is there, exactly once."""
    assert sorted(_rows()) == [f"F{number:02}" for number in range(1, _COUNT + 1)]


def test_every_row_is_shown_or_says_why_not() -> None:
    """A row names a test, or begins with ``not yet:`` and a reason."""
    silent = [
        number
        for number, shown in _rows().items()
        if not _TEST.search(shown) and not re.match(r"not yet: \w", shown)
    ]
    assert silent == []


def test_every_test_that_is_named_is_there() -> None:
    """No row believes in a test that was renamed, moved or deleted."""
    missing = [
        (number, file, name)
        for number, shown in _rows().items()
        for file, name, _ in _TEST.findall(shown)
        if not (_ROOT / file).exists() or name not in _functions(file)
    ]
    assert missing == []


@pytest.mark.slow
def test_every_case_that_is_named_is_there() -> None:
    """The cases of a test are asked of pytest: they are made when it collects."""
    named = {
        f"{file}::{name}{case}"
        for shown in _rows().values()
        for file, name, case in _TEST.findall(shown)
        if case
    }
    collected = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "-q"),
            *sorted({case.partition("::")[0] for case in named}),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,  # what is missing is told below
    )
    assert named <= set(collected.stdout.splitlines()), collected.stdout[-2000:]
