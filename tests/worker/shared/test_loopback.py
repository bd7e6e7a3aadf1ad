"""One answer to whether an address is this machine's own, for the service, the panel and the configuration."""

from __future__ import annotations

import pytest

from modelward.worker.shared.loopback import is_loopback, is_this_machine


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_knows_this_machine_by_its_addresses(host: str) -> None:
    assert is_loopback(host) and is_this_machine(host)


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "::ffff:10.0.0.1", "0.0.0.0", "::", "localhost.example", "", "127.0.0.1 ", "١٢٧.0.0.1", "127.1"],
)
def test_nothing_else_is_this_machine(host: str) -> None:
    assert not is_loopback(host) and not is_this_machine(host)


def test_localhost_is_a_name_that_people_write_and_no_clients_address() -> None:
    assert is_this_machine("localhost") and not is_loopback("localhost")
