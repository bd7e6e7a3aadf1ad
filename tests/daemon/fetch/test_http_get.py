"""GETs: where they may go, how far they follow, and what they keep to themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.daemon.fetch.conftest import MODEL
from tests.fakes.certificates import server_context
from tests.fakes.model_hub import ModelHub, model_hub

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.http_get import HttpReader, HttpRules, NotAnswered, origin, shown
from modelward.daemon.system.clock import SystemClock


def status(url: str, rules: HttpRules | None = None) -> int:
    with HttpReader(rules or HttpRules()).get(url) as (response, _):
        response.read()
        return response.status


def test_redirects_are_followed_to_an_end(hub: ModelHub) -> None:
    hub.faults["/a"] = [f"to:{hub.url}/b"]
    hub.faults["/b"] = ["to:/files/tokens.json"]
    with HttpReader(HttpRules()).get(hub.url + "/a") as (response, url):
        assert (response.status, url) == (200, f"{hub.url}/files/tokens.json")
    hub.faults["*"] = ["to:/a"] * 20
    with pytest.raises(Refused, match="more than 8 redirects"):
        status(hub.url + "/a")


@pytest.mark.parametrize(
    "to",
    [
        "ftp://example.org/a",
        "file:///etc/passwd",
        "https://exa mple.org",
        "http://a:99999999/",
        "http://a:0/",
    ],
)
def test_a_redirect_to_no_web_address_is_refused(hub: ModelHub, to: str) -> None:
    hub.faults["/a"] = [f"to:{to}"]
    with pytest.raises(Refused, match=f"cannot fetch {hub.url}/a: it redirects to "):
        status(hub.url + "/a")


def test_plain_http_is_for_private_addresses_only() -> None:
    for url in ("http://93.184.215.14/a", "http://[2606:2800:21f::1]/a"):
        with pytest.raises(Refused, match="plain http to .* is not safe; --insecure-http allows it"):
            status(url)


def test_https_is_trusted_by_its_certificate_and_does_not_fall_back_to_http(
    hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = server_context(tmp_path)
    with model_hub(hub.files, context) as secure:
        with pytest.raises(Refused, match="its certificate is not trusted"):
            status(secure.url + "/files/tokens.json")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert status(secure.url + "/files/tokens.json") == 200
        secure.faults["/a"] = [f"to:{hub.url}/files/tokens.json"] * 2
        with pytest.raises(Refused, match="redirects to plain http, at 127.0.0.1; --insecure-http allows it"):
            status(secure.url + "/a")
        assert status(secure.url + "/a", HttpRules(insecure_http=True)) == 200


def test_a_small_answer_has_a_limit(hub: ModelHub) -> None:
    hub.faults["/files/tokens.json"] = ["endless"]
    with pytest.raises(Refused, match="longer than 1,000 bytes"):
        HttpReader(HttpRules()).text(hub.url + "/files/tokens.json", 1000)


class Jumping(SystemClock):
    """A clock on which each look is so much later."""

    def __init__(self, step_seconds: float) -> None:
        self.now, self.step = 0.0, step_seconds

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def test_a_head_and_a_small_answer_have_a_time(hub: ModelHub) -> None:
    path = "/files/model_quant.onnx"
    with pytest.raises(NotAnswered, match="it sent 0 bytes in 61 s"):
        HttpReader(HttpRules(), Jumping(61.0)).text(hub.url + "/files/tokens.json", 1 << 20)
    hub.faults[path] = ["endless"]
    with pytest.raises(NotAnswered, match="it did not end in time"):
        HttpReader(HttpRules(), Jumping(59.0)).text(hub.url + path, 64 << 20)  # it takes six reads at most
    with HttpReader(HttpRules(), Jumping(59.0)).get(hub.url + path) as (response, _):
        assert len(response.read()) == len(MODEL), "a file may take longer"


@contextmanager
def says(*answers: bytes) -> Iterator[str]:
    """A server that gives these answers, one for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(60)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200],
)
def test_what_is_no_answer_is_one_kind_of_error(answer: bytes) -> None:
    with says(answer) as url, pytest.raises(NotAnswered):
        status(url)


def test_nobody_there_is_the_same_kind_of_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", "http://nowhere.invalid/"):
        with pytest.raises(NotAnswered):
            status(url)


def test_a_server_without_tls_is_no_answer(hub: ModelHub) -> None:
    with pytest.raises(NotAnswered):
        status(hub.url.replace("http:", "https:"))


def test_the_proxy_of_the_environment_is_used(hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", hub.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert status("http://10.1.2.3/files/tokens.json") == 200
    assert hub.requests[-1][1] == "http://10.1.2.3/files/tokens.json"
    assert "Proxy-Authorization" not in hub.requests[-1][2]
    monkeypatch.setenv("http_proxy", hub.url.replace("//", "//user:p%40w@"))
    assert status("http://10.1.2.3/files/tokens.json") == 200
    assert hub.requests[-1][2]["Proxy-Authorization"] == "Basic dXNlcjpwQHc="
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert status(hub.url + "/files/tokens.json") == 200 and hub.requests[-1][1] == "/files/tokens.json"
    monkeypatch.setenv("https_proxy", hub.url)
    with pytest.raises(Refused, match="the proxy 127.0.0.1:.* answered 501"):  # it refuses to be a tunnel
        status("https://example.org/")


@pytest.mark.parametrize(
    ("scheme", "answer", "kind", "because"),
    [
        ("http", b"407 Proxy Authentication Required", Refused, "answered 407; it wants a user and a password"),
        ("https", b"407 Proxy Authentication Required", Refused, "answered 407; it wants a user and a password"),
        ("https", b"403 Forbidden", Refused, "answered 403"),
        ("https", b"503 Service Unavailable", NotAnswered, "answered 503"),
        ("https", b"", NotAnswered, ": the connection broke"),
        ("http", b"", NotAnswered, ": the connection broke"),
    ],
)
def test_a_proxy_that_refuses_is_named_with_the_reason_and_only_some_answers_may_change(
    monkeypatch: pytest.MonkeyPatch, scheme: str, answer: bytes, kind: type[Exception], because: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    with says(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n" if answer else b"") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.replace("//", "//user:secret@"))
        with pytest.raises(kind, match=f"the proxy {proxy[7:-1]} ?{because}") as refused:
            status(f"{scheme}://10.1.2.3/a")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ("http://user:secret@[::1", "is no address"),
        ("http://user:secret@proxy:port", "is no address"),
        ("http://user:secret@proxy:99999", "is no address"),
        ("socks5://user:secret@proxy:1080", "names one of another kind than http"),
        ("http://user:secret@", "it has no host"),
        ("http://user:secret@a b:80", "it has no host"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_sentence_without_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str, because: str
) -> None:
    monkeypatch.setenv("https_proxy", value)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(Refused, match=f"cannot use the proxy of the environment for https: .*{because}") as refused:
        status("https://10.1.2.3/")
    assert "secret" not in str(refused.value)


def test_a_reader_that_was_stopped_asks_nobody(hub: ModelHub) -> None:
    reader = HttpReader(HttpRules())
    reader.stop()
    with pytest.raises(Refused, match="it was stopped"), reader.get(hub.url):
        pass
    assert hub.requests == []


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("https://user:pw@example.org/a/b?sig=secret#x") == "https://example.org/a/b"
    assert shown("no address") == "no address"
    assert origin("https://Example.org/a") == "https://example.org:443" == origin("https://example.org:443/b")
    assert origin("http://example.org") != origin("https://example.org")
