"""Wrong tokens are told and logged one by one only so often, for one address and for many."""

from __future__ import annotations

from modelward.daemon.panel.rate_limit import (
    RETURN_SECONDS,
    TRIES,
    TRIES_OF_ALL,
    LoginAttempts,
    place,
)


def test_gives_a_few_tries_and_one_back_after_a_while() -> None:
    attempts = LoginAttempts()
    for _ in range(TRIES):
        assert attempts.wait_seconds("10.0.0.1", 100.0) == 0
        attempts.failed("10.0.0.1", 100.0)
    assert attempts.wait_seconds("10.0.0.1", 100.0) == RETURN_SECONDS
    assert attempts.wait_seconds("10.0.0.2", 100.0) == 0
    assert attempts.wait_seconds("10.0.0.1", 100.0 + RETURN_SECONDS) == 0
    attempts.failed("10.0.0.1", 100.0 + RETURN_SECONDS)
    assert attempts.wait_seconds("10.0.0.1", 100.0 + RETURN_SECONDS) > 0


def test_slows_many_addresses_together_and_forgets_the_oldest() -> None:
    attempts = LoginAttempts()
    for number in range(TRIES_OF_ALL):
        attempts.failed(f"10.0.{number}.1", 50.0)
    assert attempts.wait_seconds("192.0.2.1", 50.0) > 0
    assert attempts.wait_seconds("192.0.2.1", 60.0) == 0
    for number in range(5000):
        attempts.failed(f"10.1.{number // 256}.{number % 256}", 5000.0 + number)
    assert len(attempts._by_place) <= 1000


def test_counts_an_ipv6_network_as_one_guest() -> None:
    assert place("2001:db8::1") == place("2001:db8::ffff:1") != place("2001:db8:0:1::1")
    assert place("::ffff:10.0.0.1") == place("10.0.0.1")
    assert place("fe80::1%eth0") == place("fe80::2")
    assert place("unix") == "unix"
