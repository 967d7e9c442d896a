"""docker-compose.yml and the Dockerfile say only what they may, and what is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import accept, unknown

_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "docker-compose.yml"
_DOCUMENT: dict[str, Any] = yaml.safe_load(_FILE.read_text())
_PROMETHEUS = yaml.safe_load(
    (_ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
)
_SERVICES: dict[str, dict[str, Any]] = _DOCUMENT["services"]
_OURS = sorted(name for name, service in _SERVICES.items() if "build" in service)
_DOCKERFILE = (_ROOT / "deploy" / "Dockerfile").read_text()


def _command(service: dict[str, Any]) -> list[str]:
    """Return the arguments of the `saga` command that a service runs."""
    if "entrypoint" not in service:
        return list(service["command"])
    script = " ".join(service["command"])
    found = re.search(r"\bsaga ([^>|&]*)", script)
    assert found is not None, script
    return shlex.split(found[1])


def test_schema() -> None:
    """The file is one, by the Compose Specification."""
    subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema", "--builtin-schema"),
            *("vendor.compose-spec", str(_FILE)),
        ],
        check=True,
        timeout=60,
    )


def test_services() -> None:
    """The file starts a whole system, and what watches it only when asked to."""
    assert _OURS == ["key", "migrate", "orchestrator", "worker"]
    always = {name for name, service in _SERVICES.items() if "profiles" not in service}
    assert always == {*_OURS, "postgres", "rabbitmq"}
    assert set(_SERVICES) - always == {"grafana", "prometheus"}


def test_order_of_starting() -> None:
    """A service waits only for services that exist and can say when they are ready."""
    for service in _SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            one_shot = wanted["condition"] == "service_completed_successfully"
            assert one_shot or "healthcheck" in _SERVICES[other], other


@pytest.mark.parametrize("name", ["orchestrator", "worker"])
def test_what_is_probed_and_scraped_is_where_it_listens(name: str) -> None:
    """The health check and Prometheus ask the port of the command."""
    service = _SERVICES[name]
    port = re.findall(r"0\.0\.0\.0:(\d+)", " ".join(service["command"]))
    (probe,) = [word for word in service["healthcheck"]["test"] if "urlopen" in word]
    assert re.findall(r"127\.0\.0\.1:(\d+)/readyz", probe) == port
    (scraped,) = [
        job["dns_sd_configs"]
        for job in _PROMETHEUS["scrape_configs"]
        if job.get("dns_sd_configs", [{}])[0].get("names") == [name]
    ]
    assert [str(one["port"]) for one in scraped] == port


def test_mounts() -> None:
    """What is mounted is there: a folder of this tree, or a volume of the file."""
    for service in _SERVICES.values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (_ROOT / source).is_dir(), source
            else:
                assert source in _DOCUMENT["volumes"], source


@pytest.mark.parametrize("name", _OURS)
def test_build(name: str) -> None:
    """The image of a service is built from files that exist."""
    build = _SERVICES[name]["build"]
    assert (_ROOT / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", _OURS)
def test_commands(name: str) -> None:
    """``saga`` has the command of each service and accepts its arguments."""
    accept(_command(_SERVICES[name]))


@pytest.mark.parametrize("name", _OURS)
def test_settings(name: str) -> None:
    """Each ``SAGA_`` variable of a service is a setting; the rest is the handlers'."""
    assert unknown(_SERVICES[name]["environment"]) == set()


@pytest.mark.parametrize("name", _OURS)
def test_least_rights(name: str) -> None:
    """Our containers have a root that they cannot write to, and no capabilities."""
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_dockerfile_copies_what_is_there() -> None:
    """Each file that it copies exists, and reaches the builder."""
    let_through = {
        line[1:]
        for line in (_ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", _DOCKERFILE, re.MULTILINE)
        for source in line.split()
    }
    assert copied == let_through
    assert all((_ROOT / source).exists() for source in copied)


def test_dockerfile_runs_the_program_as_nobody_special() -> None:
    """It starts a script of ours, by a user with a number, in the last stage too."""
    scripts = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"][
        "scripts"
    ]
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', _DOCKERFILE, re.MULTILINE)
    assert entry in scripts
    stages = _DOCKERFILE.split("FROM ")
    assert "\nUSER 10001:10001\n" in stages[2]
    assert stages[-1].strip() == "program"
