"""Which processes a test started itself: others of the same run may have left some of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support import children


@pytest.fixture
def started() -> Callable[[], set[int]]:
    """The children of this process that were not there when the test began."""
    before = children()
    return lambda: children() - before
