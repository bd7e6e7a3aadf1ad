"""The pod of the Deployment, run by its manifest: no rights, only volumes to write, the model as a volume."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.house import BREATH_SECONDS, Load, clip, free_port
from tests.pods import first_process, inside, pod_command, why_not
from tests.support import PATIENCE_SECONDS, ended_after, eventually
from tests.test_kubernetes import built, pod
from tests.versions import good_version

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(why_not()), reason=why_not())]
TOKEN = "a-token-of-the-panel"


def status(url: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.suppress(OSError):
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=PATIENCE_SECONDS
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as e:
            return e.code
    return 0


def _serving(text: str) -> dict[str, Any] | None:
    """A status, once a version is live: workers answer a moment earlier than the daemon knows."""
    found: dict[str, Any] = json.loads(text)
    return found if found["live"] else None


def test_the_pod_of_the_deployment_serves_is_confined_and_answers_what_is_under_way_at_its_end(tmp_path: Path) -> None:
    spec, http, panel = pod("deployment"), free_port(), free_port()
    text = built("deployment")["ConfigMap"]["data"]["modelward.toml"]
    text = text.replace(":8000", f":{http}").replace(":5000", f":{panel}").replace('"0.0.0.0', '"127.0.0.1')
    text += '\n[validation]\ncompile = "off"\n[rollout]\nbake = "0s"\n'
    files = {"config": {"modelward.toml": text.encode()}, "tokens": {"panel": f"{TOKEN}\n".encode()}}
    tmp_path.chmod(0o755)
    command = pod_command(tmp_path, spec, files=files, model=good_version(tmp_path))
    with (
        open(tmp_path / "out", "wb") as out,
        ended_after(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)) as process,
    ):
        assert eventually(lambda: status(f"http://127.0.0.1:{panel}/health")) == 200, "alive before it has a model"
        eventually(lambda: status(f"http://127.0.0.1:{http}/ready") == 200 or process.poll())
        first = first_process(process.pid)
        shown = eventually(lambda: _serving(inside(first, spec, "modelward", "status", "--json")))
        assert shown["live"] == "sensevoice-v1.0" and "/data/state/current" in shown["root"]
        own = {"needs_operator", "rollout_failed", "root_absent", "sweep_shortfall", "state_in_memory"}
        assert not own & {alert["metric"] for alert in shown["alerts"]}
        workers = json.loads(inside(first, spec, "modelward", "workers", "--json"))["workers"]
        assert workers and all(w["confinement"] and "not confined" not in w["confinement"] for w in workers)
        metrics = f"http://127.0.0.1:{panel}/metrics"
        assert (status(metrics), status(metrics, TOKEN)) == (401, 200)
        load = Load(http, 2, True, clip, BREATH_SECONDS)
        load.begin()
        eventually(lambda: load.answers)
        load.end()
        assert load.failures == []
        os.kill(first, signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
