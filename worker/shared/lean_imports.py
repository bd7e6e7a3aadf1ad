"""Imports what a process needs at its start with less memory and less time.

Libraries import much that no process of ours uses: TLS, a command line, an HTTP client. What is never used is left out,
what is used seldom is loaded when it is used. And the collector reads all objects of imported modules again and again,
although they stay: a fifth of the time, to free one part in seventy.
"""

from __future__ import annotations

import gc
import importlib
import sys
from _thread import allocate_lock
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

SELDOM: Final = (
    "ssl",
    "asyncio.sslproto",
    "http.client",
    "http.cookies",
    "logging.config",
    "bz2",
    "lzma",
    "calendar",
    "locale",
    "tokenize",
    "zoneinfo",
)
"""Modules of the standard library that others import at once, and that a daemon or a worker mostly never uses."""
READ_BEFORE: Final = {"ssl": {"CERT_NONE": 0, "PROTOCOL_TLS_SERVER": 17, "SSLSocket": type("SSLSocket", (), {})}}
"""What others read of late modules though they don't use them. Uvicorn: defaults of its options, which OpenSSL does not
change. The event loop: the class that no socket has yet.
"""
BUILTIN_HASHES: Final = (("_md5",), ("_sha1",), ("_sha2", "_sha256"), ("_sha2", "_sha512"), ("_sha3",), ("_blake2",))
"""Python's own hash functions, by their modules. A distribution may have left them out."""
_CHANGE: Final = allocate_lock()


@contextmanager
def lasting() -> Iterator[None]:
    """What is imported inside is never checked for garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class LateModule(ModuleType):
    """Stands for a module that is loaded when an attribute of it is used for the first time."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system reads these; they are no reason to load it
        with _CHANGE:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)  # one thread loads it, others wait in there
        vars(self).update(vars(module))
        return getattr(module, name)


def import_less(*, openssl_hashes: bool = True) -> None:
    """Prepares or does the imports below. To be called before anything else imports asyncio or a library of them.

    `openssl_hashes`: whether the process hashes so much that OpenSSL, which is five times as fast, is worth 4 MB.
    """
    import_late(*SELDOM)
    if not openssl_hashes:
        _import_hashlib()
    _import_structlog()
    _import_uvicorn()


def quick_sha256() -> Any:
    """OpenSSL's SHA-256, also in a process that left OpenSSL out; Python's own where there is no OpenSSL."""
    try:
        return importlib.import_module("_hashlib").openssl_sha256()
    except (ImportError, ValueError):
        return importlib.import_module("hashlib").sha256()


def import_late(*names: str) -> None:
    """From now on these are loaded when they are used. Those that are loaded already stay as they are."""
    for name in names:
        if name in sys.modules:
            continue
        late = sys.modules[name] = LateModule(name)
        vars(late).update(READ_BEFORE.get(name, {}))
        package, _, last = name.rpartition(".")
        if package and package != "asyncio":  # that one imports its parts itself, and finds this one there
            setattr(importlib.import_module(package), last, late)


def _import_structlog() -> None:
    """Structlog without rich, where neither is loaded yet: 12 MB that no log line uses."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    with _without("rich", "greenlet"):
        importlib.import_module("structlog")


def _import_uvicorn() -> None:
    """Uvicorn without its command line, its reloader and TLS, where it is not loaded yet."""
    if "uvicorn" in sys.modules or (spec := find_spec("uvicorn")) is None:
        return
    package = sys.modules["uvicorn"] = module_from_spec(spec)  # not run: it imports the command line
    for part, name in (("config", "Config"), ("server", "Server")):
        setattr(package, name, getattr(importlib.import_module(f"uvicorn.{part}"), name))


def _import_hashlib() -> None:
    """Hashes without OpenSSL, where Python has its own: 4 MB, for a process that hashes little."""
    if "hashlib" in sys.modules or not all(any(map(find_spec, names)) for names in BUILTIN_HASHES):
        return
    with _without("_hashlib"):
        for name in ("hashlib", "hmac", "secrets"):
            importlib.import_module(name)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """An import of these fails inside as if they were not installed, unless they are loaded already."""
    missing = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type] # None makes an import fail
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
