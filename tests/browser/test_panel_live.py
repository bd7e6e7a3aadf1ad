"""The panel of a whole daemon in a real browser: what an operator does there really happens, and is seen to."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator

import pytest
from tests.browser.conftest import Open, Page
from tests.house import House, free_port
from tests.support import eventually
from tests.versions import good_version

pytestmark = [pytest.mark.browser, pytest.mark.system]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    port = free_port()
    rollout = {"bake": 2, "max_latency_ratio": 1000.0}
    house = House(tmp_path_factory.mktemp("live"), {"panel": {"listen": f"127.0.0.1:{port}"}, "rollout": rollout})
    try:
        good_version(house.models, "dtmf-v1.0")
        house.start()
        yield house, f"http://127.0.0.1:{port}/"
    finally:
        house.close()


@pytest.fixture
def running(shared: tuple[House, str]) -> tuple[House, str]:
    """A house with two workers on dtmf-v1.0, which is alone, and the address of its panel."""
    house, _ = shared
    if not house.answers():
        house.start()
    house.configure()
    house.command("reload")
    house.await_state("dtmf-v1.0", "accepted")
    if house.status()["live"] != "dtmf-v1.0":
        house.command("activate", version="dtmf-v1.0")
    for version in set(house.versions()) - {"dtmf-v1.0"}:
        shutil.rmtree(house.models / version)
    eventually(lambda: list(house.versions()) == ["dtmf-v1.0"])
    house.await_serving("dtmf-v1.0")
    return shared


def stages(page: Page) -> list[str]:
    return [line for e in page.all("#rollout .stage") if (line := " ".join(e.text.split()))]


def test_a_rollout_is_seen_as_it_happens_and_taken_back_from_the_page(
    running: tuple[House, str], browser: Open
) -> None:
    house, url = running
    page = browser().go(url)
    page.reads("header", "dtmf-v1.0", "2 of 2 workers ready", "connected")
    with house.load(2) as load:
        good_version(house.models, "dtmf-v1.1", words=True)
        page.reads("#versions", "dtmf-v1.1")
        other = max(house.workers(), key=lambda w: str(w["name"]))["pid"]
        os.kill(other, signal.SIGSTOP)  # the rollout stands between its two workers until the page was read
        try:
            page.reads("#rollout .headline", "dtmf-v1.0 → dtmf-v1.1")
            eventually(lambda: [s.split()[-1] for s in stages(page)][:1] == ["moved"])
            assert "canary moved" in stages(page)[0]
            assert "moved" not in stages(page)[1]
        finally:
            os.kill(other, signal.SIGCONT)
        page.reads("#rollout", "done", "serving dtmf-v1.1", "current -> dtmf-v1.1")
        page.reads("header", "dtmf-v1.1")
        page.reads("#history", "activated", "dtmf-v1.1")
        house.await_serving("dtmf-v1.1")

        page.click("Roll back", "#versions")
        page.reads("dialog", "dtmf-v1.1 is held")
        page.click("Roll back", "dialog")
        page.reads(".notices .good", "dtmf-v1.0")
        house.await_serving("dtmf-v1.0")
        page.reads("#versions", "held")
        page.click("Release dtmf-v1.1", "#versions")
        page.click("Release", "dialog")
        page.reads("header", "dtmf-v1.1")
    assert load.failures == [] and load.mixed == []


def test_workers_versions_logs_and_upkeep_answer_to_their_buttons(running: tuple[House, str], browser: Open) -> None:
    house, url = running
    page = browser().go(url)
    pids = {w["pid"] for w in house.workers()}
    page.reads("#service", *(str(pid) for pid in pids))
    page.click("Restart workers", "#service")
    page.click("Restart workers", "dialog")
    page.reads(".notices .good", "replaced")
    assert not pids & {w["pid"] for w in house.workers()}

    page.click("Validate dtmf-v1.0", "#versions")
    page.click("Validate", "dialog")
    page.reads(".notices", "dtmf-v1.0 is accepted")
    page.click("Details of dtmf-v1.0", "#versions")
    page.reads("#versions .detail", "golden", "layout", "error rate 0.00")

    page.click("Reload configuration", "#service")
    page.click("Reload configuration", "dialog")
    page.reads(".notices", "nothing changed")
    page.click("Look again", "#service")
    page.click("Look again", "dialog")
    page.reads(".notices", "serving dtmf-v1.0")

    page.reads("#logs .log", "activated" if "activated" in page.text("#logs .log") else "dtmf-v1.0")
    page.reads("#upkeep", "versions", "logs")
    page.click("Sweep…", "#upkeep")
    page.reads("dialog", "This would remove 0 files")
    page.click("Close", "dialog")
    page.click("Rotate now…", "#upkeep")
    page.reads("dialog", "modelward.log")
    page.click("Rotate these", "dialog")
    page.reads(".notices", "Steps done")
    eventually(lambda: len(list(house.log_dir.glob("modelward.log?*"))) > 0 or len(list(house.log_dir.iterdir())) > 4)


def test_a_refused_version_is_shown_with_its_reason(running: tuple[House, str], browser: Open) -> None:
    house, url = running
    page = browser().go(url)
    broken = house.models / "dtmf-v1.2"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"no model at all")
    page.reads("#versions", "dtmf-v1.2", "rejected")
    page.reads("#history", "rejected", "dtmf-v1.2")
    page.expect_console("409")
    page.click("Activate dtmf-v1.2", "#versions")
    page.click("Activate", "dialog")
    page.reads(".notices .bad", "cannot activate dtmf-v1.2", "still serving dtmf-v1.0")
    page.reads("header", "dtmf-v1.0")


def test_what_is_configured_and_does_not_hold_yet_is_shown(running: tuple[House, str], browser: Open) -> None:
    house, url = running
    page = browser().go(url)
    page.reads("header", "2 of 2 workers ready")
    elsewhere = {"cache_dir": str(house.root / "other-cache")}
    house.configure(control={**{k: str(house.root / v) for k, v in CONTROL.items()}, **elsewhere})
    house.command("reload")
    page.reads("#service", "Does not hold yet", "control.cache_dir waits for a new daemon: ")
    house.configure()
    house.command("reload")
    eventually(lambda: "control.cache_dir" not in page.all("#service")[0].text)


GONE = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_SOCKET_NOT_CONNECTED",
)
AS_OF = {"en": r"as of \d\d:\d\d:\d\d", "zh-CN": r"截至 \d\d:\d\d:\d\d"}


def is_stale(page: Page, lang: str) -> bool:
    """Each card, and the line on top, has the time of the last figure; nothing that asks the daemon can be pressed."""
    marks = [element.text for element in page.all(".card:not([hidden]) .stale-mark")]
    able = page.run("return [...document.querySelectorAll('button')].filter(b => !b.matches(':disabled')).length")
    return (
        len(marks) == len(page.all(".card:not([hidden])"))
        and all(re.fullmatch(AS_OF[lang], mark) for mark in marks)
        and re.search(AS_OF[lang], page.text(".stale-banner")) is not None
        and able == 0
    )


def is_fresh(page: Page) -> bool:
    """Figures have come, and can be acted on. Some buttons are there before any figure is."""
    able = page.run("return [...document.querySelectorAll('#versions button')].some(b => !b.matches(':disabled'))")
    arrived = "dtmf-v1.0" in page.text("#versions")
    return arrived and not page.all("[data-stale]") and page.text("main").count("as of ") == 0 and bool(able)


@pytest.mark.parametrize(("lang", "title"), [("en", "no connection"), ("zh-CN", "连接中断")])
def test_over_a_dead_daemon_everything_is_as_of_its_last_figure_and_nothing_can_be_pressed(
    running: tuple[House, str], browser: Open, lang: str, title: str
) -> None:
    house, url = running
    page = browser(lang=lang).go(url)
    page.expect_console(*GONE)
    eventually(lambda: is_fresh(page))
    house.kill()
    eventually(lambda: is_stale(page, lang))
    assert title in page.driver.title
    assert "dtmf-v1.0" in page.text("#versions")
    # axe takes everything in a fieldset that is disabled for disabled; a list with a tabindex is not
    assert [found for found in page.accessibility() if not found.startswith("scrollable-region-focusable")] == []
    house.start("dtmf-v1.0")
    eventually(lambda: is_fresh(page))
    assert title not in page.driver.title


def test_a_daemon_that_hangs_breaks_no_connection_and_is_seen_by_its_silence(
    running: tuple[House, str], browser: Open
) -> None:
    house, url = running
    page = browser().go(url)
    page.expect_console(*GONE)
    eventually(lambda: is_fresh(page))
    assert house.process is not None
    os.kill(house.process.pid, signal.SIGSTOP)
    try:
        eventually(lambda: is_stale(page, "en"))
    finally:
        os.kill(house.process.pid, signal.SIGCONT)
    eventually(lambda: is_fresh(page))


CONTROL = {"runtime_dir": "run", "state_dir": "state"}
