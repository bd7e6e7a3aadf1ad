"""Long work gives way between its steps."""

from __future__ import annotations

import threading
import time

from modelward.worker.scheduling.pauses import STEP_SECONDS, Pauses


def test_after_a_step_without_the_processor_it_waits_about_as_long() -> None:
    pauses, never = Pauses(), threading.Event()
    pauses()
    never.wait(2 * STEP_SECONDS)  # others had the processor
    began = time.monotonic()
    pauses()
    assert time.monotonic() - began >= STEP_SECONDS
