"""Translates what clients call the languages into our codes: codes, tags with script and region, and names.

Pure. It must not guess: a word that is in no table is no language. The region counts where it determines the spoken
language: in Hong Kong and Macao that is Cantonese. Invariant: each of our own codes means itself.
"""

from __future__ import annotations

import re
from typing import Final

AUTO: Final = "auto"
ENGLISH_NAMES: Final = {"zh": "chinese", "en": "english", "yue": "cantonese", "ja": "japanese", "ko": "korean"}
"""As Whisper's answers name them."""

_WORDS: Final = {
    AUTO: "auto none null nil undefined detect autodetect auto-detect automatic und mul multilingual 自动",
    "zh": "zh chinese mandarin cmn zho chi cn chs cht simplified-chinese traditional-chinese chinese-simplified "
    "chinese-traditional chinese-mandarin mandarin-chinese 中文 汉语 漢語 普通话 普通話 国语 國語 华语 華語 简体中文 "
    "繁體中文 繁体中文",
    "yue": "yue cantonese chinese-cantonese cantonese-chinese zh-yue zh-cantonese 粤语 粵語 广东话 廣東話",
    "en": "en english eng 英语 英語 英文",
    "ja": "ja japanese jpn jp 日语 日語 日文 日本語",
    "ko": "ko korean kor kr 韩语 韓語 韩文 한국어",
}
_CODES: Final = {word: code for code, words in _WORDS.items() for word in words.split()}
_CANTONESE_REGIONS: Final = frozenset({"hk", "mo"})
_SUBTAG: Final = re.compile(r"[a-z0-9]{2,8}", re.ASCII)
_SPACES: Final = re.compile(r"[\s_()]+")


def language_code(text: str) -> str:
    """The code for a client's name of a language; AUTO for ""; the text itself in lower case if it is unknown."""
    asked = _SPACES.sub("-", text.strip().strip("\"'<|>").lower()).strip("-")
    if not asked:
        return AUTO
    if asked in _CODES:
        return _CODES[asked]
    main, *rest = asked.split("-")
    code = _CODES.get(main, "")
    if code in ("", AUTO) or not rest or not all(_SUBTAG.fullmatch(part) for part in rest):
        return asked
    if code == "zh" and not _CANTONESE_REGIONS.isdisjoint(rest):
        return "yue"
    if code == "zh" and "yue" in rest:
        return "yue"
    return code
