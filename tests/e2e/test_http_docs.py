"""docs/http.md is true: its commands are run as they stand, and print the same."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saga_orchestrator.api.problems import KINDS
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "http.md"
SCRIPTS = Path(sys.executable).parent
SECONDS = 120
MARK = "-- next --"


def _section(page: Path, title: str) -> str:
    """Return the text below a heading."""
    return (
        page.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    )


def _steps(section: str) -> list[tuple[str, str]]:
    """Return the commands of a section, and what each prints."""
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    parts = re.split(r"^\$ ", "".join(blocks), flags=re.MULTILINE)[1:]
    pairs = (part.partition("\n") for part in parts)
    return [(command, output) for command, _, output in pairs]


def _fixed(text: str) -> str:
    """Return the text without what differs from run to run."""
    return re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text).rstrip()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "title", "module", "count"),
    [
        (PAGE, "Try it", "shop.py", 15),
        (ROOT / "README.md", "Over HTTP", "approval.py", 8),
    ],
    ids=["docs/http.md", "README.md"],
)
def test_the_commands_print_what_the_page_shows(tmp_path, page, title, module, count):
    """Start, watch, complete from outside, list, compensate, with SQLite alone."""
    section = _section(page, title)
    (tmp_path / module).write_text(
        re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    )
    steps = _steps(section)
    assert len(steps) >= count
    script = "".join(f"{command}\necho '{MARK}'\n" for command, _ in steps)
    # The one thing that is not as it stands there: the port may be in use.
    script = script.replace("8233", str(free_port()))
    script += "kill %1; wait %1\n"
    shell = subprocess.Popen(
        ["bash", "-m"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(script, timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, output
    printed = output.split(f"{MARK}\n")
    for (command, expected), told in zip(steps, printed, strict=False):
        assert _fixed(told) == _fixed(expected), command


def test_every_problem_is_documented():
    """The page lists the types with their statuses."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| (\d+) \|", _section(PAGE, "Problems"), re.MULTILINE
    )
    assert {name: int(status) for name, status in rows} == {
        name: status for name, (status, _) in KINDS.items()
    }
