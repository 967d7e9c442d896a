"""The next release, as a copy of this one that says more than this one knows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PARTS = ("saga_orchestrator", "stores", "tests/support")
_NEWS = '"future": {"v": 2},'
_ENVELOPE = "saga_orchestrator/wire/envelope.py"
_PLAN = "saga_orchestrator/core/plan.py"


def next_release(folder: Path, *, new_plans: bool = False) -> Path:
    """Make the tree of a release whose messages have fields that this one lacks.

    Args:
        folder: where to put it.
        new_plans: let its plans be of a version that this one cannot read.
    """
    for part in _PARTS:
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    fence = "**_fence_document("
    _replace(folder / _ENVELOPE, fence, f"{_NEWS} {fence}", count=1)
    _replace(folder / _ENVELOPE, f"        {fence}reply", f"{_NEWS} {fence}reply")
    if new_plans:
        _replace(folder / _PLAN, "PLAN_VERSION = 1", "PLAN_VERSION = 2")
        _replace(folder / _PLAN, "== PLAN_VERSION", "in (1, PLAN_VERSION)")
    return folder


def environment_of(root: Path) -> dict[str, str]:
    """Return the variables with which a process imports what is in ``root``."""
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'stores'}"}


def _replace(file: Path, old: str, new: str, count: int = -1) -> None:
    text = file.read_text()
    assert old in text, f"{file}: {old}"
    file.write_text(text.replace(old, new, count))
