"""A job reports to listed addresses and to no other, however the address is written."""

from __future__ import annotations

import pytest

from modelward.worker.shared.callback_rules import BadCallback, check_address, check_entry, check_url

ENTRIES = ("https://hooks.example.org/asr/", "http://10.0.0.5:8080/done", "192.168.7.0/24", "https://one.example.org")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/asr/", "https://hooks.example.org/asr/a?b=c", "HTTPS://Hooks.Example.org:443/asr/x",
        "http://10.0.0.5:8080/done", "http://10.0.0.5:8080/done?id=1", "http://10.0.0.5:8080/done/more",
        "https://one.example.org", "https://one.example.org/anything", "https://hooks.example.org./asr/",
        "https://hooks.example.org/asr/%e4%bd%a0%e5%a5%bd%e3%80%82/a",
        "https://hooks.example.org/asr/a%20b;v=1//c/...", "https://hooks.example.org/asr/?to=..%2f..&x=%zz",
    ],
)  # fmt: skip
def test_what_begins_like_an_entry_is_allowed(url: str) -> None:
    check_url(url, ENTRIES)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/asr/", "https://hooks.example.org:8443/asr/", "https://hooks.example.org/asrx",
        "https://hooks.example.org/", "https://hooks.example.org.evil.net/asr/", "https://evil.net/hooks.example.org/asr/",
        "https://hooks.example.org@evil.net/asr/", "https://evil.net\\@hooks.example.org/asr/",
        "https://hooks.example.org/asr/..;/admin", "https://hooks.example.org/asr/..;a=b/admin",
        "https://hooks.example.org/asr/%252e%252e/admin", "https://hooks.example.org/asr/%c0%ae%c0%ae/admin",
        "https://hooks.example.org/asr/%u002e%u002e/admin", "https://hooks.example.org/asr/%25252525252e%25252525252e/admin",
        "https://hooks.example.org:0/asr/", "https://hooks.example.org/asr/%zz", "https://hooks.example.org/asr/x%252fy",
        "https://hooks.example.org/asr/..%20/admin", "https://hooks.example.org/asr/..%09/admin",
        "https://hooks.example.org/asr/...%20/admin", "https://hooks.example.org/asr/..,/admin",
        "https://hooks.example.org/asr/%ef%bc%8e%ef%bc%8e/admin", "https://hooks.example.org/asr/%e3%80%82%e3%80%82/admin",
        "https://hooks.example.org/asr/%ef%bd%a1./admin", "https://hooks.example.org/asr/%e2%80%a5/admin",
        "https://hooks.example.org/asr/..%ef%bc%8fadmin", "https://hooks.example.org/asr/..%ef%bc%9ba=b/admin",
        "https://hooks.example.org/asr/%ef%bc%85%32%65%ef%bc%852e/admin",
        "https://hooks.example.org/asr/x%0d%0aHost:1", "https://hooks.example.org/asr/..%3f/admin",
        "https://hooks.example.org/asr/../admin", "https://hooks.example.org/asr/%2e%2e/admin",
        "https://hooks.example.org/asr/%2E./admin", "https://hooks.example.org/asr/..%2fadmin", "https://hooks.example.org/asr/#x",
        "https://user:pw@hooks.example.org/asr/", "http://10.0.0.5:8080/donext", "http://10.0.0.5/done",
        "//hooks.example.org/asr/",
        "http://167772165:8080/done", "http://0x0a000005:8080/done", "http://[::ffff:10.0.0.5]:8080/done",
        "ftp://hooks.example.org/asr/", "file:///etc/passwd", "gopher://10.0.0.5:8080/done", "", "https://", "https:///asr/",
        "https://hooks.example.org:99999/asr/", "https://hooks.example.org/asr/\r\nX: y", " https://hooks.example.org/asr/",
        "https://hooks.example.org/asr/\x00", "https://h\u043eoks.example.org/asr/", "https://192.168.7.9/", "http://192.168.7.0/24",
        "https://hooks.example.org/asr/" + "a" * 1100,
    ],
)  # fmt: skip
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(BadCallback):
        check_url(url, ENTRIES)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "192.168.7.1"])
def test_public_addresses_and_listed_networks_are_reached(address: str) -> None:
    check_address(address, check_url("https://one.example.org/x", ENTRIES), ENTRIES)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.5", "172.16.0.1", "192.168.8.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1", "5f00::1",
        "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "ff02::1",
    ],
)  # fmt: skip
def test_a_name_that_leads_into_a_private_network_is_refused(address: str) -> None:
    with pytest.raises(BadCallback):
        check_address(address, check_url("https://one.example.org/x", ENTRIES), ENTRIES)


def test_an_address_that_an_entry_names_itself_is_listed_with_it() -> None:
    check_address("10.0.0.5", check_url("http://10.0.0.5:8080/done", ENTRIES), ENTRIES)
    with pytest.raises(BadCallback):
        check_address("10.0.0.6", check_url("http://10.0.0.5:8080/done", ENTRIES), ENTRIES)


def test_an_entry_that_says_nothing_useful_is_a_mistake() -> None:
    assert not any(map(check_entry, ENTRIES))
    for entry in ("", "example.org", "https://a@b/", "10.0.0.0/99", "https://x/../y", "*", "https://*.example.org\\"):
        assert check_entry(entry), entry
