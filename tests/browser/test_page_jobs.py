"""A long file on the page: sent as a job, its progress and its text shown on the way, in both languages."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.browser.conftest import Open, Page
from tests.support import eventually
from tests.worker.jobs.recordings import heard, recording, said
from tests.worker.running import Worker, digits, worker

pytestmark = pytest.mark.browser

TIMES = 6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("page-jobs")
    (directory / "jobs").mkdir()
    (directory / "meeting.wav").write_bytes(recording(TIMES))
    (directory / "longer.wav").write_bytes(recording(2 * TIMES))
    (directory / "shorter.wav").write_bytes(recording(2))
    with worker(directory, digits(), jobs_dir=str(directory / "jobs")) as running:
        yield running


def choose(page: Page, running: Worker, name: str = "meeting.wav") -> None:
    page.all("#files")[0].send_keys(str(jobs(running).parent / name))


def jobs(running: Worker) -> Path:
    return Path(running.settings.jobs_dir)


@contextmanager
def slowed(running: Worker) -> Iterator[None]:
    """The worker runs a tenth of the time: on no machine is a job over before the page has asked for it again."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            running.process.send_signal(signal.SIGSTOP)
            over.wait(0.36)
            running.process.send_signal(signal.SIGCONT)
            over.wait(0.04)

    slowing = threading.Thread(target=work)
    slowing.start()
    try:
        yield
    finally:
        over.set()
        slowing.join()


def kept(running: Worker) -> list[str]:
    return [path.name for path in jobs(running).iterdir() if path.name.startswith("job_")]


@pytest.mark.parametrize(("lang", "working"), [("en", "% recognised"), ("zh-CN", "已识别")])
def test_a_long_file_shows_its_progress_and_its_text_so_far(
    browser: Open, running: Worker, lang: str, working: str
) -> None:
    page = browser(lang=lang).go(running.url)
    with slowed(running):
        choose(page, running)
        page.reads(".card .stage", working)
        page.reads(".card .so-far", "2025550147")
        page.run("document.querySelector('.card .so-far').style.maxHeight = '1rem'")  # as if it were long
        assert page.accessibility() == []
    assert heard(page.reads(".card .text", "2025550147")) == said(TIMES)
    assert not page.text(".card .so-far") and "dtmf-v1.0" in page.text(".card .by")
    eventually(lambda: kept(running) == [])


def test_a_page_that_is_loaded_anew_takes_its_job_up(browser: Open, running: Worker) -> None:
    page = browser(lang="zh-CN").go(running.url)
    with slowed(running):
        choose(page, running)
        page.reads(".card .so-far", "2025550147")
        [job] = kept(running)
        page.go(running.url)
        page.reads(".card .name", "meeting.wav")
        page.reads(".card .stage", "已识别")
        assert kept(running) == [job] and page.accessibility() == []
    assert heard(page.reads(".card .text", "2025550147")) == said(TIMES)
    assert not page.run("return document.querySelector('.card audio').checkVisibility()")
    eventually(lambda: kept(running) == [])
    assert page.run("return sessionStorage.getItem('modelward.jobs')") == "[]"
    page.go(running.url).one("#empty")


@pytest.mark.parametrize(
    "stored",
    ["{", "7", '[{"id": "../../health", "name": "x", "began": 1}, {"id": 5}, null]',
     '[{"id": "job_%s", "name": "<img src=x onerror=alert(1)>", "began": 1}]' % ("0" * 32)],
)  # fmt: skip
def test_what_is_no_job_of_ours_is_forgotten(browser: Open, running: Worker, stored: str) -> None:
    page = browser().go(running.url)
    page.expect_console("404")
    page.run("sessionStorage.setItem('modelward.jobs', arguments[0])", stored)
    page.go(running.url).reads("#serving", "dtmf-v1.0")
    eventually(lambda: page.all(".card") == [])
    page.one("#empty")


def test_a_second_one_waits_in_line_and_one_that_is_taken_away_is_cancelled(browser: Open, running: Worker) -> None:
    page = browser().go(running.url)
    with slowed(running):
        choose(page, running, "longer.wav")
        page.reads(".card .stage", "% recognised")
        choose(page, running, "shorter.wav")
        page.reads(".card .stage", "In line at place 1")
        assert len(kept(running)) == 2
        page.click("Clear all")
    eventually(lambda: all((jobs(running) / job / "outcome.json").exists() for job in kept(running)))
    eventually(lambda: not any((jobs(running) / job / "audio").exists() for job in kept(running)))


def test_where_no_job_is_taken_a_long_file_goes_the_other_way(browser: Open, tmp_path: Path) -> None:
    (tmp_path / "meeting.wav").write_bytes(recording(2))
    with worker(tmp_path, digits()) as running:
        page = browser().go(running.url)
        page.expect_console("404")
        page.all("#files")[0].send_keys(str(tmp_path / "meeting.wav"))
        assert heard(page.reads(".card .text", "2025550147")) == said(2)
        page.leave()
