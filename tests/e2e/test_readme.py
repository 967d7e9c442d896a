"""The README is true: its example runs, its transcript is replayed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SAGA = str(Path(sys.executable).with_name("saga"))
SECONDS = 60

pytestmark = pytest.mark.slow


def _block(after: str, language: str) -> str:
    """Return the first fenced block of a language after a piece of text."""
    start = README.index(after)
    found = re.search(rf"```{language}\n(.*?)```", README[start:], re.DOTALL)
    assert found, f"no {language} block after {after!r}"
    return found[1]


def _fixed(text: str) -> str:
    """Return the text without what differs from run to run: ids and times."""
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text)
    text = re.sub(r"\+\d+\.\d{3}s", "+TIME", text)
    return re.sub(r" +\d+ ms\b", " MS", text).rstrip()


def _steps(transcript: str) -> list[tuple[str, str]]:
    """Split a transcript into commands and what each printed."""
    parts = re.split(r"^\$ ", transcript, flags=re.MULTILINE)[1:]
    pairs = (part.partition("\n") for part in parts)
    return [(command, output) for command, _, output in pairs]


def test_the_example_runs_and_prints_what_the_readme_says(tmp_path):
    """A reader who copies the first program sees the two lines below it."""
    marker = "<!-- run by tests/e2e/test_readme.py -->"
    (tmp_path / "shop.py").write_text(_block(marker, "python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout == _block("asyncio.run(main())", "text")


def test_the_test_passes_that_the_readme_shows(tmp_path):
    """It plays the first program, which can be imported without being run."""
    marker = "<!-- run by tests/e2e/test_readme.py -->"
    (tmp_path / "shop.py").write_text(_block(marker, "python"), encoding="utf-8")
    test = _block("## Test it", "python")
    (tmp_path / "test_shop.py").write_text(test, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "test_shop.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_transcript_can_be_replayed(postgres_url, rabbit_url, tmp_path):
    """Each command on real servers prints what the README shows."""
    env = {**os.environ, "ORDERS_DATABASE": str(tmp_path / "orders.db")}
    env |= {"PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    background: list[subprocess.Popen[str]] = []
    ids: list[str] = []
    transcript = _block("<!-- replayed by tests/e2e/test_readme.py -->", "console")
    try:
        for command, expected in _steps(transcript):
            if command.startswith("export "):
                env |= {"SAGA_STORE": postgres_url, "SAGA_BROKER": rabbit_url}
                continue
            words = shlex.split(command.rstrip(" &"))
            if words[1] == "watch":
                words[2] = ids[-1]
            words[0] = SAGA
            if command.endswith("&"):
                background.append(subprocess.Popen(words, cwd=ROOT, env=env, text=True))
                continue
            done = subprocess.run(
                words,
                cwd=ROOT,
                env=env,
                stdout=subprocess.PIPE,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert _fixed(expected) == _fixed(done.stdout), command
            ids += re.findall(r"^[0-9A-HJKMNP-TV-Z]{26}$", done.stdout, re.MULTILINE)
    finally:
        for process in background:
            process.terminate()
        codes = [process.wait(timeout=SECONDS) for process in background]
    assert codes == [0, 0]
