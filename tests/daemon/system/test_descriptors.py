"""How many connections fit into the descriptors that there are."""

from __future__ import annotations

import pytest

from modelward.daemon.system.descriptors import LEAST, RESERVED, bounded


@pytest.mark.parametrize(
    ("limit", "expected"), [(1 << 20, 256), (1024, 256), (140, 30), (80, 12), (RESERVED, LEAST), (9, LEAST)]
)
def test_servers_share_what_the_daemon_does_not_need_itself(limit: int, expected: int) -> None:
    assert bounded(256, 0.3, limit) == expected
