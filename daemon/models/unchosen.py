"""Accepted versions that are not chosen automatically because their names cannot be compared, each with the command.

Pure. It lists only versions that came together with the live one or later. Invariant: a version that activation would
choose, or one that is clearly older, is not in the list.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from ..version_order import is_higher, why_unclear
from .activation_policy import Named, Standing, rivals
from .lifecycle import VersionState


def unchosen(versions: Iterable[Standing], live: Named | None, previous: Named | None = None) -> dict[str, str]:
    """The reason for each, by its name. To be used with `activation = "auto"` only. `previous` served before: the
    operator decided about it.
    """
    if live is None:
        return {}
    versions = tuple(versions)
    since = next((v.arrived for v in versions if v.name == live.name), 0.0)
    open_ones = [
        v
        for v in versions
        if v.state is VersionState.ACCEPTED and not v.held and v.digest != live.digest and v.name != live.name
    ]
    above = {v.name: v for v in open_ones if is_higher(v.name, live.name)}
    found = {}
    for version in open_ones:
        if version.name in above:
            others = rivals(version, above.values())
            than, why = (others[0], why_unclear(version.name, others[0])) if others else ("", "")
        elif version.arrived >= since and (previous is None or version.name != previous.name):
            than, why = live.name, why_unclear(version.name, live.name)
        else:
            continue
        if why:
            found[version.name] = _sentence(version.name, than, why)
    return found


def _sentence(name: str, than: str, why: str) -> str:
    quoted = shlex.quote(name)
    return (
        f"it cannot be told whether {name} or {than} is newer: {why}; `modelward activate {quoted}` makes it live, "
        f"`modelward hold {quoted}` leaves things as they are"
    )
