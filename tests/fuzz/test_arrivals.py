"""How a request says that it came: headers of proxies, prefixes, hosts, languages; and where a job may report to."""

from __future__ import annotations

import ipaddress
import re

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from tests.fuzz.strategies import ODD_TEXTS, altered_text, fuzzed

from modelward.daemon.api.language import language_of
from modelward.daemon.panel.access_policy import Access, PanelRequest, Rules, host_name, is_ours, refusal
from modelward.daemon.system.retry_after import LONGEST_SECONDS, retry_after
from modelward.worker.http.accepted_models import is_accepted
from modelward.worker.http.paths import meant_path
from modelward.worker.shared.arrival import arrival_of, arrive
from modelward.worker.shared.base_path import ROUTES, below, check_base_path, prefix_in
from modelward.worker.shared.callback_rules import BadCallback, check_address, check_url, parse_callback
from modelward.worker.shared.trusted_proxies import check_proxy, passed_on

PROXIES = ("10.0.0.5", "fd00::/8", "unix")
REAL = "203.0.113.9"
PLAIN = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_LATIN = st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=60)
_HOPS = st.one_of(
    altered_text("203.0.113.9, 10.0.0.5", "[2001:db8::1]:443, unknown", "::ffff:10.0.0.5", "_x, 1.2.3.4:99"),
    _LATIN,
)
_FORWARDED = st.one_of(
    altered_text('for=203.0.113.9;proto=https;by=10.0.0.5, for="[2001:db8::1]:99"', 'for="a,b";proto=http'), _LATIN
)
_PREFIXES = st.one_of(altered_text("/asr", "/a/b/", "/..", "//evil.example", "/a\r\nSet-Cookie: x"), _LATIN)
_PEERS = st.sampled_from(("", "10.0.0.5", "::ffff:10.0.0.5", "fd00::7", "198.51.100.4", "bogus"))


def _values(fields: dict[str, list[str]]) -> Headers:
    pairs = [(name, value) for name in fields for value in fields[name]]
    return Headers(raw=[(name.encode(), value.encode("latin-1", "replace")) for name, value in pairs])


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "x-forwarded-for": st.lists(_HOPS, max_size=3),
        "x-forwarded-proto": st.lists(st.one_of(st.sampled_from(("https", "http", "HTTPS, http")), _LATIN), max_size=2),
        "x-forwarded-prefix": st.lists(_PREFIXES, max_size=2),
        "forwarded": st.lists(_FORWARDED, max_size=2),
    },
)


@fuzzed(200)
@given(_PEERS, _FIELDS)
@example("10.0.0.5", {"x-forwarded-for": ["," * 10_000]})
@example("10.0.0.5", {"forwarded": ["for=" + ";" * 10_000]})
def test_what_proxies_pass_on_is_an_address_and_a_plain_path(peer: str, fields: dict[str, list[str]]) -> None:
    found = passed_on(peer, _values(fields).getlist, PROXIES)
    assert passed_on(peer, _values(fields).getlist, ()).believed is False
    if peer in ("198.51.100.4", "bogus"):
        assert (found.client, found.tls, found.prefix, found.believed) == (peer, False, "", False)
        return
    assert found.believed and PLAIN.fullmatch(found.prefix) and ".." not in found.prefix.split("/")
    if found.client != peer:
        ipaddress.ip_address(found.client)


