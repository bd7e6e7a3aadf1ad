"""Pages of other origins: those that are named may call and read, all others may not, cookies never count."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests import asking
from tests.worker.http.serving import Served, serving, wav

PAGE = "https://app.example.org"
ORIGIN = {"origin": PAGE}
BEFORE = {
    **ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,x-stainless-os",
}


def ask(served: Served, **headers: str) -> httpx.Response:
    url = served.url + "/v1/audio/transcriptions"
    return asking.post(url, files={"file": ("a.wav", wav(1))}, headers={**ORIGIN, **headers})


def asked_before(served: Served, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asking.request("OPTIONS", served.url + "/v1/audio/transcriptions", headers={**BEFORE, **named})


def of_cors(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control")}


def test_nothing_is_added_by_default(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert ask(served).status_code == 200 and not of_cors(ask(served))
        assert asked_before(served).status_code == 405 and not of_cors(asked_before(served))


def test_a_page_that_is_named_may_call_and_read(tmp_path: Path) -> None:
    with serving(tmp_path, cors_origins=("http://localhost:3000", PAGE)) as served:
        allowed = asked_before(served)
        assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == PAGE
        assert "POST" in allowed.headers["access-control-allow-methods"]
        assert allowed.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        assert "Origin" in allowed.headers["vary"]
        answer = ask(served)
        assert answer.json()["text"] == "v1+itn" and answer.headers["access-control-allow-origin"] == PAGE
        assert "X-Model-Version" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", PAGE + ".evil.org", "http://app.example.org"])
def test_any_other_page_may_not(tmp_path: Path, origin: str) -> None:
    with serving(tmp_path, cors_origins=(PAGE,)) as served:
        assert "access-control-allow-origin" not in ask(served, origin=origin).headers
        refused = asked_before(served, origin=origin)
        assert refused.status_code == 400 and "access-control-allow-origin" not in refused.headers


def test_a_page_asks_beforehand_without_a_token_and_reads_why_it_was_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with serving(tmp_path, cors_origins=(PAGE,), token_file=str(tmp_path / "tokens")) as served:
        assert asked_before(served).status_code == 200
        refused = ask(served)
        assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == PAGE
        assert ask(served, authorization="Bearer secret").json()["text"] == "v1+itn"


def test_the_cookie_of_the_services_page_does_not_count_for_another_page(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with serving(tmp_path, cors_origins=(PAGE,), token_file=str(tmp_path / "tokens")) as served:
        signed = asking.post(served.url + "/", data={"token": "secret"}, headers={"origin": served.url})
        cookie = signed.headers["set-cookie"].partition(";")[0]
        assert ask(served, cookie=cookie, origin=served.url).status_code == 200
        assert ask(served, cookie=cookie).status_code == 401


def test_a_page_elsewhere_changes_nothing_without_a_token(tmp_path: Path) -> None:
    with serving(tmp_path, cors_origins=("*",)) as served:
        answer = asking.post(served.url + "/api/reload-model", headers=ORIGIN)
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "loopback_only"
        assert ask(served).headers["access-control-allow-origin"] == "*"


def test_a_page_on_the_internet_may_call_a_private_network_when_it_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, cors_origins=(PAGE,)) as served:
        named = asked_before(served, access_control_request_private_network="true")
        assert named.headers["access-control-allow-private-network"] == "true"
