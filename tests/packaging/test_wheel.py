"""The wheel, installed elsewhere, is complete and shows itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_GROUPS = ("saga_orchestrator.stores", "saga_orchestrator.brokers")

_LOAD_ENTRY_POINTS = f"""
import inspect, json
from importlib.metadata import entry_points
found = [entry for group in {_GROUPS} for entry in entry_points(group=group)]
print(json.dumps([[e.group, e.name, inspect.getfile(e.load())] for e in found]))
"""

# One build and one installation for the whole file, so one worker runs it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
    _run(*build, "--outdir", folder, _ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def files(wheel: Path) -> set[str]:
    """The names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a fresh environment that holds the wheel.

    Our dependencies come from the environment that runs the tests: a ``.pth``
    file adds its folder. What ``.pth`` files in *that* folder say is not
    followed, so the editable installation of this tree stays out of sight.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin/python", "--isolated")
    _run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_import_names(files: set[str]) -> None:
    """The wheel takes two import names, and no generic one from its users."""
    tops = {name.partition("/")[0] for name in files}
    info = f"saga_orchestrator-{_PROJECT['version']}.dist-info"
    assert tops == {"saga_orchestrator", "saga_stores", info}


def test_data_files(files: set[str]) -> None:
    """Every SQL file and both typing markers are in the wheel."""
    sql = {
        path.relative_to(_ROOT) for path in (_ROOT / "saga_orchestrator").rglob("*.sql")
    }
    stores = _ROOT / "stores"
    sql |= {path.relative_to(stores) for path in stores.rglob("*.sql")}
    assert sql, "the stores keep their statements in SQL files"
    wanted = {path.as_posix() for path in sql}
    wanted |= {"saga_orchestrator/py.typed", "saga_stores/py.typed"}
    assert wanted - files == set()


def test_entry_points(programs: Path, tmp_path: Path) -> None:
    """Every store and broker that we register loads, from the wheel."""
    output = _run(programs / "python", "-I", "-c", _LOAD_ENTRY_POINTS, cwd=tmp_path)
    loaded = json.loads(output)
    registered = [
        (group, name) for group in _GROUPS for name in _PROJECT["entry-points"][group]
    ]
    assert sorted((group, name) for group, name, _ in loaded) == sorted(registered)
    outside = [file for *_, file in loaded if not file.startswith(str(programs.parent))]
    assert outside == []


def test_version(programs: Path, tmp_path: Path) -> None:
    """``saga --version`` names the version of the wheel."""
    assert _PROJECT["version"] in _run(programs / "saga", "--version", cwd=tmp_path)


def test_demo(programs: Path, tmp_path: Path) -> None:
    """The demo runs from the wheel alone: all sagas end, no promise is broken."""
    output = _run(programs / "saga", "demo", "--sagas", "20", "--json", cwd=tmp_path)
    report = json.loads(output)
    assert report["sagas"] == 20
    assert report["violations"] == 0
