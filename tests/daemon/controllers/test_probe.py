"""Probes of a service on a real port: which clip they send, and when none is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.fakes.receivers import Reply, fake_receiver
from tests.support import soon

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.probe import Probe
from modelward.daemon.system.clock import SystemClock


def once(address: str, version: Path | None, text: str = "", *, busy: bool = False) -> Probe:
    config = parse(f'validation.golden = ""\n{text}', "test")
    done: list[None] = []

    async def go() -> Probe:
        probe = Probe(
            lambda: config,
            SystemClock(),
            address=lambda: address,
            version=lambda: version,
            busy=lambda: busy,
            happened=lambda: done.append(None),
        )
        await probe.once()
        return probe

    return asyncio.run(go())


def version(directory: Path) -> Path:
    (directory / "golden").mkdir()
    (directory / "golden/a.wav").write_bytes(b"RIFF")
    (directory / "golden/a.txt").write_text("555")
    return directory


def test_asks_the_port_with_the_versions_own_clip_and_counts_what_came_back(tmp_path: Path) -> None:
    with fake_receiver(Reply(body=b'{"result": "5 5 5"}')) as service:
        probe = once(f"0.0.0.0:{service.port}", version(tmp_path))
    assert (probe.record.passed, probe.record.failed, probe.record.off) == (1, 0, "")
    assert len(service.posts) == 1 and [figure.value for figure in probe.figures()] == [0.0]


@pytest.mark.parametrize(
    ("text", "off"),
    [
        ("", "no clip"),
        ('probe.clip = "/no/such.wav"', "cannot read the clip, its text or the token: No such file or directory"),
        ('probe.clip = "/dev/zero"', "cannot read the clip"),
    ],
)
def test_without_a_clip_there_is_no_probe_and_the_reason_is_told(tmp_path: Path, text: str, off: str) -> None:
    assert once("127.0.0.1:9", tmp_path, text).record.off.startswith(off)


def test_none_is_sent_during_a_rollout(tmp_path: Path) -> None:
    with fake_receiver() as service:
        probe = once(f"127.0.0.1:{service.port}", version(tmp_path), busy=True)
    assert service.posts == [] and probe.figures() == []


@pytest.mark.parametrize(
    ("address", "text", "there", "off"),
    [
        ("127.0.0.1:9", "probe.every = 0", True, "probe.every is 0"),
        ("127.0.0.1:9", 'models.kind = "tensor"', True, "not for kind tensor"),
        ("127.0.0.1:9", "", False, "nothing is served"),
        ("unix:/run/x.sock", "", True, "the service listens on no port"),
    ],
)
def test_what_is_off_says_why(tmp_path: Path, address: str, text: str, there: bool, off: str) -> None:
    probe = once(address, tmp_path if there else None, text)
    assert (probe.report().off, probe.report().configured) == (off, not text)


def test_a_shorter_time_between_probes_holds_at_once() -> None:
    config = parse('probe.every = "1d"', "test")
    done: list[None] = []

    async def go() -> None:
        nonlocal config
        probe = Probe(
            lambda: config, SystemClock(), address=lambda: "", version=lambda: None, busy=lambda: False,
            happened=lambda: done.append(None),
        )  # fmt: skip
        await probe.ensure()
        await asyncio.sleep(0)  # it waits for a day now
        config = parse("probe.every = 0.01", "test")
        await probe.ensure()
        await soon(lambda: len(done) >= 2)
        await probe.stop()

    asyncio.run(go())
