"""Each address of the table in docs/operating.md, sent to a service that behaves as the real one.

The documented address is the one that is used: only its host leads to the fake. What the child does with a message is
done here, without the child.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import asdict
from tests.fakes import chat_services as services
from tests.fakes.certificates import server_context
from tests.fakes.receivers import Posted, Reply, fake_mail_server, fake_receiver
from tests.support import PATIENCE_SECONDS

from modelward.daemon.config.load import Alerts, parse
from modelward.daemon.errors import BadConfig
from modelward.daemon.health import smtp
from modelward.daemon.health.addresses import Address, WebhookForm, addresses, receivers
from modelward.daemon.health.http_post import NotDelivered
from modelward.daemon.health.message_text import Text
from modelward.daemon.health.sender_process import Job, deliver
from modelward.daemon.health.wording import Wording

DATA = {"severity": "critical", "status": "firing", "host": "box", "total": 1}
TEXT = Text("[critical] box: 1 firing", "CRITICAL 磁盘 <90 %> & more", "failure", DATA)
KEYWORD = Wording(keyword=services.KEYWORD)
TABLE = (Path(__file__).parents[3] / "docs/operating.md").read_text(encoding="utf-8")


def send(address: Address, wording: Wording = KEYWORD, ca_file: str = "", text: Text = TEXT) -> str:
    """Why it did not arrive; "" when it did."""
    form = address.form or WebhookForm("json", "")
    job = Job(
        address.url, address.way, asdict(wording.worded(text, address)), PATIENCE_SECONDS, ca_file,
        form.kind, form.authorization,
    )  # fmt: skip
    try:
        deliver(job)
    except NotDelivered as e:
        return str(e)
    return ""


def documented(begin: str) -> str:
    """The example in the table that begins so, with the secrets of the fakes in place of its words."""
    (example,) = [url for url in re.findall(r"`([a-z]+://[^`]+)`", TABLE) if url.startswith(begin)]
    for word, value in {"TOKEN": services.TOKEN, "SECRET": services.SECRET, "BOT": "123", "CHAT": "-100"}.items():
        example = example.replace(word, value)
    return example


def to_fake(url: str, port: int) -> str:
    """The same at the fake: `api=` for the short forms."""
    return f"{url}{'&' if '?' in url else '?'}api=http://127.0.0.1:{port}"


Service = Callable[[Posted], Reply]
SHORT: dict[str, tuple[Service, str, str]] = {
    "dingtalk://": (services.dingtalk, services.SECRET, "310000: sign not match"),
    "feishu://": (services.feishu, services.SECRET, "19021: sign match fail"),
    "wecombot://": (services.wecom, services.TOKEN, "93000: invalid webhook url"),
    "schan://": (services.serverchan, services.TOKEN, "it answered 400: it refused with code 40001"),
    "slack://": (services.slack, services.TOKEN, "it answered 404: it refused: no_service"),
    "tgram://": (services.telegram, "-100", "it answered 400: it refused with code 400: Bad Request: chat not found"),
}


@pytest.mark.parametrize("begin", list(SHORT))
def test_a_documented_address_arrives_and_a_wrong_one_says_what_the_service_said(begin: str) -> None:
    service, secret, because = SHORT[begin]
    url = documented(begin)
    with fake_receiver(service) as receiver:
        (good, bad) = addresses((to_fake(url, receiver.port), to_fake(url.replace(secret, "wr0ng"), receiver.port)))
        assert send(good) == ""
        assert because in send(bad)
    said = receiver.posts[0].raw.decode()
    assert "磁盘" in said or "%E7%A3%81" in said


def test_a_robot_that_wants_a_keyword_gets_it_and_says_so_without() -> None:
    for begin, because in (("dingtalk://", "keywords not in content"), ("feishu://", "Key Words Not Found")):
        with fake_receiver(SHORT[begin][0]) as receiver:
            (address,) = addresses((to_fake(documented(begin), receiver.port),))
            assert because in send(address, Wording())
            assert send(address, Wording(services.KEYWORD, "$severity: $title")) == ""
        assert "critical: modelward [critical] box: 1 firing" in receiver.posts[-1].json.__repr__()


RAW = {
    "https://oapi.dingtalk.com/robot/send?access_token=TOKEN&secret=SECRET": services.dingtalk,
    "https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN?secret=SECRET": services.feishu,
    "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=TOKEN": services.wecom,
    "https://sctapi.ftqq.com/TOKEN.send": services.serverchan,
    "https://hooks.slack.com/services/T00/B00/TOKEN": services.slack,
    "https://api.telegram.org/bot123:TOKEN/sendMessage?chat_id=-100": services.telegram,
}


@pytest.mark.parametrize("url", list(RAW))
def test_the_web_address_that_a_service_shows_is_taken_as_it_is_and_signed(url: str) -> None:
    (known,) = addresses((url,))
    with fake_receiver(RAW[url]) as receiver:
        here = f"http://127.0.0.1:{receiver.port}/{url.split('/', 3)[3]}"
        here = here.replace("TOKEN", services.TOKEN).replace("SECRET", services.SECRET)
        assert send(Address(here, "1", known.way)) == ""
        bare = Address(f"http://127.0.0.1:{receiver.port}/", "1", known.way)
        assert "the address is not whole" in send(bare)
    assert len(receiver.posts) == 1 and services.SECRET not in receiver.posts[0].path


def test_serverchan_gets_the_operators_template() -> None:
    with fake_receiver(services.serverchan) as receiver:
        (address,) = addresses((to_fake(documented("schan://"), receiver.port),))
        assert send(address, Wording("", "for $host")) == ""
    assert b"desp=for+box" in receiver.posts[0].raw


def test_a_message_to_slack_names_nobody_and_one_to_wecom_is_not_too_long() -> None:
    with fake_receiver(services.slack) as receiver:
        (address,) = addresses((to_fake(documented("slack://"), receiver.port),))
        assert send(address) == ""
    assert "&lt;90 %&gt; &amp; more" in receiver.posts[0].json["text"]
    (address,) = addresses(("wecombot://token",))
    long = Text("t", "磁" * 3000, "failure", DATA)
    assert len(Wording("k" * 32, "$title\n$body\n" + "x" * 4000).worded(long, address).chat.encode()) <= 2048


def test_a_gateway_for_sms_gets_the_documented_body() -> None:
    (block,) = [b for b in re.findall(r"```toml\n(.*?)```", TABLE, re.DOTALL) if "[[alerts.webhook]]" in b]
    with fake_receiver(services.sms_gateway) as receiver:
        block = block.replace("https://sms.example.org", f"http://127.0.0.1:{receiver.port}")
        config = parse(block.replace("TOKEN", services.TOKEN), "docs/operating.md")
        (gateway,) = [address for address in receivers(config.alerts) if address.form]
        assert gateway.severities == {"critical"}
        assert send(gateway) == ""
    assert b"To=%2B4915112345678&Body=modelward+%5Bcritical%5D+box%3A+1+firing" in receiver.posts[0].raw


def test_no_alert_breaks_out_of_a_body_of_json() -> None:
    evil = Text('a", "to": "me', "\n\\ \u2028 {}", "failure", DATA)
    config = parse(
        """[[alerts.webhook]]