@fuzzed(200)
@given(st.sampled_from(("", "10.0.0.5", "fd00::7")), st.lists(_HOPS, max_size=3), st.lists(_FORWARDED, max_size=2))
@example("10.0.0.5", ['"'], ['for="'])
@example("10.0.0.5", [], ['for=10.0.0.5;host="'])
def test_no_client_has_itself_taken_for_another_one(peer: str, hops: list[str], elements: list[str]) -> None:
    """A proxy adds what it sees behind what the client sent: that counts, whatever comes before it."""
    own = Headers(raw=[(b"x-forwarded-for", ", ".join((*hops, REAL)).encode("latin-1", "replace"))])
    assert passed_on(peer, own.getlist, PROXIES).client == REAL
    own = Headers(raw=[(b"x-forwarded-for", hop.encode("latin-1", "replace")) for hop in (*hops, REAL)])
    assert passed_on(peer, own.getlist, PROXIES).client == REAL
    added = ", ".join((*elements, f"for={REAL};proto=http"))
    found = passed_on(peer, Headers(raw=[(b"forwarded", added.encode("latin-1", "replace"))]).getlist, PROXIES)
    assert (found.client, found.tls) == (REAL, False)


@fuzzed(150)
@given(
    _PEERS,
    _FIELDS,
    st.one_of(altered_text("/asr/v1/models", "/asr", "//asr/x", "/asrx", "/"), ODD_TEXTS),
    st.sampled_from(("", "/asr", "/a/b")),
)
def test_a_path_means_one_thing_below_a_base_path(
    peer: str, fields: dict[str, list[str]], path: str, base: str
) -> None:
    scope = {"type": "http", "client": (peer, 7), "path": path, "query_string": b""}
    first = arrive(scope, _values(fields), base, PROXIES)
    seen = dict(scope)
    assert arrive(scope, _values(fields), base, PROXIES) == first == arrival_of(scope) and scope == seen
    rest, whole = below(path, base)
    assert scope["path"] == rest and (whole or rest == path) and (not path or rest)
    assert PLAIN.fullmatch(first.prefix) and PLAIN.fullmatch(first.cookie_path)
    if path.startswith("/"):
        assert below(base + path, base) == (path, True) if base else below(path, base) == (path, False)


@fuzzed(200)
@given(st.one_of(altered_text("/asr", "/a/b/", "/v1", "/.."), ODD_TEXTS))
def test_a_base_path_is_plain_and_no_route_or_refused(text: str) -> None:
    assert PLAIN.fullmatch(prefix_in(text))
    try:
        path = check_base_path(text)
    except ValueError as e:
        assert str(e)
        return
    assert PLAIN.fullmatch(path) and check_base_path(path) == path and len(path) <= 200
    assert not path or path.split("/")[1] not in ROUTES
    assert below(path or "/", path)[0] == "/"


@fuzzed(150)
@given(st.one_of(altered_text("10.0.0.0/8", "fd00::/8", "unix", "::ffff:10.0.0.5", "10.0.0.5"), ODD_TEXTS))
def test_a_trusted_proxy_is_an_address_or_refused(text: str) -> None:
    try:
        found = check_proxy(text)
    except ValueError as e:
        assert str(e)
        return
    assert found == "unix" or ipaddress.ip_network(found)
    assert check_proxy(found) == found


@fuzzed(150)
@given(
    st.one_of(altered_text("/v1/jobs/x", "//v1//models/", "/api/reload-model/"), ODD_TEXTS),
    st.sampled_from((b"", b"/v1/jobs/%41", b"/%2e%2e/")),
)
def test_the_path_that_is_meant_means_itself(path: str, raw: bytes) -> None:
    meant = meant_path(path)
    assert meant_path(meant) == meant and len(meant) <= max(1, len(path))
    assert meant_path(path, raw) in (meant, "/" + raw.decode("latin-1"))


@fuzzed(150)
@given(
    st.one_of(st.none(), altered_text("panel.example.org:5000", "[::1]:80", "127.0.0.1", "localhost."), ODD_TEXTS),
    st.one_of(st.none(), altered_text("https://panel.example.org", "null", "http://["), ODD_TEXTS),
    st.sampled_from((None, "same-origin", "cross-site", "none")),
    st.booleans(),
)
def test_a_request_of_another_site_is_refused(
    host: str | None, origin: str | None, site: str | None, write: bool
) -> None:
    rules = Rules(frozenset({"panel.example.org"}))
    asked = PanelRequest(Access.CHANGE if write else Access.READ, host, origin, site, True, False, True, write)
    found = refusal(asked, rules)
    if found is not None:
        assert found.status in (401, 403, 421) and found.message.startswith("cannot") and len(found.message) < 500
        return
    assert is_ours(host, rules.names) and site in (None, "same-origin", "none") and host_name(host)
    assert origin is None or origin.partition("://")[2].lower() == (host or "").lower() or origin.count("/") > 2


