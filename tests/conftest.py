"""Runs of the tests in several processes: what these share, who gets which tests, in what order.

Tests that share a house stay in one process, the longest of these companies begin first, and those marked `alone` are
left for a run of their own (`make test`). In a single process nothing of this changes anything.
"""

from __future__ import annotations

import compileall
import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

# Products in the tests are small, and threads of OpenBLAS that wait for the next one take the processor from the
# programs under test. Read when numpy is imported; the daemon sets the same for its children
# (daemon/system/processes.py).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Programs under test find their modules compiled, whatever the environment of the person who runs the tests: compiling
# takes as much processor time as all else that a daemon does until it serves.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Commands in the tests answer in English, whatever the language of the person who runs them.
os.environ["LC_ALL"] = "C.UTF-8"

import pytest
from hypothesis import settings
from tests.examples import DEEP, examples
from tests.good_versions import SHARED

sys.dont_write_bytecode = False

# Programs under test end as at a terminal, also in a run that was begun with nohup or in the background.
for _number, _usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)
if signal.getsignal(signal.SIGQUIT) == signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# While tests are collected next to nothing becomes garbage, and each look for some costs more than the one before.
gc.disable()

# No deadline: how long one input takes says how busy the machine is. The same inputs each time: whether a run passes is
# no matter of luck. Others are tried by the deep run (`make fuzz`), or with MODELWARD_FUZZ=deep in the environment.
settings.register_profile("house", deadline=None, derandomize=not DEEP, max_examples=examples(100))
settings.load_profile("house")

ROOT = Path(__file__).resolve().parents[1]
COMPILED = "MODELWARD_TESTS_COMPILED"
"""In the environment of all that a run starts: runs of the tests within one need not compile."""
LONGEST = (
    "tests/browser/",
    "tests/system/test_systemd.py",
    "tests/system/test_fleet.py",
    "tests/system/test_compiled.py",
    "tests/system/test_arrivals.py",
    "tests/system/test_jobs.py",
    "tests/system/test_workers_die.py",
    "tests/system/test_outside_cleaners.py",
    "tests/system/test_settings.py",
    "tests/system/test_upkeep_attacks.py",
    "tests/system/",
    "tests/test_documents.py",
    "tests/daemon/cli/test_demo.py",
    "tests/worker/",
    "tests/fuzz/",
)


SEPARATE = ("tests/system/test_not_judged.py", "tests/system/test_state_disk.py", "tests/system/test_stuck_run.py")
"""Long files in which each test has a house of its own."""


def company(nodeid: str) -> str:
    """The tests that must run in one process with this one: those of its file, as houses are shared in files.

    Those in a browser stay together, as browsers are started once for all of them.
    Of the documents every page has a house of its own; that of the README and the tests of the demo both start a demo,
    which takes its usual port where it is free.
    """
    file, _, test = nodeid.partition("::")
    if file in SEPARATE:
        return nodeid
    if file == "tests/daemon/cli/test_demo.py" or test == "test_what_a_page_says_to_type_works[README.md]":
        return "a demo on its usual port"
    if file.startswith("tests/browser/"):
        return "tests/browser/"
    return nodeid if test.startswith("test_what_a_page_says_to_type_works[") else file


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The first process of a run makes the place of what is shared, and takes it away. It compiles the programs under
    test: confined ones may not write down what they compiled, and would do it again each time.

    The others keep their temporary files in directories with names as short as can be: sockets lie in them, and a
    socket's path may have 107 bytes.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and config.option.basetemp:
        config.option.basetemp = str(config.option.basetemp).replace("popen-gw", "")
    if COMPILED not in os.environ:
        os.environ[COMPILED] = "yes"
        for program in ("daemon", "worker"):
            compileall.compile_dir(ROOT / program, quiet=2)
    if SHARED not in os.environ:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="modelward-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: a long one that begins last keeps all others waiting."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        order = {item: next((i for i, p in enumerate(LONGEST) if item.nodeid.startswith(p)), 99) for item in items}
        items.sort(key=order.__getitem__)


def pytest_collection_finish() -> None:
    """What was collected stays until the end: no look for garbage need go through it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out companies."""
    from xdist.scheduler import LoadScopeScheduling

    class Companies(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return company(nodeid)

    config.option.loadscopereorder = False  # they come in the right order
    return Companies(config, log)
