"""How a request reached us: its client, its path, and the addresses by which its browser knows us."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import Headers

from modelward.worker.shared.arrival import arrival_of, arrive, is_read, to_directory

PROXY = "10.0.0.1"


def scope_of(path: str, peer: str = PROXY, **headers: str) -> dict[str, Any]:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "GET", "path": path, "client": (peer, 5), "headers": sent, "query_string": b""}


@pytest.mark.parametrize(
    ("path", "base", "header", "meant", "prefix", "cookie_path"),
    [
        ("/v1/jobs", "", "", "/v1/jobs", "", ""),
        ("/v1/jobs", "/asr", "", "/v1/jobs", "/asr", ""),  # a proxy removed it, or it is a probe: the browser knows
        ("/asr/v1/jobs", "/asr", "", "/v1/jobs", "/asr", "/asr"),
        ("/v1/jobs", "", "/asr", "/v1/jobs", "/asr", "/asr"),
        ("/v1/jobs", "/asr", "/asr", "/v1/jobs", "/asr", "/asr"),
        ("/asr/v1/jobs", "/asr", "/asr", "/v1/jobs", "/asr", "/asr"),  # it reports the prefix and leaves it there
        ("/asr/v1/jobs", "/asr", "/site", "/v1/jobs", "/site/asr", "/site/asr"),  # two proxies, two prefixes
        ("/v1/jobs", "", "//evil.example", "/v1/jobs", "", ""),
    ],
)
def test_links_and_cookies_carry_the_prefix_that_the_browser_sees(
    path: str, base: str, header: str, meant: str, prefix: str, cookie_path: str
) -> None:
    scope = scope_of(path, **({"x_forwarded_prefix": header} if header else {}))
    found = arrive(scope, Headers(scope=scope), base, (PROXY,))
    assert (scope["path"], found.prefix, found.cookie_path) == (meant, prefix, cookie_path)
    assert arrive(scope, Headers(scope=scope), base, (PROXY,)) is found is arrival_of(scope), "once for each request"
    assert scope["path"] == meant


def test_the_client_is_the_one_of_the_proxy_and_an_unnamed_proxy_is_reported() -> None:
    scope = scope_of("/", x_forwarded_for="198.51.100.1", x_forwarded_proto="https")
    found = arrive(scope, Headers(scope=scope), "", (PROXY,))
    assert scope["client"] == ("198.51.100.1", 0) and found.tls and not found.ignored
    for peer, ignored in ((PROXY, PROXY), ("127.0.0.1", "127.0.0.1"), ("8.8.8.8", "")):
        scope = scope_of("/", peer, x_forwarded_for="198.51.100.1", x_forwarded_proto="https")
        found = arrive(scope, Headers(scope=scope), "", ())
        assert scope["client"] == (peer, 5) and not found.tls and found.ignored == ignored
    scope = {**scope_of("/", x_forwarded_for="198.51.100.1"), "client": None}
    assert arrive(scope, Headers(scope=scope), "", ()).ignored == "unix" and scope["client"] is None
    scope = {**scope_of("/", x_forwarded_for="198.51.100.1"), "client": None}
    arrive(scope, Headers(scope=scope), "", ("unix",))
    assert scope["client"] == ("198.51.100.1", 0)


def test_the_base_path_without_its_slash_leads_to_the_page_below_whatever_prefix() -> None:
    scope = scope_of("/a/asr") | {"query_string": b"wav"}
    assert arrive(scope, Headers(scope=scope), "/a/asr", ()).bare and is_read(scope)
    answer = to_directory(scope, "/a/asr")
    assert (answer.status_code, answer.headers["location"]) == (308, "asr/?wav")
    assert not is_read(scope | {"method": "POST"}) and not is_read({"type": "websocket"})
