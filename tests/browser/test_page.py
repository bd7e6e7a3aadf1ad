"""The transcription page in a real Chromium, before a real worker that recognises what is dialled."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from selenium.webdriver.common.keys import Keys
from tests import asking
from tests.browser.conftest import Open, Page
from tests.media_files import flac_in_mp4, without_extras
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import serving
from tests.worker.running import (
    Worker,
    clip,
    words,
    worker,
)

pytestmark = pytest.mark.browser

SAID = "five five five one two three four."
DIGITS, PAUSES = "5551234", "long-with-pauses"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker(tmp_path_factory.mktemp("page"), words()) as running:
        yield running


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for name in (DIGITS, PAUSES):
        (tmp_path / f"{name}.wav").write_bytes(clip(name))
    (tmp_path / "notes.wav").write_text("no sound at all, only words in a file with a sound's name")
    return tmp_path


def choose(page: Page, *paths: Path) -> None:
    page.all("#files")[0].send_keys("\n".join(map(str, paths)))


def test_files_become_text_with_their_version_tags_and_times(browser: Open, running: Worker, sounds: Path) -> None:
    page = browser().go(running.url)
    assert page.reads("#serving", "dtmf-v1.1")
    choose(page, sounds / f"{DIGITS}.wav")
    assert page.reads(".card .text", "five") == SAID
    assert page.text(".card .name") == f"{DIGITS}.wav"
    assert "dtmf-v1.1" in page.text(".card .by")
    assert "English" in page.text(".tags") and "neutral" in page.text(".tags")
    page.one(".card summary").click()
    assert page.one(".times li span").text == SAID
    assert page.one(".times li button").get_attribute("aria-label").startswith("Play from 0:0")
    assert page.text("#announce") == f"{DIGITS}.wav: finished" or page.run(
        "return document.getElementById('announce').textContent"
    ).endswith("finished")


def test_several_files_are_worked_on_and_can_be_taken_away(browser: Open, running: Worker, sounds: Path) -> None:
    page = browser().go(running.url)
    choose(page, sounds / f"{DIGITS}.wav", sounds / f"{PAUSES}.wav")
    eventually(lambda: len([e for e in page.all(".card .text") if e.text]) == 2)
    assert [e.text for e in page.all(".card .name")] == [f"{PAUSES}.wav", f"{DIGITS}.wav"]
    page.click(f"Remove {PAUSES}.wav")
    assert [e.text for e in page.all(".card .name")] == [f"{DIGITS}.wav"]
    choose(page, sounds / f"{DIGITS}.wav")
    page.click("Clear all")
    assert page.all(".card") == [] and page.one("#empty").is_displayed()


def test_a_file_that_is_no_audio_says_so_and_can_be_tried_again(browser: Open, running: Worker, sounds: Path) -> None:
    page = browser().go(running.url)
    page.expect_console("415")
    choose(page, sounds / "notes.wav")
    assert "it is not WAV, FLAC, OGG, MP3, WebM or MP4" in page.reads(".card .problem", "cannot")
    page.click("Try again")
    assert page.reads(".card .problem", "cannot")


def test_the_wishes_are_sent_and_remembered(browser: Open, running: Worker, sounds: Path) -> None:
    page = browser().go(running.url)
    page.run("document.getElementById('itn').click()")
    page.one("#language").send_keys("Japanese")
    choose(page, sounds / f"{DIGITS}.wav")
    assert page.reads(".card .text", "five") == SAID.rstrip(".")
    page.go(running.url)
    eventually(lambda: page.run("return [language.value, itn.checked, signs.checked]") == ["ja", False, False])


@pytest.mark.parametrize("form", ["srt", "vtt", "txt"])
def test_downloads_are_what_the_api_gives(
    browser: Open, running: Worker, sounds: Path, tmp_path: Path, form: str
) -> None:
    page = browser().go(running.url)
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    choose(page, sounds / f"{PAUSES}.wav")
    page.reads(".card .text", "two")
    page.click(f"Save {PAUSES}.wav as {form.upper()}")
    saved = tmp_path / f"{PAUSES}.{form}"
    eventually(saved.exists)
    api = asking.post(
        running.url + "/v1/audio/transcriptions",
        files={"file": clip(PAUSES)},
        data={"response_format": "text" if form == "txt" else form},
        timeout=PATIENCE_SECONDS,
    )
    assert eventually(lambda: saved.read_text(encoding="utf-8")) == api.text


def test_captions_are_cut_as_the_service_cuts_them(browser: Open, running: Worker) -> None:
    from tests.worker.sensevoice.test_subtitles import segment

    from modelward.worker.sensevoice.subtitles import captions_of, srt, vtt

    tokens = [
        "你",
        "好",
        "，",
        "世界",
        "。",
        " Hello",
        ",",
        " wor",
        "ld",
        ".",
        "3",
        ".",
        "1",
        "4",
        " a<b&c",
        " ",
        "é",
        "「",
        "え",
        "」",
    ] * 6
    spoken = segment(tokens, 0.31)
    page = browser().go(running.url)
    given = {
        "text": spoken.text,
        "start": spoken.start,
        "end": spoken.end,
        "tokens": tokens,
        "times": list(spoken.times),
    }
    told = page.driver.execute_async_script(
        "const done = arguments[1]; import('/static/captions.js').then((c) => {"
        "const found = c.captionsOf([arguments[0]]); done([c.srt(found), c.vtt(found)]); })",
        given,
    )
    assert told == [srt(captions_of([spoken])), vtt(captions_of([spoken]))]


def test_tags_stand_as_signs_where_funasr_puts_them(browser: Open, running: Worker) -> None:
    page = browser().go(running.url)
    pieces = [
        {"text": "一", "event": "BGM", "emotion": "HAPPY"},
        {"text": "二", "event": "BGM", "emotion": "HAPPY"},
        {"text": "三", "event": "Speech", "emotion": "NEUTRAL"},
        {"text": "four", "event": "Speech", "emotion": "NEUTRAL"},
        {"text": "five", "event": "Laughter", "emotion": "EMO_UNKNOWN"},
    ]
    told = page.driver.execute_async_script(
        "const done = arguments[1];import('/static/tags.js').then((t) => done(t.signedText({segments: arguments[0]})))",
        pieces,
    )
    assert told == "🎼一二😊三four😀five"
    page.run("document.getElementById('signs').click()")


def test_what_the_service_does_not_read_the_browser_converts(browser: Open, tmp_path: Path) -> None:
    """In both languages: a service without the extra, and a recording in AAC's place that this browser reads."""
    sound, rate = soundfile.read(io.BytesIO(clip(DIGITS)))
    both = np.stack([sound, -sound], axis=1)  # two channels that would cancel
    (tmp_path / "call.m4a").write_bytes(flac_in_mp4(both.astype(np.float32), rate))
    with worker(tmp_path / "plain", words(), first_path=without_extras(tmp_path / "none")) as plain:
        page = browser().go(plain.url)
        page.expect_console("415", "400")
        choose(page, tmp_path / "call.m4a")
        assert page.reads(".card .text", "five") == SAID
        (tmp_path / "bad.m4a").write_bytes((tmp_path / "call.m4a").read_bytes()[:600])
        choose(page, tmp_path / "bad.m4a")
        assert page.reads(".card .problem", "cannot read")