_LANGUAGES = st.one_of(altered_text("zh-CN,zh;q=0.9,en;q=0.8", "en", "zh;q=nan", "zh;q=1e999,en"), _LATIN)


@fuzzed(150)
@given(_LANGUAGES, st.one_of(altered_text("language=zh&n=5", "language=en", "a=b" + "&a=b" * 30), ODD_TEXTS))
@example("", "&".join(["language=zh"] * 500))
def test_a_request_has_one_language(accept: str, query: str) -> None:
    headers = [(b"accept-language", accept.encode("latin-1", "replace"))]
    scope = {"type": "http", "headers": headers, "query_string": query.encode(errors="replace")}
    assert language_of(scope) in ("zh", "en")


@fuzzed(150)
@given(
    st.one_of(altered_text("120", "Wed, 21 Oct 2026 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"), ODD_TEXTS),
    st.floats(0, 4e9),
)
@example("9" * 400, 0.0)
def test_a_pause_that_a_server_requests_has_an_end(text: str, wall: float) -> None:
    assert 0 <= retry_after(text, wall) <= LONGEST_SECONDS


ENTRIES = ("https://app.example.org/hooks", "http://10.1.2.3:8080/", "10.0.0.0/8")


@fuzzed(250)
@given(
    st.one_of(
        altered_text(
            "https://app.example.org/hooks/5?x=1", "http://10.1.2.3:8080/a", "https://app.example.org/hooks/%2e%2e/x",
            "https://app.example.org:443/hooks?y", "https://app.example.org/hooks/..;/x", "HTTPS://APP.example.org/hooks",
        ),
        ODD_TEXTS,
    )
)  # fmt: skip
@example("https://app.example.org/hooks@evil.example/")
@example("https://app.example.org/hooks\\..\\x")
@example("https://app.example.org/hooks/%EF%BC%8E%EF%BC%8E/x")
def test_a_job_reports_only_to_what_is_listed(text: str) -> None:
    try:
        url = check_url(text, ENTRIES)
    except BadCallback as e:
        assert str(e) and len(str(e)) < 300
        return
    assert (url.scheme, url.host, url.port) in (("https", "app.example.org", 443), ("http", "10.1.2.3", 8080))
    assert url.path.startswith("/hooks" if url.port == 443 else "/") and ".." not in url.path.split("?")[0].split("/")
    again = f"{url.scheme}://{url.host}:{url.port}{url.path}"
    assert parse_callback(again) == url and url.path.isascii() and url.path.isprintable()


@fuzzed(150)
@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.sampled_from(("::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1", "fe80::1%eth0", "169.254.169.254")),
        ODD_TEXTS,
    )
)
def test_a_host_of_a_callback_leads_to_the_internet_or_a_listed_network(text: str) -> None:
    url = parse_callback("https://app.example.org/hooks")
    try:
        check_address(text, url, ENTRIES)
    except ValueError as e:
        assert str(e)
        return
    address = ipaddress.ip_address(text.partition("%")[0])
    plain = getattr(address, "ipv4_mapped", None) or address
    listed = plain.version == 4 and plain in ipaddress.ip_network("10.0.0.0/8")
    assert listed or (plain.is_global and not plain.is_multicast)


@fuzzed(100)
@given(ODD_TEXTS, st.lists(ODD_TEXTS, max_size=3))
def test_the_name_of_a_model_is_accepted_or_not(name: str, aliases: list[str]) -> None:
    assert is_accepted(name, "sensevoice-v1", tuple(aliases)) in (True, False)
