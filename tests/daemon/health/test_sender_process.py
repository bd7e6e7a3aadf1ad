"""One message to one receiver, through the real child, to real servers that behave as servers do."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import importlib.util
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace
from tests.fakes.receivers import Reply, fake_mail_server, fake_receiver
from tests.support import PATIENCE_SECONDS

from modelward.daemon.health import delivery
from modelward.daemon.health.addresses import Address, addresses
from modelward.daemon.health.delivery import Outcome, send_in_child
from modelward.daemon.health.message_text import Text

TEXT = Text("[critical] box: 1 firing", "磁盘 is full\n… and 2 more", "failure", {"status": "firing", "alerts": []})
OK = json.dumps({"errcode": 0, "errmsg": "ok"}).encode()


def send(url: str, text: Text = TEXT, seconds: float = PATIENCE_SECONDS) -> Outcome:
    (address,) = addresses((url,))
    return asyncio.run(send_in_child(address, text, seconds))


def test_a_webhook_gets_json_that_people_and_programs_can_read() -> None:
    with fake_receiver() as receiver:
        assert send(f"http://user:p%40ss@127.0.0.1:{receiver.port}/hook/S3cret?q=1") == Outcome()
    (post,) = receiver.posts
    assert post.path == "/hook/S3cret?q=1"
    assert post.headers["Authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert post.json["title"] == TEXT.title
    assert post.json["message"] == TEXT.body
    assert post.json["type"] == "failure"
    assert post.json["status"] == "firing"


@pytest.mark.parametrize("scheme", ["http", "json", "JSON"])
def test_a_webhook_may_be_written_as_apprise_does(scheme: str) -> None:
    with fake_receiver() as receiver:
        assert send(f"{scheme}://127.0.0.1:{receiver.port}").delivered
    assert receiver.posts[0].path == "/"


@pytest.mark.parametrize(
    ("reply", "because"),
    [
        (Reply(500), "it answered 500"),
        (Reply(404), "it answered 404"),
        (Reply(302, headers=(("Location", "http://127.0.0.1:1/elsewhere"),)), "it answered 302"),
        (Reply(200, b"<!DOCTYPE html><html>log in</html>"), "a web page; a proxy or a wrong address?"),
        (Reply(manner="rst"), "no connection: Connection reset by peer"),
    ],
)
def test_what_did_not_arrive_is_said_with_its_cause(reply: Reply, because: str) -> None:
    with fake_receiver(reply) as receiver:
        outcome = send(f"http://127.0.0.1:{receiver.port}/topsecret")
        assert because in outcome.because
    assert len(receiver.posts) == 1


def test_nobody_there_and_no_such_name_are_failures() -> None:
    assert "Connection refused" in send("http://127.0.0.1:9/x").because
    assert not send("https://no-such-host.invalid/x").delivered


@pytest.mark.parametrize(("given", "seconds"), [("17", 17.0), ("999999", 3600.0), ("soon", 0.0), ("", 0.0)])
def test_passes_on_when_the_receiver_wants_to_be_asked_again(given: str, seconds: float) -> None:
    with fake_receiver(Reply(429, headers=(("Retry-After", given),))) as receiver:
        outcome = send(f"http://127.0.0.1:{receiver.port}/x")
    assert outcome == Outcome("it answered 429", seconds)


@pytest.mark.parametrize("manner", ["hang", "drip"])
def test_a_receiver_that_never_finishes_is_given_up(manner: str) -> None:
    with fake_receiver(Reply(manner=manner)) as receiver:
        assert send(f"http://127.0.0.1:{receiver.port}/x", seconds=0.7).because == "no answer within 0.7 s"


ROBOTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "dingtalk://SEC7et@T0kenABC/13800000000": (
        "/robot/send",
        {"errcode": 0, "errmsg": "ok"},
        {"errcode": 130101, "errmsg": "send too fast"},
    ),
    "feishu://SEC7et@T0kenABC": (
        "/open-apis/bot/v2/hook/T0kenABC",
        {"code": 0, "msg": "ok"},
        {"code": 11232, "msg": "limit"},
    ),
    "lark://T0kenABC": (
        "/open-apis/bot/v2/hook/T0kenABC",
        {"StatusCode": 0},
        {"code": 19021, "msg": "sign match fail"},
    ),
    "wecombot://T0kenABC": ("/cgi-bin/webhook/send", {"errcode": 0}, {"errcode": 45009, "errmsg": "api freq"}),
    "schan://T0kenABC": ("/T0kenABC.send", {"code": 0, "message": ""}, {"code": 40001, "message": "bad pushkey"}),
}


@pytest.mark.parametrize("url", list(ROBOTS))
def test_a_robot_that_answers_200_with_an_error_code_did_not_take_it(url: str) -> None:
    path, good, bad = ROBOTS[url]
    with fake_receiver(Reply(body=json.dumps(bad).encode()), Reply(body=json.dumps(good).encode())) as receiver:
        at = f"{url}?api=http://127.0.0.1:{receiver.port}"
        outcome = send(at)
        assert f"it refused with code {next(iter(bad.values()))}" in outcome.because
        assert send(at) == Outcome()
    assert {urlsplit(post.path).path for post in receiver.posts} == {path}
    said = receiver.posts[1].raw.decode()
    text = parse_qs(said)["desp"][0] if "schan" in url else said
    assert "磁盘 is full" in text
    if "SEC7et" in url:
        assert "sign" in said + receiver.posts[1].path
        assert "SEC7et" not in said + receiver.posts[1].path


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"ok": true}', b'{"errcode": "0"}', b'{"errcode": false}'])
def test_a_robot_whose_answer_says_nothing_did_not_take_it(answer: bytes) -> None:
    with fake_receiver(Reply(body=answer)) as receiver:
        assert not send(f"dingtalk://token?api=http://127.0.0.1:{receiver.port}").delivered


def test_a_robots_own_web_address_is_known_by_its_host() -> None:
    ways = {
        "https://oapi.dingtalk.com/robot/send?access_token=x": "dingtalk",
        "https://open.feishu.cn/open-apis/bot/v2/hook/x": "feishu",
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x": "wecom",
        "https://sctapi.ftqq.com/x.send": "serverchan",
        "https://hooks.example.org/x": "webhook",
        "https://hooks.slack.com/services/T/B/x": "slack",
        "https://api.telegram.org/botx/sendMessage?chat_id=1": "telegram",
        "tgram://x/y": "telegram",
        "slack://T/B/x": "slack",
        "slack://xoxb-1234-1234-4ddbc/#general": "apprise",
        "discord://x/y": "apprise",
    }
    assert [a.way for a in addresses(tuple(ways))] == list(ways.values())


def test_a_mail_arrives_with_its_words_and_its_receivers() -> None:
    with fake_mail_server() as server:
        url = f"smtp://me%40example.org:pass@127.0.0.1:{server.port}/a@example.org/b@example.org?from=ward@example.org"
        assert send(url) == Outcome()
    ((sender, to, raw),) = server.mails
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert (sender, to) == ("ward@example.org", ["a@example.org", "b@example.org"])
    assert mail["Subject"] == TEXT.title
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().splitlines() == TEXT.body.splitlines()
    assert len(server.logins) == 1


def test_a_mail_that_a_receiver_did_not_get_counts_as_failed() -> None:
    with fake_mail_server() as server:
        server.refuses = {"b@example.org"}
        url = f"smtp://127.0.0.1:{server.port}/a@example.org/b@example.org"
        assert send(url).because == "1 of 2 receivers were refused"
        server.refuses |= {"a@example.org"}
        assert send(url).because == "every receiver was refused"


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("smtp://127.0.0.1:9/a@b.c", "no connection: Connection refused"),
        ("smtp://example.org", "names no server, no receiver"),
        ("smtps://127.0.0.1:9/a@b.c?mode=magic", "an unknown mode"),
        ("schan://", "the address holds no token"),
        ("dingtalk://tok?api=ftp://x", "api= is no web address"),
    ],
)
def test_an_address_that_cannot_work_says_why(url: str, because: str) -> None:
    assert because in send(url).because


def test_a_mail_server_without_encryption_is_refused_when_it_is_asked_for() -> None:
    with fake_mail_server() as server:
        outcome = send(f"smtp://127.0.0.1:{server.port}/a@b.c?mode=starttls")
    assert outcome.because == "the mail server offers no encryption"


@pytest.mark.skipif(importlib.util.find_spec("apprise") is None, reason="apprise is not installed")
def test_everything_else_goes_through_apprise() -> None:
    with fake_receiver() as receiver:
        assert send(f"form://127.0.0.1:{receiver.port}/path") == Outcome()
        assert "磁盘" in receiver.posts[0].raw.decode() or b"%" in receiver.posts[0].raw
        assert "does not know" in send("nosuchservice://token").because
    with fake_mail_server() as server:
        assert send(
            f"mailto://me:pass@127.0.0.1:{server.port}?to=a@example.org&from=b@example.org&mode=insecure"
        ).delivered
    assert server.mails[0][1] == ["a@example.org"]


def test_no_part_of_an_address_comes_out_again() -> None:
    """Whatever goes wrong: not in what is said, not in a label, not in what is printed of an address."""
    secrets = ("hunter2", "T0kenABC", "alice")
    for url in (
        "http://alice:hunter2@127.0.0.1:9/T0kenABC",
        "smtp://alice:hunter2@127.0.0.1:9/T0kenABC@x.y",
        "dingtalk://hunter2@T0kenABC?api=http://127.0.0.1:9/alice",
        "nosuch://alice:hunter2@T0kenABC",
    ):
        (address,) = addresses((url,))
        shown = f"{send(url).because} {address.label} {address!r}"
        assert not [secret for secret in secrets if secret in shown], shown


def test_the_address_is_not_in_the_childs_command_line_nor_its_environment() -> None:
    seen: list[bytes] = []

    async def run(port: int) -> None:
        (address,) = addresses((f"http://127.0.0.1:{port}/T0kenABC",))
        task = asyncio.create_task(send_in_child(address, TEXT))
        while not task.done():
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    line = (entry / "cmdline").read_bytes()
                    if b"health.send" in line:
                        seen.append(line + (entry / "environ").read_bytes())
                except OSError:
                    continue
            await asyncio.sleep(0.01)

    with fake_receiver() as receiver:
        asyncio.run(run(receiver.port))
    assert seen
    assert not any(b"T0kenABC" in line for line in seen)


def test_a_child_that_says_nonsense_is_a_failure() -> None:
    address = Address("http://x", "1:webhook", "webhook")
    assert not delivery._outcome(b"", 1, address.url).delivered
    assert not delivery._outcome(b"{}", 0, address.url).delivered
    assert not delivery._outcome(b'{"delivered": "yes", "because": "", "retry_after": 0}', 0, address.url).delivered
    assert (
        "…"
        in delivery._outcome(
            b'{"delivered": false, "because": "http://tok", "retry_after": 0}', 0, "http://tok"
        ).because
    )


def test_the_longest_message_fits_through() -> None:
    text = replace(TEXT, body="磁" * 6000, data={"alerts": ["x" * 6000]})
    with fake_receiver() as receiver:
        assert send(f"http://127.0.0.1:{receiver.port}/x", text).delivered
