"""What each client of a fleet's NATS server may do, and the file in which the server reads it. Pure.

A machine reads the record and the files, and writes one subject: its own report. Invariant: no right of a machine is
about a subject of another one. The accounts of etc/fleet/nats.conf keep the answers to machines apart as well.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from .nats_names import FLEET, LEASE, MODELS, PROGRESS, RECORD, REPORTS, inbox

Role = Literal["machine", "keeper", "operator"]
FILES: Final[dict[Role, str]] = {"machine": "machines.conf", "keeper": "operators.conf", "operator": "operators.conf"}
_HEAD: Final = "# written by `modelward fleet admit`; then: nats-server --signal reload\nusers = "
NOBODY: Final = f"{_HEAD}[]\n"
"""A file without users."""
_READS: Final = [f"$JS.API.DIRECT.GET.KV_{FLEET}", f"$JS.API.DIRECT.GET.OBJ_{MODELS}"]


class BadUsers(ValueError):
    """Not a file of users; the text gives the reason."""


def rights(role: Role, name: str) -> dict[str, Any]:
    """The permissions of one client, as the server reads them."""
    own = [f"$KV.{REPORTS}.{name}"]
    hears = [f"{inbox(name)}.>", RECORD, PROGRESS]
    sends = {
        "machine": _READS + own,
        "keeper": [
            *_READS, *own, f"$JS.API.DIRECT.GET.KV_{REPORTS}", f"$JS.API.STREAM.INFO.KV_{REPORTS}", PROGRESS, LEASE,
        ],
        "operator": ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>"],
    }[role]  # fmt: skip
    return {"publish": {"allow": sends}, "subscribe": {"allow": hears}}


def with_user(text: str, role: Role, name: str, public_key: str) -> str:
    """The file with this client, in place of one with the same name. Raises BadUsers."""
    return _written([*_others(text, name), {"nkey": public_key, "permissions": rights(role, name)}])


def without_user(text: str, name: str) -> str:
    """The file without this client; the same text where it has none of this name. Raises BadUsers."""
    kept = _others(text, name)
    return text if len(kept) == len(_users(text)) else _written(kept)


def _written(users: list[dict[str, Any]]) -> str:
    lines = ",\n".join(f"  {json.dumps(user)}" for user in users)
    return f"{_HEAD}[\n{lines}\n]\n" if users else NOBODY


def _users(text: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(text.partition("users = ")[2]) if text.strip() else []
        return [user for user in found if _inbox(user)]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as e:
        raise BadUsers("it was not written by `modelward fleet admit`") from e


def _others(text: str, name: str) -> list[dict[str, Any]]:
    return [user for user in _users(text) if _inbox(user) != f"{inbox(name)}.>"]


def _inbox(user: dict[str, Any]) -> str:
    return str(user["permissions"]["subscribe"]["allow"][0])
