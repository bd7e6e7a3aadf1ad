"""`modelward fleet admit NAME` and `expel NAME`: a key for one client of a fleet's NATS server, and its rights.

The secret goes to the client, the file of users to the server. Invariant: no secret is in the server's file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ...worker.shared.durable_files import replace_file, write_new
from ..config.fleet_checks import MACHINE_NAME
from ..errors import BadUsage, Refused
from ..fleet.engines import INSTALL
from ..fleet.nats_names import OPERATOR
from ..fleet.nats_rights import FILES, NOBODY, BadUsers, Role, with_user, without_user
from ..system.safe_read import open_regular
from .language import say
from .render import clean

MAX_USERS_BYTES = 256 << 20


def admit(name: str, role: Role, directory: Path) -> int:
    """0 done. Raises BadUsage and Refused."""
    if not MACHINE_NAME.fullmatch(name):
        raise BadUsage("cannot run modelward fleet admit: it needs NAME, as fleet.name has it, or operator")
    if (name == OPERATOR) != (role == "operator"):
        raise BadUsage("cannot run modelward fleet admit: operator and --role operator belong together")
    seed, users = directory / f"{name}.nk", directory / FILES[role]
    try:
        secret, public = _pair()
        try:
            with open_regular(users) as file:
                text = file.read(MAX_USERS_BYTES).decode()
        except FileNotFoundError:
            text = ""
        text = with_user(text, role, name, public)
        write_new(seed, secret, 0o600)
        for other in set(FILES.values()) - {users.name}:
            if not (directory / other).exists():  # the server includes both
                replace_file(directory / other, NOBODY.encode(), 0o644)
        replace_file(users, text.encode(), 0o644)
    except FileExistsError as e:
        raise Refused(f"cannot admit {name}: {clean(e.filename)} is there already") from e
    except (BadUsers, UnicodeDecodeError) as e:
        raise Refused(f"cannot admit {name}: {clean(users)}: {e}") from e
    except OSError as e:
        raise Refused(f"cannot admit {name}: {clean(e.filename)}: {e.strerror}") from e
    if role == "operator":
        say(f"the secret of {name} is in {clean(seed)}: it stays here; --credentials takes it")
    else:
        say(f"the secret of {name} is in {clean(seed)}: it goes to that machine, as fleet.credentials")
    say(f"its rights are in {clean(users)}: it goes to the server; then nats-server --signal reload")
    return 0


def expel(name: str, directory: Path) -> int:
    """Takes the rights of a client away; 0 done. Raises BadUsage and Refused."""
    if not MACHINE_NAME.fullmatch(name):
        raise BadUsage("cannot run modelward fleet expel: it needs NAME, as it was admitted")
    changed = [path for path in (directory / file for file in sorted(set(FILES.values()))) if _left(name, path)]
    if not changed:
        raise Refused(f"cannot expel {name}: no file of users in {clean(directory)} has it; --dir says where they are")
    with suppress(OSError):  # its secret opens nothing any more, and the name may be admitted again
        (directory / f"{name}.nk").unlink()
    for path in changed:
        say(f"{name} is no longer in {clean(path)}: it goes to the server; then nats-server --signal reload")
    say(f"the reload ends its connection; `modelward fleet forget {name}` removes its report")
    return 0


def _left(name: str, users: Path) -> bool:
    """Takes a client out of a file of users; False where it is not in it."""
    try:
        with open_regular(users) as file:
            text = file.read(MAX_USERS_BYTES).decode()
        if (others := without_user(text, name)) == text:
            return False
        replace_file(users, others.encode(), 0o644)
    except FileNotFoundError:
        return False
    except (BadUsers, UnicodeDecodeError) as e:
        raise Refused(f"cannot expel {name}: {clean(users)}: {e}") from e
    except OSError as e:
        raise Refused(f"cannot expel {name}: {clean(e.filename)}: {e.strerror}") from e
    return True


def _pair() -> tuple[bytes, str]:
    """A seed and its public key."""
    try:
        import nkeys
    except ImportError as e:
        raise Refused(f"cannot make a key for the server: {INSTALL}") from e
    seed = bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    return seed + b"\n", nkeys.from_seed(bytearray(seed)).public_key.decode()
