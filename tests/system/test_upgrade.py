"""A service of release 0.1.0 goes on under this release, and back under that one, without a failed request."""

from __future__ import annotations

import io
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.systemd_box import REPOSITORY
from tests.versions import broken_version, good_version

from modelward.daemon.cli.client import Client

pytestmark = pytest.mark.system

FORMER = "c3cee2c10874ddcf4dc857aa131682be12a5c425"
"""The last commit of 0.1.0."""
OLD, NEW, BROKEN = "dtmf-v1.0", "dtmf-v1.1", "dtmf-v1.2"


class Installation(House):
    """A daemon of either release, with a configuration that both know."""

    @property
    def api(self) -> Client:
        return Client(str(self.root / "run" / "api.sock"))  # answers of 0.1.0 are not those that are described now

    def configure(self, **sections: dict[str, object]) -> None:
        super().configure(**sections)
        self.config.write_text(self.config.read_text().replace("alert_after = 0\n", ""))

    def go_to(self, release: tuple[Path, ...], ending: signal.Signals) -> None:
        """Replaces the daemon by one of a release while clients send requests; its workers replace the former ones."""
        assert self.process is not None
        former = set(self.worker_pids())
        with self.load(clients=2) as load:
            eventually(lambda: len(load.seconds) > 5)
            self.process.send_signal(ending)
            self.process.wait()
            self.import_from = release
            self.start()
            eventually(lambda: not former & set(self.worker_pids()) and self.serves(NEW))
        assert load.failures == []
        assert load.mixed == []


@pytest.fixture(scope="module")
def former_release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Where the modules of 0.1.0 are, with the record of an installed package."""
    packed = subprocess.run(
        ["git", "archive", FORMER, ".imports", "daemon", "worker", "etc"], cwd=REPOSITORY, capture_output=True
    )
    if packed.returncode:
        pytest.skip("needs the repository with its history: 0.1.0 is taken from there")
    place = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(place, filter="data")
    record = place / "site" / "modelward-0.1.0.dist-info" / "METADATA"
    record.parent.mkdir(parents=True)
    record.write_text("Name: modelward\nVersion: 0.1.0\n\n")
    return place / "site", place / ".imports"


@pytest.fixture
def service(former_release: tuple[Path, ...], tmp_path: Path) -> Iterator[Installation]:
    """0.1.0 with a live version, a held one and a rejected one."""
    service = Installation(tmp_path / "service", import_from=former_release)
    try:
        good_version(service.models, OLD)
        service.start(OLD)
        good_version(service.models, NEW, words=True)
        service.await_serving(NEW)
        service.command("hold", version=OLD)
        broken_version(service.models, "truncated", BROKEN)
        service.await_state(BROKEN, "rejected")
        yield service
    finally:
        service.close()


def test_a_service_of_the_former_release_is_taken_over_and_given_back_without_a_failed_request(
    service: Installation, former_release: tuple[Path, ...]
) -> None:
    assert service.status()["version"] == "0.1.0"
    before = [(event["time"], event["kind"]) for event in service.history()]
    service.go_to((), signal.SIGQUIT)  # as `systemctl restart` ends it
    assert service.status()["version"] != "0.1.0"
    assert service.status()["previous"] == OLD
    _is_as_it_was(service, before)
    service.go_to(former_release, signal.SIGQUIT)
    assert service.status()["version"] == "0.1.0"
    _is_as_it_was(service, before)
    service.go_to((), signal.SIGKILL)
    _is_as_it_was(service, before)
    service.command("rollback")
    service.await_serving(OLD)


def _is_as_it_was(service: Installation, before: list[tuple[str, str]]) -> None:
    """The verdicts, which are made again by another release, the held version, the link and the history."""
    service.await_state(OLD, "accepted")
    service.await_state(NEW, "accepted")
    service.await_state(BROKEN, "rejected")
    assert {name for name, version in service.versions().items() if version["held"]} == {OLD}
    assert service.link.readlink() == Path(NEW)
    assert set(before) <= {(event["time"], event["kind"]) for event in service.history()}


def test_the_configuration_of_the_former_release_is_valid(former_release: tuple[Path, ...]) -> None:
    done = House(former_release[0] / "house").cli("check-config", former_release[0].parent / "etc" / "modelward.toml")
    assert (done.returncode, done.stderr) == (0, "")
