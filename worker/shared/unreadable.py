"""What msgspec raises for bytes that are not what was expected: damaged, of another kind, or nested too deeply.

Bytes of others are decoded under `except UNREADABLE`. A list of one's own forgets one of them: brackets in brackets
raise RecursionError, which is no ValueError.
"""

from __future__ import annotations

from typing import Final

from msgspec import MsgspecError

UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
