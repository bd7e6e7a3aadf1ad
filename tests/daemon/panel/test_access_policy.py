"""Who may ask the panel: the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.panel.access_policy import (
    Access,
    PanelRequest,
    Rules,
    host_name,
    is_forwarded,
    is_ours,
    refusal,
)

LOCAL = Rules(frozenset({"box"}), asks=False)
ASKS = Rules(frozenset({"box"}))
HERE = "127.0.0.1:5000"


def kind(asked: PanelRequest, rules: Rules) -> str:
    found = refusal(asked, rules)
    return found.kind if found else ""


def read(**more: object) -> PanelRequest:
    return PanelRequest(Access.READ, **{"host": HERE, **more})  # type: ignore[arg-type]


def change(**more: object) -> PanelRequest:
    return PanelRequest(Access.CHANGE, **{"host": HERE, "write": True, "marked": True, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "rules", "expected"),
    [
        (read(), LOCAL, ""),
        (read(), ASKS, "token_missing"),
        (read(known=True), ASKS, ""),
        (change(), LOCAL, ""),
        (change(), ASKS, "token_missing"),
        (change(known=True), ASKS, ""),
        (change(marked=False), LOCAL, "header_missing"),
        (change(marked=False, known=True), ASKS, "header_missing"),
        (change(marked=False, bearer=True, known=True), ASKS, ""),
        (change(origin="http://127.0.0.1:5000"), LOCAL, ""),
        (change(origin="https://127.0.0.1:5000"), LOCAL, ""),
        (change(origin="http://127.0.0.1:7860"), LOCAL, "cross_site"),
        (change(origin="http://evil.example", known=True), ASKS, "cross_site"),
        (change(origin="null"), LOCAL, "cross_site"),
        (change(origin="file://"), LOCAL, "cross_site"),
        (change(site="same-origin"), LOCAL, ""),
        (change(site="same-site"), LOCAL, "cross_site"),
        (change(site="cross-site"), LOCAL, "cross_site"),
        (read(site="cross-site"), LOCAL, "cross_site"),
        (read(site="none"), LOCAL, ""),
        (PanelRequest(Access.OPEN, HERE, site="cross-site"), ASKS, ""),
        (PanelRequest(Access.OPEN, HERE, site="cross-site", write=True, marked=True), ASKS, "cross_site"),
        (PanelRequest(Access.OPEN, HERE, write=True), ASKS, "header_missing"),
        (PanelRequest(Access.OPEN, "evil.example"), ASKS, "wrong_host"),
    ],
)
def test_takes_up_what_it_should_and_nothing_else(asked: PanelRequest, rules: Rules, expected: str) -> None:
    assert kind(asked, rules) == expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:5000", "[::1]:8080", "localhost:9", "LOCALHOST", "box", "Box.:80", "a.localhost"]
)
def test_knows_its_own_names_whatever_the_port_of_a_tunnel(host: str) -> None:
    assert is_ours(host, frozenset({"box"}))


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "a@127.0.0.1", "127.0.0.1/x", "[::1",
     "127.0.0.1:x", "127.0.0.1, evil.example", "notlocalhost", "0x7f.1", "box evil"],
)  # fmt: skip
def test_takes_no_other_name_for_its_own(host: str | None) -> None:
    assert not is_ours(host, frozenset({"box"}))


@given(st.text(max_size=60), st.one_of(st.none(), st.text(max_size=60)), st.one_of(st.none(), st.text(max_size=20)))
def test_never_fails_and_never_lets_a_stranger_change_anything(host: str, origin: str | None, site: str | None) -> None:
    asked = PanelRequest(Access.CHANGE, host, origin, site, marked=True, write=True)
    assert refusal(asked, ASKS) is not None
    host_name(host)


@pytest.mark.parametrize(
    "names", [["x-forwarded-for"], ["x-forwarded-proto"], ["forwarded"], ["x-real-ip"], ["host", "via"]]
)
def test_knows_a_request_that_was_passed_on(names: list[str]) -> None:
    assert is_forwarded(names)
    assert not is_forwarded(["host", "accept", "user-agent", "x-modelward"])
