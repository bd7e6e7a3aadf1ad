"""What pyproject.toml asks for, each at the oldest release that it allows. Pure."""

from __future__ import annotations

import re
import tomllib

_FLOOR = re.compile(r"([A-Za-z0-9_.\-]+(?:\[[a-z,]+\])?)(?:[>~]=((?:[0-9]+!)?[0-9.]+))?")


def pins(pyproject: str) -> list[str]:
    """`name==version` for every dependency, extra and tool of the tests; a name alone where there is no floor.

    Raises ValueError for a requirement that is neither.
    """
    asked = tomllib.loads(pyproject)
    lists = [asked["project"]["dependencies"], *asked["project"]["optional-dependencies"].values()]
    lists.append(asked["dependency-groups"]["dev"])
    return sorted({_pin(requirement) for requirements in lists for requirement in requirements})


def _pin(requirement: str) -> str:
    found = _FLOOR.fullmatch(requirement.split(";")[0].strip())
    if found is None:
        raise ValueError(
            f"cannot tell the floor of {requirement!r}: it is not of the form name>=version or name~=version"
        )
    name, floor = found.groups()
    return f"{name}=={floor}" if floor else name
