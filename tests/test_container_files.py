"""The files of etc/container agree with the schema, with one another and with what they name."""

from __future__ import annotations

import re
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from modelward.daemon.cli import VERBS
from modelward.daemon.config.environment import variables
from modelward.daemon.config.load import load
from modelward.daemon.config.validators import split_address

ROOT = Path(__file__).parents[1]
HERE = ROOT / "etc" / "container"
DEFAULTS = load(HERE / "defaults.toml")
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["modelward"]
QUADLET = {
    "Image", "ContainerName", "HostName", "PublishPort", "Volume", "ReadOnly", "DropCapability", "NoNewPrivileges",
    "Environment", "PodmanArgs", "HealthCmd", "HealthInterval", "HealthTimeout", "HealthStartPeriod", "HealthRetries",
}  # fmt: skip
"""Keys of podman-systemd.unit(5) that podman 4.5 has."""


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Containerfile with its words; continued lines are one."""
    text = re.sub(r"\\\n\s*", " ", (HERE / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def words(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_every_variable_that_they_name_is_a_key() -> None:
    for path in (*HERE.rglob("*"), ROOT / "docs" / "container.md"):
        if path.is_file():
            for name in set(re.findall(r"MODELWARD_[A-Z_]*__[A-Z_]+", path.read_text())) - {"MODELWARD_WORKERS__CUONT"}:
                assert name.removesuffix("_FILE") in variables() or name in variables(), f"{path}: {name}"


def test_the_defaults_keep_everything_on_the_volume_and_fit_what_the_image_says() -> None:
    [volume] = words("VOLUME")
    control = DEFAULTS.control
    kept = [DEFAULTS.models.root, control.state_dir, control.cache_dir, *(entry.path for entry in DEFAULTS.disk.class_)]
    assert all(path.is_relative_to(volume) for path in kept)
    assert not control.runtime_dir.is_relative_to(volume) and DEFAULTS.logs.dir is None
    ports = [str(split_address(listen)[1]) for listen in (DEFAULTS.workers.listen, DEFAULTS.panel.listen)]
    assert words("EXPOSE") == [" ".join(ports)]
    assert Path(DEFAULTS.panel.token_file).parent == control.state_dir  # or nobody would make it
    assert DEFAULTS.workers.drain < 10  # what docker waits


def test_the_image_is_made_of_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ignored = (HERE / "Containerfile.dockerignore").read_text().splitlines()
    sources = {source for each in words("COPY") if not each.startswith("--") for source in each.split()[:-1]}
    for top in project["tool"]["setuptools"]["package-dir"].values():
        assert top in sources
    assert {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]} <= sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored or f"!{source.split('/')[0]}" in ignored
    steps = (HERE / "install.sh").read_text()
    for step in re.findall(r"install\.sh (\w+)", " ".join(words("RUN"))):
        assert f"\n{step}() {{" in steps
    assert subprocess.run(["sh", "-n", HERE / "install.sh"]).returncode == 0
    for command in (words("HEALTHCHECK")[0].partition("CMD ")[2], words("CMD")[0]):
        assert [word for word in re.findall(r'"(\w+)"', command) if word != "modelward"][0] in VERBS


def test_compose_names_what_there_is_and_waits_for_the_end() -> None:
    for service in COMPOSE["services"].values():
        for mount in service["volumes"]:
            source = re.sub(r"^\$\{\w+:-(\w+)\}", r"\1", mount).split(":")[0]
            assert (HERE / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    drain = int(SERVICE["environment"]["MODELWARD_WORKERS__DRAIN"].removesuffix("s"))
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) >= drain + 12
    assert SERVICE["read_only"] and SERVICE["cap_drop"] == ["ALL"]
    assert " ".join(SERVICE["healthcheck"]["test"][1:]) == "modelward health"


@pytest.mark.parametrize("file", ["container/compose.yaml", "fleet/compose.yaml"])
def test_compose_files_have_no_key_and_no_value_that_docker_does_not_know(file: str) -> None:
    text = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", (ROOT / "etc" / file).read_text())  # as docker does first
    assert PyCompose.from_yaml(text).service_names
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_yaml(text.replace("read_only:", "read_onyl:"))


def test_the_server_of_a_fleet_has_its_files_where_its_configuration_looks() -> None:
    here = ROOT / "etc" / "fleet"
    service = yaml.safe_load((here / "compose.yaml").read_text())["services"]["nats"]
    configuration = (here / "nats.conf").read_text()
    targets = {target: source for source, target in (mount.split(":")[:2] for mount in service["volumes"])}
    assert service["command"] == ["-c", "/etc/nats/nats.conf"]
    needed = {"nats.conf", *re.findall(r'include "([a-z]+\.conf)"', configuration)}
    needed |= {Path(path).name for path in re.findall(r'"(/etc/nats/[a-z]+\.(?:crt|key))"', configuration)}
    assert len(needed) == 5  # and no secret of another program: whatever lies beside them stays outside
    files = {target: source for target, source in targets.items() if source.startswith(".")}
    assert files == {f"/etc/nats/{name}": f"./{name}" for name in needed}
    assert all(mount.endswith(":ro") for mount in service["volumes"] if mount.startswith("."))
    assert re.search(r"store_dir: *\"?(/[a-z/]+)", configuration)[1] in targets  # type: ignore[index]
    port = re.search(r"listen: *\"?[0-9.]+:([0-9]+)", configuration)
    assert port is not None and service["ports"] == [f"{port[1]}:{port[1]}"]


def test_prometheus_reads_the_token_that_the_daemon_makes() -> None:
    [job] = yaml.safe_load((HERE / "prometheus.yml").read_text())["scrape_configs"]
    port = split_address(DEFAULTS.panel.listen)[1]
    assert job["static_configs"] == [{"targets": [f"{SERVICE['hostname']}:{port}"]}]
    prometheus = COMPOSE["services"]["prometheus"]
    [mounted] = [m.split(":")[1] for m in prometheus["volumes"] if m.startswith("data:")]
    inside = Path(DEFAULTS.panel.token_file).relative_to("/data")
    assert job["authorization"] == {"credentials_file": f"{mounted}/{inside}"}
    assert prometheus["user"].endswith(":" + words("USER")[0].split(":")[1])


def test_grafana_is_given_the_dashboard_and_prometheus() -> None:
    [source] = yaml.safe_load((HERE / "grafana" / "datasource.yml").read_text())["datasources"]
    assert source["type"] == "prometheus" and "//prometheus:9090" in source["url"]
    [provider] = yaml.safe_load((HERE / "grafana" / "dashboards.yml").read_text())["providers"]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert any(mount.split(":")[1].startswith(provider["options"]["path"]) for mount in mounts)


def test_the_quadlet_has_keys_of_podman_alone() -> None:
    unit = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(HERE / "modelward.container")
    assert set(unit["Container"]) <= QUADLET
    stop = int(unit["Container"]["PodmanArgs"].removeprefix("--stop-timeout="))
    assert stop < int(unit["Service"]["TimeoutStopSec"])
    assert unit["Container"]["HealthCmd"] == "modelward health"
