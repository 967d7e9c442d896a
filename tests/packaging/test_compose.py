"""docker-compose.yml says only what the program understands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (_ROOT / "docker-compose.yml").read_text()
)["services"]
_OURS = sorted(name for name, service in _SERVICES.items() if "build" in service)


def test_services() -> None:
    """The file starts a whole system."""
    assert set(_SERVICES) == {*_OURS, "postgres", "rabbitmq"}
    assert _OURS == ["migrate", "orchestrator", "worker"]


def test_order_of_starting() -> None:
    """A service waits only for services that exist and can say when they are ready."""
    for service in _SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            one_shot = wanted["condition"] == "service_completed_successfully"
            assert one_shot or "healthcheck" in _SERVICES[other], other


@pytest.mark.parametrize("name", _OURS)
def test_build(name: str) -> None:
    """The image of a service is built from files that exist."""
    build = _SERVICES[name]["build"]
    assert (_ROOT / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", _OURS)
def test_commands(name: str) -> None:
    """``saga`` has the command of each service and accepts its arguments."""
    from typer.main import get_command

    from saga_orchestrator.cli.main import app

    program = get_command(app)
    verb, *arguments = _SERVICES[name]["command"]
    assert verb in program.commands
    program.commands[verb].make_context(verb, arguments)  # raises on a usage error


@pytest.mark.parametrize("name", _OURS)
def test_settings(name: str) -> None:
    """Each ``SAGA_`` variable of a service is a setting; the rest is the handlers'."""
    from saga_orchestrator.settings import Settings

    prefix = "SAGA_"
    assert Settings.model_config.get("env_prefix") == prefix
    known = {prefix + field.upper() for field in Settings.model_fields}
    given = {key for key in _SERVICES[name]["environment"] if key.startswith(prefix)}
    assert given - known == set()
