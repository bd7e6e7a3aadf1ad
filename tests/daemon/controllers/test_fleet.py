"""A daemon without a fleet has nothing of it; one whose fleet cannot be followed says so and serves on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.config.load import Config, FleetSection
from modelward.daemon.config.schema import Models
from modelward.daemon.controllers.fleet import Fleet
from modelward.daemon.models.activation_policy import FLEET_CHOSE, FLEET_WANTS, chosen
from modelward.daemon.system.clock import SystemClock
from modelward.worker.shared.prometheus_text import Exposition

UNUSED = cast(Any, None)


def fleet(root: Path | None = None, **keys: Any) -> Fleet:
    config = Config(models=Models(root=root or Path("/none")), fleet=FleetSection(**keys))
    return Fleet(
        lambda: config, SystemClock(), validation=UNUSED, activation=UNUSED, async_store=UNUSED, wakeups=UNUSED,
        rename=UNUSED,
    )  # fmt: skip


def test_without_a_fleet_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, modelward.daemon.supervisor, modelward.daemon.cli.program\n"
        "print([name for name in sys.modules if name.startswith(('modelward.daemon.fleet', 'nats', 'nkeys'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": modules()}, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def test_without_a_fleet_there_is_nothing_to_do_and_to_show() -> None:
    part = fleet()
    assert asyncio.run(part.step()) is None
    assert (part.answer().server, part.figures(), part.next_due()) == ("", [], None)
    out = Exposition(())
    part.expose(out)
    assert out.text().strip() in ("", "# EOF")


def test_what_was_fetched_for_a_fleet_that_is_off_takes_no_room(tmp_path: Path) -> None:
    part = tmp_path / ".fleet-part/files"
    part.mkdir(parents=True)
    (part / "model.onnx").write_bytes(b"half of it")
    (tmp_path / "v1").mkdir()
    asyncio.run(fleet(root=tmp_path).step())
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_missing_package_is_an_alert_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats.errors", None)  # as where it is not installed
    for name in ("nats_connection", "nats_engine"):
        monkeypatch.delitem(sys.modules, f"modelward.daemon.fleet.{name}", raising=False)
    part = fleet(url="nats://127.0.0.1:4222", public_keys=("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",))
    assert asyncio.run(part.step()) is None
    assert [(figure.metric, figure.because) for figure in part.figures()] == [
        ("fleet_blocked", "cannot use nats://127.0.0.1:4222: it needs nats-py: pip install 'modelward[fleet]'")
    ]
    assert part.answer().away


def test_what_a_fleet_holds_it_may_want_again_and_what_an_operator_holds_it_may_not() -> None:
    assert chosen(FLEET_WANTS).endswith(FLEET_CHOSE)
    assert not chosen("asked for by command").endswith(FLEET_CHOSE)
