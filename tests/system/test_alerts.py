"""Alerts and metrics of a whole daemon: from what goes wrong to a webhook and a mail on real sockets."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.receivers import Reply, fake_mail_server, fake_receiver
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import broken_version, good_version

pytestmark = pytest.mark.system


def scrape(house: House) -> dict[tuple[str, ...], float]:
    """The daemon's metrics by name and the labels' values."""
    connection = http.client.HTTPConnection("modelward", timeout=PATIENCE_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(house.root / "run/api.sock"))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def alerts(house: House) -> dict[str, str]:
    """Each alert's name and state."""
    return {alert["name"]: alert["state"] for alert in house.api.get("/v1/alerts").data["alerts"]}


def test_a_rejected_version_reaches_a_webhook_a_robot_and_a_mailbox(build: Build) -> None:
    refusal = Reply(body=b'{"errcode": 130101, "errmsg": "too fast"}')
    with (
        fake_receiver() as hook,
        fake_receiver(refusal, Reply(body=b'{"errcode": 0}')) as robot,
        fake_mail_server() as post,
        fake_receiver() as beats,
    ):
        to = [
            f"http://127.0.0.1:{hook.port}/hook/T0kenABC",
            f"dingtalk://T0kenDEF?api=http://127.0.0.1:{robot.port}",
            f"smtp://127.0.0.1:{post.port}/ops@example.org",
            "http://127.0.0.1:9/T0kenGHI",
        ]
        beat = f"http://127.0.0.1:{beats.port}/beat/T0kenJKL"
        house = build(
            workers={"count": 1}, alerts={"to": to, "heartbeat": beat}, monitor={"interval": 1}, probe={"every": 1}
        )
        good_version(house.models, "dtmf-v1.0")
        house.start("dtmf-v1.0")
        eventually(lambda: house.api.get("/v1/status").data["probe"]["passed"] >= 2)
        eventually(lambda: beats.posts and beats.posts[-1].path == "/beat/T0kenJKL")
        broken_version(house.models, "nan_weights", "dtmf-v1.1")
        eventually(lambda: alerts(house).get("version_rejected") == "firing")
        eventually(lambda: hook.posts and len(robot.posts) >= 2 and post.mails)
        said = hook.posts[0].json
        assert "dtmf-v1.1 was rejected" in said["message"]
        assert said["title"] == f"[warning] {socket.gethostname()}: 1 firing"
        assert "dtmf-v1.1 was rejected" in robot.posts[1].json["text"]["content"]
        assert b"dtmf-v1.1 was rejected" in post.mails[0][2]
        eventually(lambda: alerts(house).get("alert_channel_failures") == "firing")
        metrics = scrape(house)
        assert metrics["modelward_alert_messages_total", "1:webhook", "delivered"] >= 1
        assert metrics["modelward_alert_messages_total", "2:dingtalk", "failed"] == 1
        assert metrics["modelward_versions", "rejected"] == 1
        assert metrics["modelward_live_version_info", "dtmf-v1.0"] == 1
        assert metrics["modelward_probes_total", "failed"] == 0
        assert house.command("alerts/ack", name="version_rejected")["success"]
        assert {entry["kind"] for entry in house.history()} >= {"alert-firing", "rejected"}
        assert len(hook.posts) == 1
    whole = "".join(path.read_text(encoding="utf-8") for path in house.log_dir.iterdir())
    whole += str(house.history()) + str(house.api.get("/v1/alerts").data)
    assert "T0ken" not in whole


def test_a_start_with_nothing_wrong_alarms_nobody(build: Build) -> None:
    house = build(workers={"count": 1}, monitor={"interval": 1})
    good_version(house.models, "dtmf-v1.0")
    house.start("dtmf-v1.0")
    assert not [entry for entry in house.history("alert-firing") if "watch" in str(entry)]


def test_a_refused_configuration_is_an_alert_until_it_is_put_right(build: Build) -> None:
    house = build(workers={"count": 1})
    house.start()
    good = house.config.read_text(encoding="utf-8")
    house.config.write_text(good + "\n[monitor]\nxyzzy = 1\n", encoding="utf-8")
    house.command("reload")
    eventually(lambda: alerts(house).get("config_refused") == "firing")
    assert scrape(house)["modelward_config_last_reload_successful",] == 0
    house.config.write_text(good, encoding="utf-8")
    house.command("reload")
    eventually(lambda: alerts(house).get("config_refused") == "resolved")
    assert scrape(house)["modelward_config_last_reload_successful",] == 1


def test_a_daemon_that_comes_back_knows_what_fired_and_what_it_told(build: Build) -> None:
    with fake_receiver() as hook:
        house = build(workers={"count": 1}, alerts={"to": [f"http://127.0.0.1:{hook.port}/x"]})
        house.start()
        # Other alerts may come as well: the machine may be busy. Nothing is served: fifteen seconds, ten for others.
        told = lambda: [post for post in hook.posts if "workers answer requests" in post.json["message"]]  # noqa: E731
        eventually(told)
        # A daemon that ends before it hears of the delivery sends the message once more.
        eventually(lambda: scrape(house).get(("modelward_alert_messages_total", "1:webhook", "delivered")))
        house.stop()
        house.start()
        assert alerts(house)["workers_ready"] == "firing"
        house.kill()
        house.start()
        assert alerts(house)["workers_ready"] == "firing"
        assert len(told()) == 1


def test_alerts_test_asks_every_receiver_now(build: Build) -> None:
    with fake_receiver() as hook:
        to = [f"http://127.0.0.1:{hook.port}/x", "http://127.0.0.1:9/y"]
        house = build(workers={"count": 1}, alerts={"to": to})
        house.start()
        answer = house.command("alerts/test")
        assert answer["message"] == "cannot reach 1 of 2 channels"
        assert [c["delivered"] for c in answer["channels"]] == [True, False]
        assert "a test message" in hook.posts[0].json["message"]


def test_the_last_hour_is_there_for_the_panel(build: Build, tmp_path: Path) -> None:
    house = build(workers={"count": 1}, monitor={"interval": 1})
    house.start()
    shown = eventually(lambda: s if len((s := house.api.get("/v1/series").data)["times"]) > 2 else None)
    assert shown is not None
    assert shown["interval_seconds"] == 1
    assert shown["series"]["cpu_used_percent"][-1] is not None
    assert all(len(column) == len(shown["times"]) for column in shown["series"].values())