url = "http://gateway.example/x"
body = '{"to": "ops", "text": "$title $body"}'""",
        "the test",
    )
    (address,) = receivers(config.alerts)
    with fake_receiver() as receiver:
        here = Address(f"http://127.0.0.1:{receiver.port}/", "1:webhook", "webhook", form=address.form)
        assert send(here, Wording(), text=evil) == ""
    assert receiver.posts[0].json == {"to": "ops", "text": f"{evil.title} {evil.body}"}


@pytest.mark.parametrize(
    ("begin", "port", "mode"), [("smtps://", 465, "ssl"), ("smtp://", 587, "starttls"), ("mailto://", 465, "ssl")]
)
def test_a_documented_mail_address_means_the_right_port_and_encryption(begin: str, port: int, mode: str) -> None:
    post = smtp.read(documented(begin))
    assert (post.port, post.mode) == (port, mode)
    assert post.user and post.password and post.to and "@" in post.sender


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://h:465/a@b.c", ("h", 465, "ssl")),
        ("smtp://h:587/a@b.c", ("h", 587, "starttls")),
        ("smtp://h/a@b.c", ("h", 25, "auto")),
        ("smtps://h/a@b.c", ("h", 465, "ssl")),
        ("smtps://h:587/a@b.c", ("h", 587, "starttls")),
        ("smtp://h:465/a@b.c?mode=starttls", ("h", 465, "starttls")),
        ("mailto://me:pw@qq.com", ("smtp.qq.com", 465, "ssl")),
        ("mailtos://me:pw@gmail.com", ("smtp.gmail.com", 587, "starttls")),
        ("mailto://me:pw@qq.com?smtp=relay", ("relay", 25, "auto")),
    ],
)
def test_a_port_says_how_a_mail_server_encrypts(url: str, expected: tuple[str, int, str]) -> None:
    post = smtp.read(url)
    assert (post.host, post.port, post.mode) == expected


def test_mail_goes_over_both_kinds_of_encryption_to_a_server_with_an_internal_authority(tmp_path: Path) -> None:
    context, authority = server_context(tmp_path)
    for scheme, mode, server in (
        ("smtps", "ssl", fake_mail_server(at_once=context)),
        ("smtp", "starttls", fake_mail_server(starttls=context)),
    ):
        with server as post:
            (address,) = addresses((f"{scheme}://me:pass@127.0.0.1:{post.port}/a@b.c?mode={mode}",))
            assert "no trusted connection" in send(address)
            assert "alerts.ca_file cannot be used" in send(address, ca_file=str(tmp_path / "none"))
            assert send(address, ca_file=str(authority)) == ""
        assert len(post.mails) == len(post.logins) == 1


def routed(text: str) -> dict[str, tuple[set[str], bool]]:
    found = receivers(parse(text, "the test").alerts)
    return {address.url: (set(address.severities), address.main) for address in found}


A, B, C = "http://a.example", "http://b.example", "http://c.example"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'alerts.to = ["{A}"]', {A: ({"critical", "warning"}, True)}),
        (
            f'alerts.to = ["{A}"]\nalerts.route.critical = ["{B}"]',
            {A: ({"warning"}, True), B: ({"critical"}, False)},
        ),
        (
            f'alerts.to = ["{A}"]\nalerts.route = {{critical = ["{A}", "{B}"], warning = ["{C}"]}}',
            {A: ({"critical"}, True), B: ({"critical"}, False), C: ({"warning"}, False)},
        ),
        (f'alerts.route.warning = ["{C}"]', {C: ({"warning"}, True)}),
        ("", {}),
    ],
)
def test_each_severity_goes_its_way(text: str, expected: dict[str, tuple[set[str], bool]]) -> None:
    assert routed(text) == expected


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ('template = "$secret"', "$secret is no field"),
        ('template = "costs 5$"', "a $ that begins no field"),
        (f'template = "{"x" * 5000}"', "too long"),
        ('keyword = "a\\u0000b"', "cannot be printed"),
        (f'keyword = "{"x" * 40}"', "too long"),
        (f'webhook = [{{url = "http://a", body = "x", authorization = "Bearer tok3n{"x" * 5000}"}}]', "is too long"),
        ('webhook = [{url = "http://a", body = "x", authorization = "Bearer tok3n密"}]', "no header can hold"),
        ('webhook = [{url = "http://a", body = "x", authorization = ["tok3n"]}]', "is no text"),
        ('webhook = [{url = "file:///etc/passwd", body = "x"}]', "no web address"),
        ('webhook = [{url = "http:///tok3n", body = "x"}]', "no web address"),
    ],
)
def test_wording_that_cannot_be_meant_is_a_mistake_and_no_address_is_repeated(text: str, because: str) -> None:
    with pytest.raises(BadConfig) as refused:
        parse(f"[alerts]\n{text}", "the test")
    assert because in str(refused.value) and "tok3n" not in str(refused.value) and "passwd" not in str(refused.value)
    assert Alerts() == parse("", "the test").alerts


def test_a_long_token_is_taken() -> None:
    token = f"Bearer {'x' * 3000}"
    text = f'webhook = [{{url = "http://a", body = "x", authorization = "{token}"}}]'
    (address,) = receivers(parse(f"[alerts]\n{text}", "the test").alerts)
    assert address.form is not None and address.form.authorization == token
