"""Runs the pod of a built manifest as a kubelet would, in a mount namespace: its volumes, its user, its rights.

The image is this machine: its programs, this interpreter and this checkout, all of it read-only. What a container
runtime adds to that (a network, the profile of seccomp) is left out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from tests.roots import project
from tests.support import PATIENCE_SECONDS

BOOT = r"""
root=$1/root
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$root" "$1/volumes"
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir dev proc etc image
mount --rbind /dev dev
mount -t proc proc proc
for name in bin sbin lib lib32 lib64 usr; do
  if [ -h /$name ]; then cp -a /$name .; elif [ -d /$name ]; then mkdir $name && mount --rbind -o ro /$name $name; fi
done
cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.* etc/
for place in $2; do mkdir -p ".$place" && mount --bind -o ro "$place" ".$place"; done
install -m 755 "$3" image/modelward
while read -r source path options; do mkdir -p ".$path" && mount --bind -o "$options" "$source" ".$path"; done < "$4"
mount -o remount,ro "$root"
shift 4
exec chroot "$root" /usr/bin/env -i PATH=/image:/usr/bin:/bin "$@"
"""


def pod_command(
    place: Path, spec: Mapping[str, Any], *, files: Mapping[str, Mapping[str, bytes]], model: Path
) -> list[str]:
    """The command that becomes the container's first process. `files` are the contents of ConfigMaps and Secrets by
    the volume's name, `model` is the directory behind any other volume that is read-only.
    """
    (container,) = spec["containers"]
    ids = spec["securityContext"]
    uid, gid, group = ids["runAsUser"], ids["runAsGroup"], ids["fsGroup"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    lines = []
    for mount in container["volumeMounts"]:
        name, read_only = mount["name"], mount.get("readOnly", False)
        source = place / "volumes" / name
        if name in files:
            source.mkdir(parents=True)
            project(source, dict(files[name]))
            mode = volumes[name].get("secret", {}).get("defaultMode", 0o644)
            for file in source.glob("..2*/*"):
                os.chown(file, 0, group)
                file.chmod(mode)
        elif "emptyDir" in volumes[name]:
            source.mkdir(parents=True)
            os.chown(source, 0, group)
            source.chmod(0o2777)
        else:
            source = model
        lines.append(f"{source} {mount['mountPath']} {'ro' if read_only else 'rw'}\n")
    (place / "mounts").write_text("".join(lines))
    repository = Path(__file__).parents[1]
    program = place / "modelward"
    paths = f"{repository}/.imports"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} -m modelward.daemon "$@"\n')
    own = " ".join(map(str, dict.fromkeys((sys.base_prefix, sys.prefix, repository))))
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"] and rights["capabilities"] == {"drop": ["ALL"]}
    assert not rights["allowPrivilegeEscalation"] and ids["runAsNonRoot"]
    (place / "box").mkdir()
    own_processes = ["--pid", "--fork", "--kill-child"]  # else workers of another pod with these paths would be its own
    boot = ["unshare", "--mount", *own_processes, "--propagation", "private", "sh", "-ec", BOOT, "pod"]
    given = [str(place / "box"), own, str(program), str(place / "mounts")]
    less = ["setpriv", f"--reuid={uid}", f"--regid={gid}", f"--groups={group}", "--no-new-privs"]
    environ = [f"{each['name']}={each['value']}" for each in container["env"]]
    return [*boot, *given, *environ, *less, "--inh-caps=-all", "--bounding-set=-all", *container["command"]]


def first_process(boot: int) -> int:
    """The container's first process, outside; 0 while there is none yet."""
    return next((child.pid for child in psutil.Process(boot).children()), 0)


def inside(pid: int, spec: Mapping[str, Any], *command: str) -> str:
    """What a command prints in the pod, by its user, as `kubectl exec` has it."""
    ids = spec["securityContext"]
    namespaces = [f"--target={pid}", "--mount", "--pid", "--root", "--wd"]
    into = ["nsenter", *namespaces, "env", "-i", "PATH=/image:/usr/bin:/bin"]
    user = ["setpriv", f"--reuid={ids['runAsUser']}", f"--regid={ids['runAsGroup']}", "--clear-groups"]
    (container,) = spec["containers"]
    environ = [f"{each['name']}={each['value']}" for each in container["env"]]
    done = subprocess.run([*into, *environ, *user, *command], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, shlex.join(command) + done.stdout + done.stderr
    return done.stdout


def why_not() -> str:
    """Why no pod can be run here; "" when one can."""
    if os.geteuid() != 0:
        return "needs root: it mounts in a namespace of its own"
    missing = [name for name in ("unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"needs util-linux: {missing[0]}"
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return "needs private mounts" if subprocess.run(probe, capture_output=True, check=False).returncode else ""
