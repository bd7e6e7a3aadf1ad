"""Finds the trailing version of a name: `v1.2` of `sensevoice-v1.2`, `2024-07-17`, `1.2.3-rc1`.

Pure. The daemon orders versions by it, and a worker answers to it: both use this module.
"""

from __future__ import annotations

import re
from typing import Final

TRAILING: Final = re.compile(
    r"""(?: ^ | [-_.@+\ ] )                             # "int8", "wav2vec2" and "dev2" carry no version
        (?P<version>
        (?: v (?P<marked> [0-9]+ (?: [._][0-9]+ )* )    # v1, v1.10, v1_2
          | (?P<date> [0-9]{4} [-_] [0-9]{2} [-_] [0-9]{2} )
          | (?P<plain> [0-9]+ (?: \.[0-9]+ )* ) )       # 2, 1.2.3, 20240717
        (?: [-_.]? (?P<stage> dev | alpha | beta | preview | pre | rc | a | b ) [-_.]? (?P<step> [0-9]* ) )? ) \Z""",
    re.VERBOSE | re.IGNORECASE,
)
"""`search` it: the separator before the version belongs to the match, and not to the group `version`."""
