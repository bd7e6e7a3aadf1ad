"""The panel in a real browser: what an operator sees, and what each button does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from tests.browser.conftest import Open, Page
from tests.browser.states import (
    EVIL,
    beaten,
    busy_desk,
    crowded_desk,
    moment,
    probed,
    rollout,
    worker,
)
from tests.fakes.admin_interface import RunningPanel, running_panel
from tests.support import eventually

pytestmark = pytest.mark.browser


@pytest.fixture
def panel() -> Iterator[RunningPanel]:
    with running_panel(busy_desk()) as running:
        yield running


def opened(browser: Open, panel: RunningPanel, **how: object) -> Page:
    page = browser(**how).go(f"http://127.0.0.1:{panel.port}/")
    page.reads(".connection", "connected" if how.get("lang", "en") == "en" else "已连接")
    return page


def test_shows_everything_at_a_glance(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.reads("header", "sensevoice-v1.0", "ready", "3 of 3 workers ready", "up 1d2h")
    page.reads("#alerts", "warning", "91 % of the disk under /var is used", "resolved", "mail to ops", "4 delivered")
    page.reads("#alerts", "cpu_used_percent: muted until", "a backup", "quiet hours until", "critical ones are sent")
    page.reads("#disk", "63.9%", "versions 960MiB", "compiled 480MiB")
    page.reads("#memory", "%", "workers 868MiB", "w1 288MiB")
    page.reads("#cpu", "%")
    page.reads("#service .check", "passed", "1,440 passed, 2 failed", "answered in 90ms")
    page.reads("#service .check", "en.wav: expected “hello world”, got “Hello, world.”")
    page.reads("#alerts .check", "delivered", "last delivered 10m ago", "last failure 1d1h ago: no answer within 10 s")
    page.reads("#service", "w1", "18,234", "214ms", "288MiB", "w3 (attached)", "/s")
    page.reads("#rollout", "sensevoice-v1.0 → sensevoice-v1.1", "baking", "w2 canary", "moved", "w2 swap (canary)")
    page.reads("#versions", "sensevoice-v1.1", "serving on 1", "held", "rejected", "error rate 0.42")
    page.reads("#versions", "240MiB", "1d ago")
    page.reads("#upkeep", "versions", "960MiB", "free 6GiB of 64GiB", "does not exist yet")
    page.reads("#history", "activated", "because 900")
    page.reads("#logs", "request failed", "status=500", EVIL)
    assert len(page.all("canvas")) == 5
    assert page.driver.title == "sensevoice-v1.0 · modelward"


def test_a_worker_without_answers_of_its_version_has_no_latency(panel: RunningPanel, browser: Open) -> None:
    panel.admin.registry = {"workers": [worker("w1", p95_seconds=0.0)]}
    page = opened(browser, panel)
    page.reads("#service tbody tr", "18,234", "–")


def test_names_in_a_row_are_joined_as_the_language_does_it(panel: RunningPanel, browser: Open) -> None:
    opened(browser, panel).reads("#upkeep", "of 64GiB: versions, logs")
    opened(browser, panel, lang="zh-CN").reads("#upkeep", "版本、日志")


def test_a_probe_that_fails_and_a_heartbeat_that_is_not_delivered_are_seen(panel: RunningPanel, browser: Open) -> None:
    because = "en.wav was heard as 'x', not 'hello world' (error rate 1.00, at most 0.30)"
    panel.admin.state |= {
        "probe": probed(in_a_row=3, because=because, failing_since=moment(200)),
        "heartbeat": beaten(failures=2, because="it answered 500", failed=moment(60), failed_because="it answered 500"),
    }
    page = opened(browser, panel)
    page.reads("#service .check", "failed", "failing, the first one 3m ago, 3 in a row", "error rate 1.00")
    page.reads("#alerts .check", "not delivered", "2 in a row not delivered", "it answered 500")
    panel.admin.state |= {"probe": probed(off="no clip"), "heartbeat": None}
    page.reads("#service .check", "off", "no clip")
    eventually(lambda: not page.text("#alerts .check"))
    panel.admin.state["probe"] = probed(configured=False)
    eventually(lambda: not page.text("#service .check"))


@pytest.mark.parametrize(
    ("lang", "says"),
    [
        ("en", ("is served", "Record 7 wants v2.0", "1 of 2 machines of wave 1 serves v2.0")),
        ("zh-CN", ("记录 7", "v2.0", "连接被拒绝", "1 台服务 v2.0")),
    ],
)
def test_the_fleet_is_seen_where_there_is_one(
    panel: RunningPanel, browser: Open, lang: str, says: tuple[str, ...]
) -> None:
    wave = {"wave": 1, "open": True, "serving": 1, "failed": 0, "pending": 1, "blocked": 0, "silent": 0, "late": 0}
    panel.admin.fleet_seen = {
        "server": "nats://fleet.example.org:4222", "machine": "shop-17", "wave": 1, "outcome": "judging",
        "because": "v2.0 is served" if lang == "en" else "v2.0",
        "away_seconds": 5.0, "away": "no connection to nats://fleet.example.org:4222: Connection refused",
        "record": {
            "sequence": 7, "version": "v2.0", "issued": "2026-12-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z",
            "bytes": 1 << 20, "waves": 2, "hold": False,
        },
        "rollout": {
            "state": "wait", "because": "1 of 2 machines of wave 1 serves v2.0; 1 on the way", "waves": [wave],
        },
    }  # fmt: skip
    page = opened(browser, panel, lang=lang)
    page.reads("#fleet", "shop-17", *says)
    assert len(page.all("#fleet tbody tr")) == 1
    hidden = "const box = document.querySelector('#fleet .scroll'); return box.scrollWidth - box.clientWidth"
    assert page.run(hidden) == 0
    panel.admin.fleet_seen = {"server": ""}
    eventually(lambda: not page.all("#fleet")[0].is_displayed())


def test_a_whole_log_is_saved_under_a_dated_name(panel: RunningPanel, browser: Open, tmp_path: Path) -> None:
    page = opened(browser, panel)
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.reads("#logs .log", "request failed")
    page.click("Download", "#logs")
    page.reads(".notices .good", "2026-12-01-modelward.log: the log and its 2 archives")
    saved = tmp_path / "2026-12-01-modelward.log"
    eventually(lambda: saved.exists() and saved.read_text().splitlines() == panel.admin.log_lines["modelward.log"])
    panel.admin.log_busy = True
    page.click("Download", "#logs")
    page.reads(".notices .bad", "Another log is being downloaded")


def test_shows_the_canary_before_the_other_workers(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.reads("#rollout .stages", "w2 canary")
    assert [e.text.split()[0] for e in page.all("#rollout .stage")] == ["w2", "w1", "w3"]


def test_shows_why_a_version_is_where_it_is(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.click("Details of sensevoice-v1.1", "#versions")
    text = page.reads("#versions .detail:not([hidden])", "golden", "2.3s", "no Landlock here", "ab" * 32)
    assert (
        "form exact · 31% of the processor time for clips of 5s · loads in 400ms instead of 3.6s" in text
        and "!" in text
    )
    panel.admin.registry["workers"][0]["requests"] = 20_000  # a change elsewhere leaves it open
    page.reads("#service", "20,000")
    page.reads("#versions .detail:not([hidden])", "golden")


BUTTONS = (
    ("#versions", "Activate sensevoice-v1.1", "Activate", ("activate", "sensevoice-v1.1")),
    ("#versions", "Validate sensevoice-v1.1", "Validate", ("validate", "sensevoice-v1.1")),
    ("#versions", "Judge again: sensevoice-v1.2", "Judge again", ("validate", "sensevoice-v1.2")),
    ("#versions", "Hold sensevoice-v1.1", "Hold", ("hold", "sensevoice-v1.1")),
    ("#versions", "Release sensevoice-v0.9", "Release", ("release", "sensevoice-v0.9")),
    ("#versions", "Delete sensevoice-v1.1", "Delete", ("delete", "sensevoice-v1.1")),
    ("#versions", "Roll back", "Roll back", ("rollback", "")),
    ("#service", "Restart w1", "Restart", ("restart", "w1")),
    ("#service", "Restart workers", "Restart workers", ("restart", "")),
    ("#service", "Reload configuration", "Reload configuration", ("reload", "")),
    ("#service", "Look again", "Look again", ("rescan", "")),
    ("#alerts", "Test alerts", "Send", ("test alerts", "")),
    ("#alerts", "Mute all", "Mute", ("mute", "all")),
    ("#alerts", "Mute disk_used_percent:/var", "Mute", ("mute", "disk_used_percent:/var")),
    ("#alerts", "Acknowledge disk_used_percent:/var", "Acknowledge", ("acknowledge", "disk_used_percent:/var")),
    ("#alerts .mutes", "Unmute", "Unmute", ("unmute", "cpu_used_percent")),
)  # fmt: skip
"""Where each one is, what it is called, which button agrees, and what is asked of the daemon then."""


def test_each_button_asks_then_does_then_says_how_it_ended(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    for number, (within, label, sure, asked) in enumerate(BUTTONS):
        page.click(label, within)
        page.click("Cancel", "dialog")
        eventually(lambda: not page.all("dialog"))
        assert len(panel.admin.requests) == number, label
        page.click(label, within)
        page.click(sure, "dialog")
        page.reads(".notices", f"{asked[0]} done")
        assert panel.admin.requests[number:] == [asked], label
        page.click("Put this away", ".notices")
        eventually(lambda: not page.text(".notices"))


def test_a_refusal_is_shown_in_the_daemons_words(panel: RunningPanel, browser: Open) -> None:
    panel.admin.shown["versions"][1]["version"] = "no-such"
    page = opened(browser, panel)
    page.expect_console("409")
    page.click("Activate no-such", "#versions")
    page.click("Activate", "dialog")
    page.reads(".notices .bad", "cannot activate no-such: there is none")


def test_a_sweep_shows_what_it_would_remove_before_it_may(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.click("Sweep…", "#upkeep")
    page.reads("dialog", "2 files, 3MiB", "/var/lib/modelward/uploads/a.wav", "older than 24 h", EVIL)
    assert panel.admin.requests == [("sweep", True)]
    page.click("Cancel", "dialog")
    page.click("Sweep…", "#upkeep")
    page.click("Remove these", "dialog")
    page.reads(".notices .good", "2 files removed, 3MiB")
    assert panel.admin.requests == [("sweep", True), ("sweep", True), ("sweep", False)]


def test_a_sweep_with_nothing_to_remove_cannot_be_agreed_to(panel: RunningPanel, browser: Open) -> None:
    panel.admin.swept = {"removed": {"files": 0, "bytes": 0}, "classes": [], "listed": [], "trouble": []}
    page = opened(browser, panel)
    page.click("Sweep…", "#upkeep")
    page.reads("dialog", "0 files")
    assert [b.text for b in page.all("dialog button")] == ["Close"]


@pytest.mark.parametrize(("label", "force"), [("Rotate logs…", False), ("Rotate now…", True)])
def test_a_rotation_shows_its_steps_first(panel: RunningPanel, browser: Open, label: str, force: bool) -> None:
    page = opened(browser, panel)
    page.click(label, "#upkeep")
    page.reads("dialog", "rotate", "access.log.20261122", "larger than 100 MiB", "1 left as they are")
    page.click("Rotate these", "dialog")
    page.reads(".notices .good", "Steps done: 1")
    assert panel.admin.requests == [("rotate", (True, force)), ("rotate", (False, force))]


def test_what_changes_is_shown_without_a_click(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.reads("#rollout", "baking")
    panel.admin.newest = rollout(
        state="done", decided=True, succeeded=True, because="serving sensevoice-v1.1",
        workers=[{"name": n, "state": "moved"} for n in ("w1", "w2", "w3")],
    )  # fmt: skip
    panel.admin.state["live"] = "sensevoice-v1.1"
    page.reads("#rollout", "done", "serving sensevoice-v1.1")
    page.reads("header", "sensevoice-v1.1")
    panel.admin.lines.insert(0, panel.admin.lines[0] | {"id": 901, "because": "because 901", "time": moment(0)})
    panel.tell("history", {})
    page.reads("#history li", "because 901")
    next_time = datetime.fromisoformat(panel.admin.hour["times"][-1]) + timedelta(seconds=10)
    panel.tell("sample", {"time": next_time.isoformat(), "row": {"cpu_used_percent": 77.7}})
    page.reads("#cpu", "77.7%")
    panel.admin.shown["versions"][1] |= {"state": "validating", "verdict": None}
    panel.tell("gate", {"version": "sensevoice-v1.1", "gate": "probe"})
    page.reads("#versions", "being judged: probe")


def test_says_when_the_daemon_is_gone_and_comes_back_with_it(browser: Open) -> None:
    with running_panel(busy_desk()) as first:
        port = first.port
        page = opened(browser, first)
    page.expect_console("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
    page.reads(".connection", "connection lost")
    admin = busy_desk()
    admin.state["live"] = "after-the-restart"
    with running_panel(admin, listen=f"127.0.0.1:{port}"):
        page.reads("header", "after-the-restart", "connected")
        page.go("about:blank")


def test_log_text_is_text_and_searched_as_it_is_typed(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.reads("#logs .log", EVIL)
    assert "owned" not in page.driver.title
    assert not page.all("#logs img") and not page.all("#logs .log script")
    search = page.one("#logs input[type=search]")
    search.send_keys("REQUEST FAILED")
    page.reads("#logs", "1 of 3 lines")
    assert page.text("#logs mark") == "request failed"
    search.send_keys(Keys.ESCAPE)
    eventually(lambda: len(page.all("#logs .log li")) == 3)


def test_a_log_is_followed_and_another_chosen(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.reads("#logs .log", "request failed")
    page.run("document.getElementById('logs').scrollIntoView({behavior: 'instant'})")
    panel.admin.log_lines["modelward.log"].append("a new line")
    page.reads("#logs .log", "a new line")
    page.one("#logs select").send_keys("access")
    page.reads("#logs .log", "GET / 200")


def test_older_history_is_fetched_and_filtered(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.reads("#history", "because 900")
    assert len(page.all("#history li")) == 50
    page.click("Older", "#history")
    eventually(lambda: len(page.all("#history li")) == 150)
    page.one("#history input").send_keys("because 791")
    eventually(lambda: len(page.all("#history li")) == 1)


def test_asks_for_the_token_before_it_shows_anything(browser: Open, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("good-token\n", encoding="utf-8")
    with running_panel(busy_desk(), listen="0.0.0.0:0", token_file=str(tokens)) as guarded:
        page = browser().go(f"http://127.0.0.1:{guarded.port}/")
        page.expect_console("401")
        page.one("#token").send_keys("wrong" + Keys.ENTER)
        page.reads(".problem", "this token is not known")
        assert not page.all("#versions") and page.accessibility() == []
        page.one("#token").send_keys("good-token" + Keys.ENTER)
        page.reads("#versions", "sensevoice-v1.1")
        page.click("Log out")
        page.one("#token")
        assert not page.all("#versions")


@pytest.mark.parametrize(("lang", "says"), [("en", "Run modelward panel on"), ("zh-CN", "运行 modelward panel：")])
def test_a_link_logs_one_browser_in_and_the_login_says_how_to_get_one(browser: Open, lang: str, says: str) -> None:
    with running_panel(busy_desk(), operator=lambda uid: False) as panel:
        page = browser(lang=lang).go(f"http://127.0.0.1:{panel.port}/")
        page.expect_console("401")
        page.reads("#token-help", says)
        assert page.accessibility() == []
        link = panel.link()
        page.go(link)  # the page is open already: only what stands behind the # changes
        page.reads("#versions", "sensevoice-v1.1")
        assert page.run("return location.href") == f"http://127.0.0.1:{panel.port}/"
        page.click("Hold sensevoice-v1.1" if lang == "en" else "搁置 sensevoice-v1.1", "#versions")
        page.click("Hold" if lang == "en" else "搁置", "dialog")
        page.reads(".notices", "hold done")
        page.click("Log out" if lang == "en" else "退出登录")
        page.one("#token")
        page.go("about:blank").go(link)
        page.reads(".problem", "modelward panel")
        assert not page.all("#versions")


def test_an_operator_of_this_machine_is_asked_for_nothing(browser: Open) -> None:
    with running_panel(busy_desk()) as panel:
        page = opened(browser, panel)
        page.reads("#versions", "sensevoice-v1.1")
        assert not [e for e in page.all("header button") if e.is_displayed()]


def test_lines_that_did_not_fit_are_not_missed_in_silence(panel: RunningPanel, browser: Open) -> None:
    panel.admin.log_truncated = True
    page = opened(browser, panel)
    page.reads("#logs", "What does not fit into one answer is left out")


def test_speaks_chinese_to_a_chinese_browser(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel, lang="zh-CN")
    page.reads("#service", "worker", "就绪", "重启")
    page.reads("#versions", "通过", "被拒", "激活", "回滚")
    page.reads("#rollout", "先试")
    assert page.run("return document.documentElement.lang") == "zh-CN"
    english = re.findall(r"\b(?:[a-z]+\.)+[a-z_]+\b", page.text("main"))
    assert [w for w in english if w.split(".")[0] in ("versions", "workers", "service", "logs", "history")] == []


@pytest.mark.parametrize(
    "how",
    [{}, {"dark": True}, {"size": (390, 844)}, {"lang": "zh-CN"}],
    ids=["light", "dark", "narrow", "chinese"],
)
def test_is_accessible(panel: RunningPanel, browser: Open, how: dict[str, object]) -> None:
    page = opened(browser, panel, **how)
    page.one("#history li")
    page.one("#logs .log li")
    for button in page.all("#versions .expander")[:2]:
        page.run("arguments[0].click()", button)
    assert page.accessibility() == []
    page.run("document.querySelector('#versions .tools button').click()")
    page.one("dialog")
    assert page.accessibility() == []


def test_nothing_needs_more_than_a_narrow_screen(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel, size=(360, 780))
    page.one("#logs .log li")
    assert page.run("return document.documentElement.scrollWidth") <= 360


def test_everything_can_be_done_with_the_keyboard(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.button("Roll back", "#versions")
    body = page.one("body")
    body.send_keys(Keys.TAB)
    assert page.run("return document.activeElement.className") == "skip"
    for _ in range(200):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        if page.run("return document.activeElement.textContent") == "Roll back":
            break
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.one("dialog")
    assert page.run("return document.activeElement.closest('dialog') !== null")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    eventually(lambda: not page.all("dialog"))
    assert panel.admin.requests == []
    assert page.run("return document.activeElement.textContent") == "Roll back"


def test_asks_nobody_but_the_daemon(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    page.one("#logs .log li")
    asked = page.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked and all(url.startswith(f"http://127.0.0.1:{panel.port}/") for url in asked)


def test_the_charts_go_back_as_far_as_was_chosen_and_the_choice_stays(panel: RunningPanel, browser: Open) -> None:
    page = opened(browser, panel)
    assert choose(page, "Charts go back", "7d") == "1h"
    page.go(f"http://127.0.0.1:{panel.port}/")
    assert (
        eventually(lambda: page.run("return document.querySelector('[aria-label=\"Charts go back\"]')?.value")) == "7d"
    )
    page.reads("#service", "sensevoice-v1.0", "94,311", "41 (0%)", "90ms", "220ms")


def choose(page: Page, label: str, value: str) -> str:
    """Chooses in a list as a user does; what was chosen before."""
    found = page.one(f"[aria-label='{label}']")
    before = page.run("return arguments[0].value", found)
    page.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))", found, value)
    return str(before)


def test_language_and_colours_are_chosen_on_the_page_whatever_the_browser_has(
    panel: RunningPanel, browser: Open
) -> None:
    page = opened(browser, panel)
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    choose(page, "Colours", "dark")
    assert page.run(ground) != light
    choose(page, "Language", "zh")
    page.reads("#versions", "激活")
    assert page.run(ground) != light and page.run("return document.documentElement.lang") == "zh-CN"


def test_a_directory_is_uploaded_and_one_that_stopped_goes_on(
    panel: RunningPanel, browser: Open, tmp_path: Path
) -> None:
    new = tmp_path / "sensevoice-v3.0"
    (new / "golden").mkdir(parents=True)
    (new / "model.onnx").write_bytes(b"m" * 3000)
    (new / "golden/a.txt").write_bytes(b"text")
    page = opened(browser, panel)
    page.click("Upload…", "#versions")
    page.one("#upload-directory").send_keys(str(new))
    eventually(lambda: page.one("#upload-name").get_attribute("value") == "sensevoice-v3.0")
    page.click("Upload", "dialog")
    page.reads(".notices .good", "finish upload done")
    assert panel.admin.requests == [
        ("begin upload", ("sensevoice-v3.0", "directory")),
        ("finish upload", "sensevoice-v3.0"),
    ]
    files = [
        {"path": "model.onnx", "bytes": 3000, "received": 1000},
        {"path": "golden/a.txt", "bytes": 4, "received": 0},
    ]
    panel.admin.sent["b" * 16] = {
        "id": "b" * 16, "version": "sensevoice-v3.1", "kind": "directory", "bytes": 3004, "received": 1000,
        "files": files, "touched": "2026-12-01T00:00:00.000Z",
    }  # fmt: skip
    page.go(f"http://127.0.0.1:{panel.port}/")
    page.reads("#versions .uploads", "sensevoice-v3.1", "33.3%")
    page.click("Go on: sensevoice-v3.1", "#versions")
    page.one("#upload-directory").send_keys(str(new))
    page.click("Go on", "dialog")
    page.reads(".notices .good", "finish upload done")
    assert [file["received"] for file in files] == [3000, 4]


def test_what_cannot_work_has_no_button(panel: RunningPanel, browser: Open) -> None:
    panel.admin.state |= {"previous": ""}
    panel.admin.newest |= {"decided": True}
    panel.admin.shown["versions"][0]["must_stay"] = "live"
    page = opened(browser, panel)
    page.reads("#versions", "sensevoice-v1.0")
    labels = page.run("return [...document.querySelectorAll('#versions button')].filter(b => b.offsetParent)"
                      ".map(b => b.getAttribute('aria-label') ?? b.textContent)")  # fmt: skip
    assert "Roll back" not in labels and "Delete sensevoice-v1.0" not in labels and "Delete sensevoice-v0.9" in labels


def test_no_version_is_sent_to_a_model_root_in_which_nothing_can_be_written(panel: RunningPanel, browser: Open) -> None:
    panel.admin.read_only = "cannot write in /models: Read-only file system"
    page = opened(browser, panel)
    page.reads("#versions", "sensevoice-v1.0")
    shown = (
        "return [...document.querySelectorAll('#versions button')].filter(b => b.offsetParent).map(b => b.textContent)"
    )
    eventually(lambda: "Upload…" not in page.run(shown))


def test_two_hundred_versions_and_a_thousand_lines_are_accessible_and_folded(browser: Open) -> None:
    with running_panel(crowded_desk()) as crowded:
        page = opened(browser, crowded)
        page.reads("#versions", "more rejected versions", "more versions")
        assert len(page.all("#versions tbody")) < 60 and len(page.all("#alerts .alerts li")) < 10
        for lines in range(150, 1050, 100):
            page.run("document.querySelector('#history button').click()")
            eventually(lambda lines=lines: page.run("return document.querySelectorAll('#history li').length") >= lines)
        for width in (1280, 768, 390):
            browser(size=(width, 900))
            assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.accessibility() == []  # of the narrow page: see test_is_accessible
