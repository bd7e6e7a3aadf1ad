from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests import asking
from tests.worker.http.serving import Served, serving, wav

from modelward.worker.http.auth import COOKIE, TokenCheck
from modelward.worker.http.page import STATIC
from modelward.worker.http.sign_in import token_form
from modelward.worker.shared.static_files import load

PAGE = load(STATIC)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


def test_every_file_of_the_page_is_served_under_a_strict_policy(served: Served) -> None:
    assert len(PAGE) == len(list(STATIC.iterdir()))
    for path, asset in PAGE.items():
        answer = asking.get(served.url + path)
        assert answer.status_code == 200 and answer.content == asset.body
        assert answer.headers["content-type"] == asset.content_type
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ") and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert asking.head(served.url + path).status_code == 200
        again = asking.get(served.url + path, headers={"if-none-match": asset.tag})
        assert again.status_code == 304 and again.content == b""


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    for path, asset in PAGE.items():
        text = asset.body.decode("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}/", text), path
        for mention in re.findall(r"/static/[A-Za-z0-9._-]+", text):
            assert mention in PAGE, f"{path} names {mention}"
        for mention in re.findall(r'from "\./([^"]+)"', text):
            assert f"/static/{mention}" in PAGE, f"{path} imports {mention}"
    page = PAGE["/"].body.decode()
    assert " style=" not in page and not re.search(r"\son[a-z]+=", page) and page.count("<script") == 1


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static", "/static/index.html", "/static/../page.py", "/static/%2e%2e/page.py", "//etc/passwd"],
)
def test_nothing_else_is_served(served: Served, path: str) -> None:
    assert asking.get(served.url + path).status_code == 404


def test_programs_are_told_that_a_token_is_missing_and_people_are_asked(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret-1\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        program = asking.get(served.url)
        assert program.status_code == 401 and program.json()["error"]["code"] == "token_missing"
        person = asking.get(served.url, headers={"accept": "text/html,*/*"})
        assert person.status_code == 401 and "<form" in person.text
        assert "default-src 'none'" in person.headers["content-security-policy"]
        assert asking.get(served.url + "/static/app.js", headers={"accept": "text/html"}).json()["error"]


@pytest.mark.parametrize("body", ["", "token=", "token=wrong", "other=secret-1", "token=%ff", "x" * 3000, "é"])
def test_a_wrong_token_is_asked_for_again(tmp_path: Path, body: str) -> None:
    (tmp_path / "tokens").write_text("secret-1\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        answer = asking.post(served.url, content=body.encode())
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
        assert asking.post(served.url, content=b"x" * 5000).status_code == 413


def test_the_cookie_lets_in_what_the_page_itself_sends(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret-1\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        signed_in = asking.post(served.url, content=b"token=secret-1")
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "./")
        cookie = signed_in.headers["set-cookie"]
        value, _, fields = cookie.partition("; ")
        assert value.startswith("modelward_token=") and "secret-1" not in value
        assert fields == "HttpOnly; SameSite=strict", "its path is the directory that the browser sees"
        headers = {"cookie": f"a=b; {value}"}
        assert asking.get(served.url, headers=headers).status_code == 200
        for theirs in ({"authorization": "Bearer eyJ.J.K"}, {"x-api-key": "proxy"}, {"x-api-key": ""}):
            assert asking.get(served.url, headers={**headers, **theirs}).status_code == 200, "a token of a proxy"

        def post(path: str, **more: str) -> int:
            files = {"audio": ("a.wav", wav(1))}
            return asking.post(served.url + path, files=files, headers={**headers, **more}).status_code

        assert post("/api/predict", origin=served.url) == 200
        assert post("/api/predict", origin=served.url, authorization="Bearer eyJ.J.K") == 200
        assert post("/api/predict", origin="http://evil.example", authorization="Bearer eyJ.J.K") == 401
        for path in ("/api/predict", "/api/reload-model", "/v2/repository/index"):
            assert post(path, origin="http://evil.example") == 401
            assert post(path, origin="null") == 401
            assert post(path, origin=served.url.replace("127.0.0.1", "localhost")) == 401
        for other in ("=secret-2", "=secret-1", "=", "=.", "=.a"):
            assert asking.get(served.url, headers={"cookie": "modelward_token" + other}).status_code == 401
        for other in (value[:-1], value + "0", value.replace("=", "=0")):
            assert asking.get(served.url, headers={"cookie": other}).status_code == 401
        (tmp_path / "tokens").write_text("secret-3\n")
        assert asking.get(served.url, headers=headers).status_code == 401


def test_what_belongs_to_a_token_belongs_to_its_cookie_too_beside_a_token_of_a_proxy(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret-1\nsecret-2\n")
    check = TokenCheck(str(tmp_path / "tokens"), structlog.get_logger())
    asyncio.run(check.fresh())
    cookie, theirs = {"cookie": f"{COOKIE}={check.cookie_for('secret-1')}"}, {"authorization": "Bearer eyJ.J.K"}
    owner = check.owner({"authorization": "Bearer secret-1"})
    assert owner and check.owner(cookie) == check.owner({**cookie, **theirs}) == owner
    assert check.owns(owner, {**cookie, **theirs}) and not check.owns(owner, theirs)
    assert not check.owns(owner, {**cookie, "x-api-key": "secret-2"}), "a good token is the one that counts"


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"origin": "http://h"}, False),
        ({"origin": "https://h"}, True),
        ({"x-forwarded-proto": "https"}, True),
        ({"x-forwarded-proto": "https, http"}, False),
    ],
)
def test_behind_tls_the_cookie_is_for_tls_alone(tmp_path: Path, headers: dict[str, str], secure: bool) -> None:
    (tmp_path / "tokens").write_text("secret-1\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens"), trusted_proxies=("127.0.0.1",)) as served:
        cookie = asking.post(served.url, content=b"token=secret-1", headers=headers).headers["set-cookie"]
        assert cookie.endswith("; Secure") == secure


def test_asks_in_the_browsers_language() -> None:
    assert "令牌" in bytes(asyncio.run(token_form("zh-CN,zh;q=0.9")).body).decode()
    assert "Token" in bytes(asyncio.run(token_form("")).body).decode()
