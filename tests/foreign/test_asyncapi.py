"""The AsyncAPI document is one, says the reference parser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.foreign.npm import npm_ci

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("npm")]

_HERE = Path(__file__).parent
_DOCUMENT = _HERE.parents[1] / "docs" / "wire" / "asyncapi.json"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parser of the AsyncAPI initiative."""
    folder = tmp_path_factory.mktemp("asyncapi")
    npm_ci(_HERE / "asyncapi", folder)
    return folder


def _check(program: Path, document: Path) -> list[str]:
    done = subprocess.run(
        ["node", "check.mjs", str(document)],
        cwd=program,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_document(program: Path, tmp_path: Path) -> None:
    """It finds three operations and nothing wrong; a broken one it refuses."""
    assert _check(program, _DOCUMENT) == ["operations: 3"]
    broken = tmp_path / "broken.json"
    text = _DOCUMENT.read_text()
    broken.write_text(text.replace('"is": "queue"', '"is": "letter box"'))
    assert "bindings.amqp" in _check(program, broken)[0]