def test_a_recording_that_lost_its_end_is_marked(browser: Open, running: Worker, tmp_path: Path) -> None:
    (tmp_path / "short.wav").write_bytes(clip(PAUSES)[: len(clip(PAUSES)) // 2])
    page = browser().go(running.url)
    choose(page, tmp_path / "short.wav")
    assert page.reads(".card .by", "a part of the recording is missing")


@pytest.mark.parametrize("wav", [False, True], ids=["opus", "wav"])
def test_the_microphone_is_heard(browser: Open, running: Worker, wav: bool) -> None:
    page = browser().go(running.url + ("/?wav" if wav else "/"))
    page.click("Record")
    eventually(lambda: page.text("#clock") == "0:03")
    page.click("Stop and transcribe")
    assert page.reads(".card .text", "two three")
    assert page.text(".card .name").endswith(".wav" if wav else ".webm")
    assert page.one("#record").is_displayed()


def test_a_recording_can_be_thrown_away(browser: Open, running: Worker) -> None:
    page = browser().go(running.url)
    page.click("Record")
    page.click("Discard")
    page.one("#record").send_keys(Keys.ENTER)
    page.one("#stop").send_keys(Keys.ESCAPE)
    assert page.one("#record").is_displayed() and page.all(".card") == []


def test_a_microphone_that_is_refused_is_explained(browser: Open, running: Worker) -> None:
    page = browser(microphone=False).go(running.url)
    page.click("Record")
    assert page.reads("#intake-problem", "microphone")


def test_the_page_speaks_the_browsers_language(browser: Open, running: Worker, sounds: Path) -> None:
    page = browser(lang="zh-CN").go(running.url)
    assert page.run("return document.documentElement.lang") == "zh-CN"
    assert page.text("h1") == "把语音变成文字" and page.button("录音")
    choose(page, sounds / f"{DIGITS}.wav")
    page.reads(".card .text", "five")
    assert "英语" in page.text(".tags") and "由 dtmf-v1.1 识别" in page.text(".by")
    page.click("English")
    assert page.text("h1") == "Turn speech into text" and "English" in page.text(".tags")
    page.go(running.url)
    assert page.text("h1") == "Turn speech into text"


def test_both_languages_have_every_word(browser: Open, running: Worker) -> None:
    page = browser().go(running.url)
    missing = page.driver.execute_async_script(
        "const done = arguments[0]; import('/static/words.js').then(({WORDS: {en, zh}}) => {"
        "const used = [...document.querySelectorAll('[data-i18n]')].map((e) => e.dataset.i18n);"
        "done([...Object.keys(en).filter((k) => !(k in zh)), ...used.filter((k) => !(k in en))]); })"
    )
    assert missing == []


def test_everything_can_be_reached_by_keyboard(browser: Open, running: Worker, sounds: Path) -> None:
    page = browser().go(running.url)
    choose(page, sounds / f"{DIGITS}.wav")
    page.reads(".card .text", "five")
    reached = set()
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(page.run("const e = document.activeElement; return e.id || e.className || e.tagName"))
    wanted = {"choose", "record", "language", "itn", "signs", "copy", "txt", "srt", "vtt", "SUMMARY", "other-language"}
    assert wanted - reached == set()


@pytest.mark.parametrize(("dark", "lang"), [(False, "en"), (True, "zh-CN")])
def test_nothing_stands_in_anybodys_way(browser: Open, running: Worker, sounds: Path, dark: bool, lang: str) -> None:
    page = browser(lang=lang, dark=dark, size=(390, 800)).go(running.url)
    page.expect_console("415")
    assert page.accessibility() == []
    choose(page, sounds / "notes.wav", sounds / f"{DIGITS}.wav")
    page.reads(".done .text", "five")
    page.one(".card .failed .problem")
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.accessibility() == []
    assert page.run("return document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


def test_a_busy_service_is_asked_again_and_one_that_is_gone_is_shown(browser: Open, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(clip(DIGITS))
    with serving(tmp_path, version="") as served:
        page = browser().go(served.url)
        page.expect_console("503", "ERR_CONNECTION")
        assert page.reads("#serving", "No model")
        choose(page, tmp_path / "a.wav")
        assert page.reads(".stage", "busy")
        served.swap("v7")
        assert "v7" in page.reads(".card .by", "v7")
        assert page.reads("#serving", "v7")


def test_what_others_wrote_is_text_and_nothing_else(browser: Open, tmp_path: Path) -> None:
    evil = "<img src=x onerror=document.title='owned'>"
    (tmp_path / f"{evil.replace('/', '')}.wav").write_bytes(clip(DIGITS))
    with serving(tmp_path, version=evil) as served:
        page = browser().go(served.url)
        choose(page, tmp_path / f"{evil}.wav")
        assert page.reads(".card .text", "onerror")
        assert evil in page.text(".card .name")
        assert page.driver.title == "Transcribe" and page.all("img") == []


def test_a_token_is_asked_for_and_kept_from_other_sites(browser: Open, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret-1\n")
    (tmp_path / "a.wav").write_bytes(clip(DIGITS))
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        page = browser().go(served.url)
        page.expect_console("401")
        assert page.accessibility() == []
        page.one("#token").send_keys("wrong", Keys.ENTER)
        page.one("#token").send_keys("secret-1", Keys.ENTER)
        assert page.reads("h1", "speech")
        choose(page, tmp_path / "a.wav")
        assert page.reads(".card .text", "v1")
        cookie = page.driver.get_cookie("modelward_token")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        assert "secret-1" not in cookie["value"]
        headers = {"cookie": f"modelward_token={cookie['value']}"}
        files = {"audio": ("a.wav", clip(DIGITS))}

        def status(**more: str) -> int:
            return asking.post(served.url + "/api/predict", files=files, headers={**headers, **more}).status_code

        assert status() == 200 and status(origin="http://evil.example") == 401
        assert (
            json.loads(asking.get(served.url + "/", headers={"accept": "*/*"}).text)["error"]["code"] == "token_missing"
        )
