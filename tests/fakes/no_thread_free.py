"""An event loop whose threads all wait, as on a disk that hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def no_thread_free() -> Iterator[None]:
    """Inside, whatever the running loop gives to a thread waits."""
    threads, release = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(release.wait)
    try:
        yield
    finally:
        release.set()
