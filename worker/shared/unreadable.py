"""What msgspec raises for what is not as expected: damaged bytes, values of another kind, or nested too deeply.

What others sent is decoded and converted under `except UNREADABLE`. A list of one's own forgets one of them: brackets
in brackets raise RecursionError, and half a surrogate, which JSON may hold, raises UnicodeEncodeError when it is
converted.
"""

from __future__ import annotations

from typing import Final

from msgspec import MsgspecError

UNREADABLE: Final = (MsgspecError, UnicodeError, RecursionError)
