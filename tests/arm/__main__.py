"""The worker's tests on aarch64, emulated: `make arm`, or with pytest's words behind it for others than the usual ones.

A small Debian 12 for arm64 and the wheels of what the worker imports are put into ~/.cache once. Then qemu-user runs
there the tests whose outcome may depend on the processor, ten minutes of one core at most. Where tools or rights are
missing the run is skipped and the reason printed. It measures nothing, and refuses no system calls: qemu-user takes no
filters. /sys is not mounted there: ONNX Runtime's cpuinfo library crashes on the one of another processor. Nothing
outside is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelward" / "arm"
BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
EMULATOR: Final = "qemu-aarch64"
TESTERS: Final = ("pytest", "pytest-timeout", "hypothesis", "httpx")
"""Of the development group, what the tests below import."""
PLATFORMS: Final = (
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)
FEATURES: Final = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp i8mm bf16"
"""What /proc/cpuinfo says there: qemu-user shows the host's file. The emulated processor has all of these."""
LEAST: Final = "Shape(width=64, heads=4, hidden=64, blocks=1, tp_blocks=1, vocabulary=120)"
AUDIO: Final = "tests/worker/audio/test_decode.py::"
TESTS: Final = (
    # features of the processor, and the key that a form gets by them
    "tests/worker/shared/test_machine_features.py",
    "tests/worker/shared/test_form_key.py",
    # what ONNX Runtime's kernels answer, before and after each rewrite
    "tests/worker/test_ort_session.py",
    "tests/worker/compile/test_requantise.py",
    "tests/worker/compile/test_answers.py",
    "tests/worker/compile/test_attention.py",
    "tests/worker/compile/test_memory.py",
    "tests/worker/compile/test_padding.py",
    # from bytes to samples, in this process and in a decoder's
    f"{AUDIO}test_every_width_of_wav_gives_the_samples_back",
    f"{AUDIO}test_our_reading_of_wav_equals_libsndfiles",
    f"{AUDIO}test_other_containers_and_codecs_are_read",
    f"{AUDIO}test_any_rate_becomes_16_khz_with_the_same_duration_and_pitch",
    "tests/worker/decoders/test_pool.py::test_a_clip_becomes_the_same_samples_as_in_this_process",
    # from samples to text
    "tests/worker/sensevoice/test_frontend.py",
    "tests/worker/sensevoice/test_pipeline.py::test_text_tags_tokens_and_times_equal_those_of_other_runtimes",
    # a whole judgement, and a whole compilation
    "tests/worker/validate/test_child.py::test_accepts_every_form_of_a_good_version_and_leaves_a_whole_artifact[funasr]",
    "tests/worker/compile/test_compiler.py::test_exact_form_answers_unheard_clips_frame_for_frame",
)
"""What may come out otherwise on another processor. Rules and texts, which are the same everywhere, are left out."""

# In a mount and a process namespace of its own; $1 is the new root, $2 the repository, $3 the wheels, $4 the demo.
INSIDE: Final = """
root=$1
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/tmp/src" "$root/tmp/shared"
mount --bind "$2" "$root/tmp/src" && mount -o remount,bind,ro "$root/tmp/src"
mount --bind "$3" "$root/usr/local/lib/python3.11/dist-packages"
mount --bind "$4" "$root/tmp/shared"
mount -t proc proc "$root/proc"
mount --bind "$4/cpuinfo" "$root/proc/cpuinfo"
mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null || true
shift 4
exec chroot "$root" /usr/bin/env -i -C /tmp/src PATH=/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 OPENBLAS_NUM_THREADS=1 \\
  ORT_DISABLE_TELEMETRY=1 MODELWARD_TESTS_SHARED=/tmp/shared PYTHONPATH=/tmp/src/.imports:/tmp/src \\
  python3 -m pytest -p no:cacheprovider -q "$@"
"""


def missing() -> str:
    """Why nothing can be run here, "" when all is there."""
    if os.geteuid() != 0:
        return "mounts and a root of another architecture need root"
    if os.uname().machine == "aarch64":
        return "this is aarch64: `make test` is the real thing"
    if absent := [tool for tool in ("mmdebstrap", "arch-test", "unshare", "chroot") if shutil.which(tool) is None]:
        return f"not installed: {', '.join(absent)} (apt-get install mmdebstrap arch-test qemu-user-static)"
    entry = BINFMT / EMULATOR
    if not entry.exists() or not entry.read_text().startswith("enabled"):
        return (
            f"{entry} is not there: the kernel does not know how to run aarch64 programs (apt-get install "
            f"qemu-user-static binfmt-support; mount -t binfmt_misc none {BINFMT}; update-binfmts --enable {EMULATOR})"
        )
    return ""


def debian(directory: Path) -> None:
    """A minimal Debian 12 for arm64 with Python, made aside and renamed when it is whole."""
    if directory.exists():
        return
    aside = directory.with_name(f".{directory.name}")
    shutil.rmtree(aside, ignore_errors=True)
    words = ["--architectures=arm64", "--variant=minbase", "--include=python3", "bookworm", str(aside)]
    subprocess.run(["mmdebstrap", "--quiet", *words], check=True)
    aside.rename(directory)


def wheels(directory: Path) -> None:
    """What the worker and its tests import, for aarch64 and Debian 12's Python; unpacked, nothing of it is run."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    group = [line for line in project["dependency-groups"]["dev"] if line.partition(">")[0] in TESTERS]
    wanted = sorted([*project["project"]["dependencies"], *group])
    mark = directory / "wanted"
    if mark.exists() and mark.read_text() == "\n".join(wanted):
        return
    aside = directory.with_name(f".{directory.name}")
    shutil.rmtree(aside, ignore_errors=True)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    abis = [word for name in ("cp311", "abi3", "none") for word in ("--abi", name)]
    where = ["--target", str(aside), "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-warn-conflicts", *where, *platforms, *abis, *wanted],
        check=True,
    )
    (aside / "wanted").write_text("\n".join(wanted))
    shutil.rmtree(directory, ignore_errors=True)
    aside.rename(directory)


def models(directory: Path) -> None:
    """The recognisers that tests copy their versions from: learnt here, as that would take too long there.

    That of the compiler's tests, "shaped", has one block of each kind: what is compiled there is opened many times.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / ".imports"), str(REPOSITORY)])}
    shaped = f"from tests.bench.shape import *; write_version(Path({str(directory / 'shaped')!r}), {LEAST}, fp32=True)"
    for words in (["-m", "modelward.worker.demo", str(directory / "demo")], ["-c", shaped]):
        subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    (directory / "cpuinfo").write_text(f"processor\t: 0\nFeatures\t: {FEATURES}\nCPU architecture: 8\n")


def main(words: Sequence[str]) -> int:
    """pytest's status; 0 when skipped."""
    if because := missing():
        print(f"skipped: {because}")
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    debian(CACHE / "bookworm")
    wheels(CACHE / "wheels")
    with tempfile.TemporaryDirectory(prefix="modelward-arm-") as shared:
        models(Path(shared))
        places = [str(CACHE / "bookworm"), str(REPOSITORY), str(CACHE / "wheels"), shared]
        isolated = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        command = [
            *isolated,
            "sh",
            "-euc",
            INSIDE,
            "sh",
            *places,
            *words,
            *(() if any("/" in word for word in words) else TESTS),
        ]
        return subprocess.run(command, cwd=REPOSITORY).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
