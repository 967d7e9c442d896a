"""The house rules that no other tool checks; CONTRIBUTING.md lists them all."""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_SHIPPED = ("saga_orchestrator/", "stores/saga_stores/")
_BODY_LINES = 70
_FILE_LINES = 600
_VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}

# Written with a class of one letter, so that they do not match themselves.
_UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X])\b")
_PERSONAL_PATH = re.compile(r"/hom[e]/|/User[s]/|/roo[t]/")

_SUPPRESSION = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?|type:\s*ignore(?:\[[^]]*\])?)"
)


@cache
def _sources() -> dict[str, str]:
    """Text files that are tracked or about to be, by their path from the root."""
    git = shutil.which("git")
    if git is None or not (_ROOT / ".git").exists():
        pytest.skip("not a git clone")
    listing = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for name in filter(None, listing.stdout.split("\0")):
        path = _ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found[name] = content.decode()
    assert "pyproject.toml" in found
    return found


@cache
def _modules() -> dict[str, ast.Module]:
    return {
        name: ast.parse(text)
        for name, text in _sources().items()
        if name.endswith(".py")
    }


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    has_docstring = ast.get_docstring(function) is not None
    statements = function.body[1:] if has_docstring else function.body
    if not statements:
        return 0
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1


def _matches(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in _sources().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_short_functions() -> None:
    """No shipped function has a body of more than 70 lines, its docstring aside."""
    long = [
        f"{name}:{function.lineno}: {function.name} has {lines} lines"
        for name, tree in _modules().items()
        if name.startswith(_SHIPPED)
        for function in _functions(tree)
        if (lines := _body_lines(function)) > _BODY_LINES
    ]
    assert not long, "\n".join(long)


def test_short_files() -> None:
    """No shipped module has more than 600 lines."""
    long = [
        f"{name} has {lines} lines"
        for name in _modules()
        if name.startswith(_SHIPPED)
        if (lines := len(_sources()[name].splitlines())) > _FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_telling_names() -> None:
    """No module or package has a name that could hold anything."""
    vague = [
        name
        for name in _modules()
        if _VAGUE & {part.lstrip("_") for part in Path(name).with_suffix("").parts}
    ]
    assert not vague, "\n".join(vague)


def test_module_docstrings() -> None:
    """Every module says what it is for."""
    silent = [name for name, tree in _modules().items() if not ast.get_docstring(tree)]
    assert not silent, "\n".join(silent)


def test_nothing_left_for_later() -> None:
    """No file has a note of unfinished work."""
    found = _matches(_UNFINISHED)
    assert not found, "\n".join(found)


def test_suppressions_have_reasons() -> None:
    """A suppressed finding says why, in words on its line."""
    bare = []
    for name in _modules():
        for token in tokenize.generate_tokens(io.StringIO(_sources()[name]).readline):
            if token.type != tokenize.COMMENT or not _SUPPRESSION.search(token.string):
                continue
            reason = _SUPPRESSION.sub("", token.string)
            if not re.search(r"[A-Za-z]{2}", reason):
                bare.append(f"{name}:{token.start[0]}: {token.string}")
    assert not bare, "\n".join(bare)


def test_no_personal_paths() -> None:
    """No file names a folder of the machine it was written on."""
    found = _matches(_PERSONAL_PATH)
    assert not found, "\n".join(found)


def test_architecture_names_every_room() -> None:
    """ARCHITECTURE.md has a line for each package of the engine."""
    text = (_ROOT / "ARCHITECTURE.md").read_text()
    rooms = sorted(
        path.parent.name for path in _ROOT.glob("saga_orchestrator/*/__init__.py")
    )
    missing = [
        room
        for room in rooms
        if not re.search(rf"`(?:saga_orchestrator[./])?{room}/?`", text)
    ]
    assert not missing, "\n".join(missing)
