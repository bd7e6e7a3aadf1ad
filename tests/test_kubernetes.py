"""The manifests in etc/kubernetes: built as kubectl builds them, right for three releases, in line with the daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]
from tests.support import PATIENCE_SECONDS

from modelward.daemon.config.load import Config, parse
from modelward.daemon.config.validators import split_address
from modelward.daemon.supervisor import ENDING_SECONDS
from modelward.worker.http.metrics import METRICS

MANIFESTS = Path(__file__).parents[1] / "etc" / "kubernetes"
RELEASES = ("1.31", "1.34", "1.37")
KINDS = {"deployment": "Deployment", "daemonset": "DaemonSet"}
CRDS = ("ServiceMonitor",)
"""Kinds whose schemas come with an operator."""


@cache
def built(overlay: str, manifests: Path = MANIFESTS) -> dict[str, dict[str, Any]]:
    """The objects of an overlay, by kind; there is one of each."""
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"
    command = [kubectl, "kustomize", manifests / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    found = [*yaml.safe_load_all(done.stdout)]
    objects = {each["kind"]: each for each in found}
    assert len(objects) == len(found)
    return objects


def pod(overlay: str) -> dict[str, Any]:
    found: dict[str, Any] = built(overlay)[KINDS[overlay]]["spec"]["template"]["spec"]
    return found


def container(overlay: str) -> dict[str, Any]:
    (found,) = pod(overlay)["containers"]
    return dict(found)


def config(overlay: str) -> Config:
    return parse(built(overlay)["ConfigMap"]["data"]["modelward.toml"], overlay)


def valid(objects: dict[str, dict[str, Any]], release: str) -> None:
    for kind, each in objects.items():
        if kind not in CRDS:
            kubernetes_validate.validate(each, release, strict=True)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("overlay", KINDS)
def test_every_object_is_right_for_the_release(overlay: str, release: str) -> None:
    valid(built(overlay), release)


def test_a_claim_may_take_the_place_of_the_image_volume(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "kubernetes")
    file = tmp_path / "kubernetes/overlays/deployment/kustomization.yaml"
    text = file.read_text().replace("  - path: model-image", "  # - path: model-image")
    file.write_text(text.replace("  # - path: model-claim", "  - path: model-claim"))
    objects = built("deployment", tmp_path / "kubernetes")
    valid(objects, RELEASES[0])
    volumes = {volume["name"]: volume for volume in objects["Deployment"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["model"]["persistentVolumeClaim"]["readOnly"] is True


@pytest.mark.parametrize("overlay", KINDS)
def test_the_grace_period_is_longer_than_what_the_end_takes(overlay: str) -> None:
    before = container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = before + config(overlay).workers.drain + ENDING_SECONDS
    assert pod(overlay)["terminationGracePeriodSeconds"] > needed


@pytest.mark.parametrize("overlay", KINDS)
def test_probes_ask_where_the_daemon_listens_and_a_missing_model_restarts_no_pod(overlay: str) -> None:
    found, settings = container(overlay), config(overlay)
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    assert ports == {
        "http": split_address(settings.workers.listen)[1],
        "panel": split_address(settings.panel.listen)[1],
    }
    probes = {name: found[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    alive = {"path": "/health", "port": "panel"}  # the daemon's own, which has no model
    assert probes == {
        "startupProbe": alive,
        "livenessProbe": alive,
        "readinessProbe": {"path": "/ready", "port": "http"},
    }


@pytest.mark.parametrize("overlay", KINDS)
def test_what_the_daemon_writes_lies_on_volumes_and_below_them(overlay: str) -> None:
    settings, mounts = config(overlay), {m["mountPath"]: m for m in container(overlay)["volumeMounts"]}
    writable = [Path(path) for path, mount in mounts.items() if not mount.get("readOnly")]
    for place in (settings.control.state_dir, settings.control.cache_dir, settings.control.runtime_dir):
        assert any(place.is_relative_to(above) and place != above for above in writable), place
    assert settings.logs.dir is None and container(overlay)["command"][-1] == "/etc/modelward/modelward.toml"
    assert Path(settings.panel.token_file).parent == Path("/etc/modelward-tokens")
    assert all("subPath" not in mount for mount in mounts.values()), "a file mounted by subPath never changes"


def test_a_pod_of_the_deployment_has_its_version_below_a_root_that_nothing_is_written_in() -> None:
    settings = config("deployment")
    (mount,) = (m for m in container("deployment")["volumeMounts"] if m["name"] == "model")
    assert (Path(mount["mountPath"]).parent, mount["readOnly"]) == (settings.models.root, True)
    assert settings.models.link == "state"
    assert built("deployment")["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {
        "maxUnavailable": 0,
        "maxSurge": 1,
    }
    (models,) = (m for m in container("daemonset")["volumeMounts"] if m["name"] == "models")
    assert Path(models["mountPath"]) == config("daemonset").models.root and not models.get("readOnly")


@pytest.mark.parametrize("overlay", KINDS)
def test_the_pod_has_the_least_rights(overlay: str) -> None:
    whole, own = pod(overlay)["securityContext"], container(overlay)["securityContext"]
    assert whole["runAsNonRoot"] is True and whole["runAsUser"] >= 10_000
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(overlay)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(overlay).keys()


@pytest.mark.parametrize("overlay", KINDS)
def test_every_selector_finds_the_pods_and_nothing_else(overlay: str) -> None:
    objects, label = built(overlay), {"app.kubernetes.io/name": "modelward"}
    assert objects[KINDS[overlay]]["spec"]["template"]["metadata"]["labels"] == label
    assert objects[KINDS[overlay]]["spec"]["selector"] == {"matchLabels": label}
    assert objects["Service"]["spec"]["selector"] == objects["Service"]["metadata"]["labels"] == label
    assert objects["NetworkPolicy"]["spec"]["podSelector"] == objects["ServiceMonitor"]["spec"]["selector"]
    assert objects["ServiceMonitor"]["spec"]["selector"] == {"matchLabels": label}
    if overlay == "deployment":
        assert objects["PodDisruptionBudget"]["spec"]["selector"] == {"matchLabels": label}


def test_the_autoscaler_goes_by_a_figure_that_the_workers_have_and_that_is_scraped() -> None:
    rules = yaml.safe_load((MANIFESTS / "overlays/deployment/prometheus-adapter-rules.yaml").read_text())
    (rule,) = rules["rules"]["custom"]
    (wanted,) = built("deployment")["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert wanted["pods"]["metric"]["name"] == rule["name"]["as"]
    names = set(re.findall(r"modelward_\w+", rule["metricsQuery"] + rule["seriesQuery"]))
    endpoints = {each["port"]: each for each in built("deployment")["ServiceMonitor"]["spec"]["endpoints"]}
    (kept,) = endpoints["http"]["metricRelabelings"]
    ours = {f"{metric.name}_{part}" for metric in METRICS for part in ("sum", "count")}
    assert len(names) == 2 and names <= ours and all(re.fullmatch(kept["regex"], name) for name in names)
    assert endpoints["panel"]["authorization"]["credentials"]["key"] == Path(config("deployment").panel.token_file).name
