"""The admin API gives its sentences in the language that a client requests, and names and states as they are."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator

import pytest
from tests.fakes.admin_interface import RunningPanel, running_panel
from tests.support import PATIENCE_SECONDS

from modelward.daemon.api.language import translated_json

MARK = {"X_Modelward": "1"}
ALARM = {"name": "root_absent", "state": "firing", "message": "the model root is absent"}


@pytest.fixture(scope="module")
def panel() -> Iterator[RunningPanel]:
    with running_panel() as running:
        running.admin.alarms = {"alerts": [ALARM], "channels": []}
        running.admin.state = {**running.admin.state, "alerts": [ALARM]}
        yield running


def test_a_program_gets_english(panel: RunningPanel) -> None:
    assert panel.ask("GET", "/v1/alerts").json["alerts"][0]["message"] == "the model root is absent"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"Accept_Language": "zh-CN,zh;q=0.9"}),
        ("?language=zh", {"Accept_Language": "en"}),
        ("?language=en" + "&a=b" * 20, {"Accept_Language": "zh"}),  # too many fields: not read
    ],
)
def test_a_chinese_client_gets_chinese_sentences(panel: RunningPanel, query: str, headers: dict[str, str]) -> None:
    answer = panel.ask("GET", f"/v1/alerts{query}", None, **headers)
    alarm = answer.json["alerts"][0]
    assert (alarm["name"], alarm["state"], alarm["message"]) == ("root_absent", "firing", "模型根目录不存在")
    assert answer.headers["content-language"] == "zh-CN"


def test_a_reason_that_is_no_unicode_costs_no_answer() -> None:
    assert json.loads(translated_json(b'{"because": "cannot read \\udc80: it is empty"}'))["because"].startswith(
        "cannot"
    )


def test_a_refusal_is_in_chinese_too(panel: RunningPanel) -> None:
    answer = panel.ask("POST", "/v1/hold?language=zh", {}, **MARK)
    assert answer.json["error"]["message"] == "无法执行：请求正文必须是 JSON 对象，其中 'version' 是文本"
    assert (
        panel.ask("POST", "/v1/hold?language=zh", None).json["error"]["message"] == "无法更改：缺少请求头 X-Modelward"
    )


def test_the_feed_of_a_chinese_page_is_in_chinese_and_that_of_another_in_english(panel: RunningPanel) -> None:
    for query, words in (("?language=zh", "模型根目录不存在"), ("", "the model root is absent")):
        viewer = http.client.HTTPConnection("127.0.0.1", panel.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(viewer):
            viewer.request("GET", f"/live{query}")
            lines = (line.decode() for line in viewer.getresponse())
            data = next(line for line in lines if line.startswith("data: ") and "root_absent" in line)
        assert words in data and json.loads(data.removeprefix("data: "))["status"]["live"] == "v1"
