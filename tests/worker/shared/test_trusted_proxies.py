"""Which client a request counts for when proxies passed it on: only the headers of trusted ones count."""

from __future__ import annotations

import pytest

from modelward.worker.shared.trusted_proxies import MAX_HOPS, check_proxy, passed_on

PROXIES = ("10.0.0.0/8", "fd00::/8", "127.0.0.1", "unix")
FORGED = {
    "x-forwarded-for": ["203.0.113.9"],
    "forwarded": ["for=203.0.113.9;proto=https"],
    "x-forwarded-proto": ["https"],
    "x-forwarded-prefix": ["/asr"],
}


def seen(peer: str, proxies: tuple[str, ...] = PROXIES, **headers: str | list[str]) -> tuple[str, bool, str]:
    given = {name.replace("_", "-"): [v] if isinstance(v, str) else v for name, v in headers.items()}
    found = passed_on(peer, lambda name: given.get(name, []), proxies)
    return found.client, found.tls, found.prefix


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.0.0.1", "127.0.0.1", "::1", ""])
def test_without_a_trusted_proxy_no_header_changes_anything(peer: str) -> None:
    assert passed_on(peer, lambda name: FORGED.get(name, []), ()).client == peer
    untrusted = passed_on(peer, lambda name: FORGED.get(name, []), ("192.0.2.0/30",))
    assert (untrusted.client, untrusted.tls, untrusted.prefix, untrusted.believed) == (peer, False, "", False)


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),  # what a client wrote before its own address
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.2.3.4", "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("10.0.0.1", "10.0.0.7, 10.0.0.8", "10.0.0.7"),  # everybody is trusted: the farthest
        ("", "198.51.100.1", "198.51.100.1"),
        ("::1", "198.51.100.1", "::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:51234", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7%eth0", "2001:db8::7"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, _x, 10.0.0.9", "10.0.0.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1\x00", "10.0.0.1"),
        ("10.0.0.1", "1" * 5000, "10.0.0.1"),
        ("10.0.0.1", "[" * 5000, "10.0.0.1"),
        ("not an address", "198.51.100.1", "not an address"),
    ],
)
def test_the_client_is_the_first_address_from_the_end_that_is_no_trusted_proxy(
    peer: str, header: str | list[str], client: str
) -> None:
    assert seen(peer, x_forwarded_for=header)[0] == client


@pytest.mark.parametrize(
    ("header", "client", "tls"),
    [
        ("for=198.51.100.1;proto=https", "198.51.100.1", True),
        ('for="[2001:db8::7]:4711"; Proto=HTTPS', "2001:db8::7", True),
        ("for=203.0.113.9;proto=https, for=198.51.100.1;proto=http", "198.51.100.1", False),
        ("proto=https", "10.0.0.1", True),
        ('for="x, for=198.51.100.1', "198.51.100.1", False),  # a quote that a client opened swallows nothing
        ("for=unknown", "10.0.0.1", False),
        (";" * 5000, "10.0.0.1", False),
    ],
)
def test_forwarded_is_read_where_there_is_no_x_forwarded_for(header: str, client: str, tls: bool) -> None:
    assert seen("10.0.0.1", forwarded=header)[:2] == (client, tls)
    assert seen("10.0.0.1", forwarded=header, x_forwarded_for="198.51.100.2")[0] == "198.51.100.2"


def test_a_list_of_any_length_costs_as_much_as_its_end() -> None:
    assert seen("10.0.0.1", x_forwarded_for="198.51.100.1, " + "10.0.0.2," * 10_000 + "10.0.0.3")[0] == "10.0.0.2"
    last = ", ".join(["198.51.100.1", *["10.0.0.2"] * (MAX_HOPS - 1)])
    assert seen("10.0.0.1", x_forwarded_for=last)[0] == "198.51.100.1"


@pytest.mark.parametrize(
    ("proto", "tls"), [("https", True), ("HTTPS", True), ("http", False), ("https, http", False), ("http,https", True)]
)
def test_the_last_proxy_has_the_word_about_tls(proto: str, tls: bool) -> None:
    assert seen("10.0.0.1", x_forwarded_proto=proto)[1] is tls


@pytest.mark.parametrize("prefix", ["/asr", "/asr/", "/evil, /asr"])
def test_the_prefix_is_that_of_the_last_proxy(prefix: str) -> None:
    assert seen("10.0.0.1", x_forwarded_prefix=prefix)[2] == "/asr"


def test_an_entry_is_an_address_or_a_network_or_unix() -> None:
    assert [check_proxy(text) for text in ("10.0.0.5/32", "10.0.0.0/8", "FD00::/8", "unix")] == [
        "10.0.0.5",
        "10.0.0.0/8",
        "fd00::/8",
        "unix",
    ]
    mapped = ("::ffff:10.0.0.5", "::FFFF:a00:5/128", "::ffff:10.0.0.0/104", "::ffff:0:0/96")
    assert [check_proxy(text) for text in (*mapped, "::/0")] == [
        "10.0.0.5",
        "10.0.0.5",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
    ]
    for entry in mapped:
        for peer in ("10.0.0.5", "::ffff:10.0.0.5"):
            assert seen(peer, (entry,), x_forwarded_for="192.0.2.1")[0] == "192.0.2.1"
    for wrong in ("*", "", "proxy", "10.0.0.1/8", "10.0.0.1:80"):
        with pytest.raises(ValueError, match="an address or a network"):
            check_proxy(wrong)
