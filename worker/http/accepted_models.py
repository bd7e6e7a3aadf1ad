"""Decides whether the model name that a client sends on OpenAI's routes means the model that is served here.

Pure. Many clients have a built-in name, or one from a catalog. Accepted are names of SenseVoice, in any spelling and
under any organisation, and the names of plain transcription at OpenAI and Groq. It must refuse a name that promises
more than text and times, and the name of another version. Invariant: a refused name is answered with 404.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from .model_names import answers_to

STAND_IN: Final = "whisper-1"
_SEPARATORS: Final = re.compile(r"[-_. ]+")
_FAMILY: Final = "sensevoice"
_FIXED: Final = re.compile(
    r"whisper(-1)?"
    r"|(faster-)?whisper-large(-v\d+)?(-turbo)?"
    r"|gpt-4o(-mini)?-transcribe(-\d{4}-\d{2}-\d{2})?"
)


def is_accepted(name: str, version: str, aliases: Collection[str]) -> bool:
    """Whether `version` answers requests for `name`; "" is accepted. `aliases` are the operator's further names."""
    asked = name.strip().casefold()
    if not asked:
        return True
    bare = asked.rpartition("/")[2]  # without the organisation: FunAudioLLM/SenseVoiceSmall
    known = {alias.casefold() for alias in aliases}
    return (
        asked in known
        or bare in known
        or any(answers_to(wanted, version.casefold()) for wanted in (asked, bare))
        or _FAMILY in _SEPARATORS.sub("", bare)
        or _FIXED.fullmatch(bare) is not None
    )
