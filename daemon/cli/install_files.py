"""The files of an installation, their places, and whether this copy of the package can run as a
service.

Files are written completely or not at all. It starts and stops nothing except by `do`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from ...worker.shared.durable_files import replace_file
from ..errors import Refused
from ..system.processes import finish

PACKAGE: Final = Path(__file__).resolve().parents[2]
"""The directory that holds daemon/, worker/, systemd/ and etc/: of the package, or of a checkout."""
UNITS: Final = ("modelward.socket", "modelward.service")
FILES: Final = {
    "systemd/modelward.service": "etc/systemd/system/modelward.service",
    "systemd/modelward.socket": "etc/systemd/system/modelward.socket",
    "systemd/modelward@.service": "etc/systemd/system/modelward@.service",
    "systemd/modelward@.socket": "etc/systemd/system/modelward@.socket",
    "systemd/handover": "usr/local/lib/modelward/handover",
    "systemd/sysusers.d/modelward.conf": "etc/sysusers.d/modelward.conf",
    "systemd/tmpfiles.d/modelward.conf": "etc/tmpfiles.d/modelward.conf",
}
COMMAND: Final = "usr/local/bin/modelward"
ON_PATH: Final = (Path("/usr/bin"), Path("/usr/local/bin"))
MANUALS: Final = ("share/man/man1/modelward.1", "share/man/man5/modelward.toml.5")
CONFIG: Final = ("etc/modelward.toml", "etc/modelward/modelward.toml")
LAUNCHER: Final = "/usr/bin/modelward"
"""What stands in the units as we ship them."""
HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""What the service does not see: ProtectHome= and PrivateTmp=."""


class InstallStep(NamedTuple):
    """One thing that was done, for people."""

    what: str
    about: str

    def __str__(self) -> str:
        return f"{self.what}: {self.about}"


def refuse(sentence: str) -> NoReturn:
    """Raises Refused."""
    raise Refused(sentence)


def need_root(verb: str) -> None:
    """Raises Refused for any other user."""
    if os.geteuid() != 0:
        refuse(f"cannot {verb}: it writes to /etc; run it as root, or with --prefix DIR")


def launcher(*, check: bool = True) -> str:
    """The command that starts this copy of the package. Raises Refused when the service could not run it."""
    program = Path(sys.executable).with_name("modelward")
    if not check:
        return str(program) if program.is_file() else LAUNCHER
    if not os.access(program, os.X_OK):
        refuse(
            f"cannot install: {program} is not there, so this copy of the package can't be started by name; "
            "install it with pip into an environment of its own, say /opt/modelward"
        )
    for path in (program, Path(sys.base_prefix), PACKAGE):
        if why := _unseen(path):
            refuse(
                f"cannot install: the service runs as the user modelward, which can't read {path} ({why}); "
                "install the package into an environment of its own, say /opt/modelward"
            )
    return str(program)


def _unseen(path: Path) -> str:
    for place in (path, path.resolve()):
        for hidden in HIDDEN:
            if place.is_relative_to(hidden):
                return f"{hidden} is out of its sight"
        for directory in (place, *place.parents):
            if directory.is_dir() and not stat.S_IMODE(directory.stat().st_mode) & stat.S_IXOTH:
                return f"{directory} is closed to others"
    return ""


def write_all(root: Path, program: str) -> Iterator[InstallStep]:
    """Writes every file below `root`. Raises Refused, with what was written before left as it is."""
    for source, target in FILES.items():
        text = _shipped(source).replace(LAUNCHER, program)
        yield _write(root / target, text)
    source, target = CONFIG
    if os.path.lexists(root / target):
        yield InstallStep("kept", f"{root / target} is yours")
    else:
        yield _write(root / target, _shipped(source))


def link_all(root: Path, program: str) -> Iterator[InstallStep]:
    """Puts the command and its manual pages on the paths that shells and man search. What is there and is no link of
    ours stays. Raises Refused.
    """
    if Path(program).parent in ON_PATH:
        return
    yield _linked(root / COMMAND, Path(program))
    for page in MANUALS:
        if (source := Path(program).parents[1] / page).is_file():
            yield _linked(root / "usr/local" / page, source)


def _linked(path: Path, target: Path) -> InstallStep:
    if path.exists() and os.path.realpath(path) == os.path.realpath(target):
        return InstallStep("unchanged", str(path))
    if os.path.lexists(path) and not _is_our_link(path):
        return InstallStep("kept", f"{path} is no link of ours; the command is {target}")
    aside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.replace(path)
    except OSError as e:
        raise Refused(f"cannot write {path}: {e.strerror}; what was written before stays") from e
    return InstallStep("linked", f"{path} to {target}")


def _is_our_link(path: Path) -> bool:
    """Whether it is a link into an environment that has the package: to a file of the same name in its bin or share."""
    try:
        target = Path(os.readlink(path))
    except OSError:
        return False
    return target.is_absolute() and target.name == path.name and target.parent.name in ("bin", "man1", "man5")


def remove_all(root: Path) -> Iterator[InstallStep]:
    """Takes the units, the other files of ours and the links away. Raises Refused."""
    for target in FILES.values():
        path = root / target
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as e:
            refuse(f"cannot remove {path}: {e.strerror}")
        yield InstallStep("removed", str(path))
    for name in (COMMAND, *(f"usr/local/{page}" for page in MANUALS)):
        path = root / name
        if not _is_our_link(path):
            continue
        try:
            path.unlink()
        except OSError as e:
            refuse(f"cannot remove {path}: {e.strerror}")
        yield InstallStep("removed", str(path))


def _shipped(name: str) -> str:
    try:
        return (PACKAGE / name).read_text(encoding="utf-8")
    except OSError as e:
        raise Refused(f"cannot install: the package lacks {name}: {e.strerror}") from e


def _write(path: Path, text: str) -> InstallStep:
    try:
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return InstallStep("unchanged", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode(), 0o644)
        path.chmod(0o644)
    except OSError as e:
        raise Refused(f"cannot write {path}: {e.strerror}; what was written before stays") from e
    return InstallStep("wrote", str(path))


def systemd_runs() -> bool:
    """Whether systemd is what started this machine, as sd_booted(3) asks."""
    return Path("/run/systemd/system").is_dir()


def unit_is_there() -> bool:
    """Whether the units are where `write_all` puts them."""
    return os.path.lexists("/" + FILES["systemd/modelward.service"])


def service_runs() -> bool:
    """Whether the service is running already."""
    try:
        status, _ = finish(["systemctl", "is-active", "--quiet", "modelward.service"], seconds=30)
    except OSError:
        return False
    return status == 0


def instances() -> list[str]:
    """The instances of the template units that systemd has loaded."""
    command = [
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "modelward@*.service",
        "modelward@*.socket",
    ]
    status, text = finish(command, seconds=30)
    return [line.split()[0] for line in text.splitlines() if line.split()] if status == 0 else []


def do(what: str, *command: str, seconds: float = 60) -> InstallStep:
    """Runs a program of the system. Raises Refused with its output when it fails."""
    try:
        status, text = finish(command, seconds=seconds)
    except OSError as e:
        raise Refused(f"cannot run {command[0]}: {e.strerror}; {what}: not done") from e
    if status != 0:
        said = " ".join(text.split())[:1000] or "it did not say why"
        refuse(f"cannot run {' '.join(command)}: exit status {status}: {said}")
    return InstallStep("done", what)
