"""deploy/kubernetes and deploy/systemd say what the program understands."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from tests.support.command_line import accept, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "deploy" / "kubernetes"
_KUSTOMIZATION = yaml.safe_load((_FOLDER / "kustomization.yaml").read_text())
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_UNITS = sorted((_ROOT / "deploy" / "systemd").glob("*.service"))
_ANALYZE = shutil.which("systemd-analyze")
_OLDEST, _NEWEST = "1.28", kubernetes_validate.latest_version()


def _manifests() -> Iterator[dict[str, Any]]:
    for path in sorted(_FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


_MANIFESTS = {
    f"{one['kind']} {_name}": one
    for one in _manifests()
    for _name in [one["metadata"].get("name", "generated")]
}
_PODS = {
    name: one["spec"]["template"]["spec"]
    for name, one in _MANIFESTS.items()
    if "template" in one["spec"]
}


@pytest.mark.parametrize("version", [_OLDEST, _NEWEST])
@pytest.mark.parametrize("name", _MANIFESTS)
def test_schema(name: str, version: str) -> None:
    """Each manifest is what Kubernetes takes, with no field that it would drop."""
    kubernetes_validate.validate(_MANIFESTS[name], version, strict=True)


def test_kustomization() -> None:
    """It names files that are there, and an image of this version."""
    assert all((_FOLDER / name).is_file() for name in _KUSTOMIZATION["resources"])
    (image,) = _KUSTOMIZATION["images"]
    assert image["newTag"] == _PROJECT["version"]
    for pod in _PODS.values():
        (container,) = pod["containers"]
        assert container["image"] == f"{image['name']}:{_PROJECT['version']}"


@pytest.mark.parametrize("name", _PODS)
def test_pod(name: str) -> None:
    """Its command is one, its variables are settings, and it has no rights."""
    pod = _PODS[name]
    (container,) = pod["containers"]
    accept(container["args"])
    assert unknown(variable["name"] for variable in container["env"]) == set()
    (secrets,) = [volume for volume in pod["volumes"] if "secret" in volume]
    (place,) = [
        mount["mountPath"]
        for mount in container["volumeMounts"]
        if mount["name"] == secrets["name"]
    ]
    urls = {one["name"]: one["value"] for one in container["env"]}
    for setting in ("store", "broker"):
        assert f"SAGA_{setting.upper()}" not in urls
        file = urls.get(f"SAGA_{setting.upper()}_FILE", f"{place}/{setting}")
        assert file == f"{place}/{setting}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
    assert mounts == {volume["name"] for volume in pod.get("volumes", ())}


def test_a_pod_has_time_to_drain() -> None:
    """It is killed only after the program's own time is up."""
    from saga_orchestrator.settings import Settings

    drain = Settings.model_fields["drain_seconds"].default
    for name, pod in _PODS.items():
        if name.startswith("Deployment"):
            (container,) = pod["containers"]
            pause = _pause_before_stop(container)
            assert pod["terminationGracePeriodSeconds"] > pause + drain + 5


def test_who_is_behind_a_service_listens_until_no_request_comes() -> None:
    """What has nothing to drain closes its port at SIGTERM; the news takes longer."""
    wanted = [
        one["spec"]["selector"]
        for one in _MANIFESTS.values()
        if one["kind"] == "Service"
    ]
    served = [
        one["spec"]["template"]
        for one in _MANIFESTS.values()
        if one["kind"] == "Deployment"
        and one["spec"]["selector"]["matchLabels"] in wanted
    ]
    assert len(served) == len(wanted)
    for template in served:
        (container,) = template["spec"]["containers"]
        assert _pause_before_stop(container) >= 5


def _pause_before_stop(container: dict[str, Any]) -> float:
    if "lifecycle" not in container:
        return 0
    name, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert name == "sleep"
    return float(seconds)


def test_probes_and_budgets() -> None:
    """Probes ask a port that is there; each Deployment has a budget of its pods."""
    for name, one in _MANIFESTS.items():
        if one["kind"] == "Deployment":
            (container,) = _PODS[name]["containers"]
            (port,) = container["ports"]
            asked = [f"--{port['name']}", f"0.0.0.0:{port['containerPort']}"]
            assert container["args"][-2:] == asked
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] == port["name"]
            budget = _MANIFESTS[name.replace("Deployment", "PodDisruptionBudget")]
            assert budget["spec"]["selector"] == one["spec"]["selector"]


@pytest.mark.parametrize("unit", _UNITS, ids=lambda path: path.name)
def test_unit(unit: Path) -> None:
    """Its command is one of the program's, and the drain has its time."""
    text = unit.read_text()
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # its own advice
    parsed.read_string(text)
    command = shlex.split(parsed["Service"]["ExecStart"].replace("%i", "payments"))
    accept(command[1:])
    variables = re.findall(r"\b(SAGA_\w+)=", text)
    assert {"SAGA_BROKER_FILE", "SAGA_LOG_FORMAT"} <= set(variables)
    assert unknown(variables) == set()
    assert float(parsed["Service"]["TimeoutStopSec"]) > 30


@pytest.mark.skipif(_ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", _UNITS, ids=lambda path: path.name)
def test_unit_is_understood(unit: Path, tmp_path: Path) -> None:
    """Its manager understands each line, and finds that it exposes little."""
    program = str(Path(sys.executable).parent / "saga")
    copy = tmp_path / unit.name.replace("@", "@payments")
    copy.write_text(unit.read_text().replace("/opt/saga/bin/saga", program))
    verified = _analyze("verify", "--man=no", str(copy))
    assert [line for line in verified.stderr.splitlines() if copy.name in line] == []
    exposed = _analyze("security", "--offline=yes", "--threshold=20", str(copy))
    assert exposed.returncode == 0, exposed.stdout


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_ANALYZE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
