"""What an operator reads: each command is one, each link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, accept

_TEXTS = [
    ROOT / name
    for name in (
        "deploy/README.md",
        "deploy/backup/README.md",
        "deploy/debezium/README.md",
        "docs/wire.md",
        "examples/node/README.md",
    )
]


@pytest.mark.parametrize("text", _TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands(text: Path) -> None:
    """Every line that runs `saga` is accepted by it."""
    for line in re.findall(r"^\$ saga (.*)$", text.read_text(), re.MULTILINE):
        accept(shlex.split(line))


@pytest.mark.parametrize("text", _TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(text: Path) -> None:
    """Every link to this tree names a file, and a heading of it."""
    links = re.findall(r"\]\(([^):]+)\)", text.read_text())
    for link in links:
        path, _, anchor = link.partition("#")
        target = text.parent / path if path else text
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, link


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
