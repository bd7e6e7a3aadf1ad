"""Checks for the keys about proxies: base path, trusted proxies, host names; like those of `validators`.

Pure. What a base path and a proxy's address are is decided by the modules that use them.
"""

from __future__ import annotations

import re
from typing import Final

from ...worker.shared.base_path import check_base_path
from ...worker.shared.trusted_proxies import check_proxy
from ..units import describe
from .validators import text_check

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


def _base_path(text: str) -> str:
    try:
        return check_base_path(text)
    except ValueError as e:
        raise ValueError(f"{describe(text)} cannot be a base path; {e}") from None


def _proxy(text: str) -> str:
    try:
        return check_proxy(text)
    except ValueError as e:
        raise ValueError(f"{describe(text)} is no proxy's address; {e}") from None


def _host_name(text: str) -> str:
    """As browsers send it, without a port: any port is one of ours."""
    name = text.lower().removesuffix(".")
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f'{describe(text)} is no host name; a name without scheme and port, like "ops.example.org"')
    return name


base_path = text_check(_base_path)
proxy = text_check(_proxy)
host_name = text_check(_host_name)
