"""A command answers in the language of its environment; programs get English, and no output ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.daemon.cli.conftest import Call
from tests.daemon.cli.test_verbs import STATUS, VERSIONS, WORKER
from tests.fakes.admin import FakeAdmin
from tests.support import PATIENCE_SECONDS

from modelward.daemon.cli.columns import width
from modelward.daemon.cli.language import choose


@pytest.fixture
def in_chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    yield
    choose([], {})


def test_the_status_is_in_chinese_and_its_columns_align(ask: Call, admin: FakeAdmin, in_chinese: None) -> None:
    admin.reply("GET", "/v1/status", {**STATUS, "alerts": [{"message": "the model root is absent"}]})
    admin.reply("GET", "/v1/workers", {"workers": [{**WORKER, "state": "ready"}]})
    lines = ask("status").out.splitlines()
    assert lines[:8] == [
        "线上     asr-v1.1, 就绪",
        "worker   2 个中 2 个就绪",
        "上线     无",
        "磁盘     已用 62.5%，剩余 5GiB",
        "告警     模型根目录不存在",
        "探测     0 次通过，0 次失败",
        "配置     /etc/modelward/modelward.toml",
        "守护进程 0.1.0，进程 42，已运行 1h6m",
    ]
    header, row = lines[9:11]
    assert width(header.partition("版本")[0]) == width(row.partition("asr-v1.1")[0])


def test_names_stay_and_reasons_are_translated(ask: Call, admin: FakeAdmin, in_chinese: None) -> None:
    admin.reply("GET", "/v1/versions", {"versions": [*VERSIONS, {**VERSIONS[0], "version": "ready"}]})
    out = ask("versions").out
    assert "每项检验都通过" in out and "被拒" in out and "模型-v2" in out and "\nready " in out


def test_programs_get_english(ask: Call, admin: FakeAdmin, in_chinese: None) -> None:
    admin.reply("GET", "/v1/versions", {"versions": VERSIONS})
    assert '"every gate passed"' in ask("versions", "--json").out


def test_the_option_counts_more_than_the_environment(call: Call, in_chinese: None) -> None:
    assert call("--language", "en").err == "cannot run modelward: no command given; see modelward --help\n"
    assert call("--language=zh").err == call().err == "无法运行 modelward：没有给出命令；见 modelward --help\n"


def test_help_is_in_chinese_and_no_line_is_too_wide(
    call: Call, in_chinese: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = call("--help").out
    assert out.startswith("用法") and "列出 worker" in out
    assert all(width(line) <= 80 for line in out.splitlines())


def test_an_english_command_never_reads_the_catalogue() -> None:
    code = "import sys; from modelward.daemon.cli import main; main(['--help'])"
    code += "; sys.exit('modelward.worker.shared.catalogue.templates' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("redirection", "encoding"),
    [
        ("", "ascii"),
        (">&-", "utf-8"),
        (">&- 2>&-", "utf-8"),
        ("<&- >&- 2>&-", "utf-8"),
        (">/dev/full", "utf-8"),
        ("| true", "utf-8"),
    ],
)
def test_an_output_that_takes_no_text_causes_no_traceback(redirection: str, encoding: str) -> None:
    command = f"{sys.executable} -m modelward.daemon --help {redirection}"
    environment = {**os.environ, "LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": encoding}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, timeout=PATIENCE_SECONDS)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    if encoding == "ascii":
        assert done.stdout.startswith(b"usage:")  # a question mark for each character would help nobody


def test_the_help_of_a_fleet_is_in_chinese_to_its_last_option(call: Call, in_chinese: None) -> None:
    out = call("fleet", "--help").out
    assert "如 canary,5%,25%,100%（默认 100%）" in out and "expel NAME：收回这些权限" in out
    assert "(default" not in out and "%%" not in out
