"""A real browser for tests of pages: Debian's Chromium, driven by its own driver; skipped where there is none.

`browser(lang=…, dark=…, size=…, microphone=…)` opens a page in the one that all tests of a run share; each test ends by
failing on what the console called severe. What a test expects there it takes away first with `Page.expect_console`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import PATIENCE_SECONDS, eventually
from tests.versions import clips

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402 - only where selenium is
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402

AXE = Path(__file__).parents[1] / "vendor" / "axe-core-4.14.1" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

SEEN = """
const all = css => [...document.querySelectorAll(css)];
const seen = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.getClientRects().length > 0;
const text = e => seen(e) ? e.innerText.trim() : "";
"""
"""What a user sees, found out in the page and in one step: asked from here, each element costs several."""

Open = Callable[..., "Page"]


class Page:
    """One browser window and the few things that tests do with it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._expected: list[str] = []

    def go(self, url: str) -> Page:
        self.driver.get(url)
        return self

    def all(self, css: str) -> list[WebElement]:
        found: list[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, css)
        return found

    def one(self, css: str, seconds: float = PATIENCE_SECONDS) -> WebElement:
        """The first visible element of these, once there is one."""
        return eventually(lambda: self.run(f"{SEEN} return all(arguments[0]).find(seen)", css), seconds)

    def text(self, css: str) -> str:
        """The visible text of the first of these, "" while there is none."""
        text: str = self.run(f"{SEEN} return all(arguments[0]).slice(0, 1).map(text).join('')", css)
        return text

    def reads(self, css: str, *words: str, seconds: float = PATIENCE_SECONDS) -> str:
        """The text of the first of these, once it holds all the words."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: all(w in self.text(css) for w in words), seconds)
        text = self.text(css)
        assert [word for word in words if word not in text] == [], f"{css} reads {text!r}"
        return text

    def button(self, label: str, within: str = "body", seconds: float = PATIENCE_SECONDS) -> WebElement:
        """The visible button with this text or accessible name."""
        named = "e => seen(e) && [text(e), e.getAttribute('aria-label')].includes(label)"
        find = f"{SEEN} const [css, label] = arguments; return all(css).find({named})"
        return eventually(lambda: self.run(find, f"{within} button", label), seconds)

    def click(self, label: str, within: str = "body") -> None:
        """Clicks a button once it takes clicks."""
        element = self.button(label, within)
        eventually(element.is_enabled)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def accessibility(self) -> list[str]:
        """What axe-core finds wrong with the page, by WCAG 2.2 A and AA and its best practices."""
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        answer = self.driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {"expression": "axe.run(document).then(r => JSON.stringify(r.violations))", "awaitPromise": True,
             "returnByValue": True},
        )  # fmt: skip
        violations = json.loads(answer["result"]["value"])
        return [f"{v['id']}: {v['help']}: {n['html'][:150]}" for v in violations for n in v["nodes"]]

    def expect_console(self, *words: str) -> None:
        """A severe entry of the console that holds one of these is no failure."""
        self._expected += words

    def leave(self) -> None:
        """An empty page, no cookies, no storage, an empty console."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.execute_script("try { localStorage.clear(); sessionStorage.clear() } catch {}")
        self.driver.get("about:blank")
        self.driver.get_log("browser")

    def severe(self) -> list[str]:
        """What the console said that a user of the page should never cause."""
        entries = [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]
        return [text for text in entries if not any(word in text for word in self._expected)]


def _start() -> Any:
    """A microphone is there: it hears this clip, from its beginning, each time that somebody listens."""
    heard = clips()["5551234"]
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        "--host-resolver-rules=MAP *.example.org 127.0.0.1",
        "--lang=en", "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={heard}%noloop",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def _dress(driver: Any, lang: str, dark: bool, size: tuple[int, int], microphone: bool) -> None:
    """Gives the window its language, its colours and its size, and what it answers when a page wants to listen."""
    agent = {"userAgent": driver.execute_script("return navigator.userAgent"), "acceptLanguage": lang}
    driver.execute_cdp_cmd("Emulation.setUserAgentOverride", agent)
    driver.execute_cdp_cmd("Emulation.setLocaleOverride", {"locale": lang})
    answer = {"permission": {"name": "microphone"}, "setting": "granted" if microphone else "denied"}
    driver.execute_cdp_cmd("Browser.setPermission", answer)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture(scope="package")
def driver() -> Iterator[Any]:
    """The one browser of this run: starting one takes longer than most tests."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    running = _start()
    try:
        yield running
    finally:
        running.quit()


@pytest.fixture
def browser(driver: Any) -> Iterator[Open]:
    """Gives a clean window: browser(lang="en", dark=False, size=(1280, 900), microphone=True).

    Ask for it after whatever serves the page, so that the page is left before its server ends.
    """
    pages: list[Page] = []

    def opened(
        lang: str = "en", dark: bool = False, size: tuple[int, int] = (1280, 900), microphone: bool = True
    ) -> Page:
        _dress(driver, lang, dark, size, microphone)
        pages.append(Page(driver))
        return pages[-1]

    yield opened
    severe = [text for page in pages for text in page.severe()]
    for page in pages:
        page.leave()
    assert severe == []
