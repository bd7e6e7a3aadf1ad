"""Whatever becomes of a compiler, versions stay as they are: with real children that die, hang, flood and lie."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.support import children, open_paths, soon

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.forms import Forms
from modelward.daemon.models.form_pace import CompilerLimits
from modelward.daemon.models.form_plan import WantedForm
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import HistoryEntry, Store
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.workers.slot_files import keep
from modelward.worker.protocol import SLOT_FILES
from modelward.worker.scheduling.slot_file import Board
from modelward.worker.shared.artifact import ArtifactFile, digest_of
from modelward.worker.shared.machine_features import form_keys

MODEL = ArtifactFile(5, hashlib.sha256(b"model").hexdigest())
DIGEST = digest_of({"model.onnx": MODEL})
WANTED = [WantedForm("v1", DIGEST)]
SAYS = f"""
import json, os, resource, signal, sys, time
request = json.loads(sys.stdin.read())
def say(**message):
    sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
def refuse(because, **more):
    for stage in request["stages"]:
        say(type="form_refused", stage=stage, because=because, **more)
def form(stage, **lies):
    path = os.path.join(request["directory"], stage)
    os.makedirs(os.path.join(path, "compiled"), 0o750)
    file = {{"bytes": {MODEL.bytes}, "sha256": {MODEL.sha256!r}}}
    files = dict.fromkeys(["model.onnx", "compiled/model.onnx"], file)
    told = dict(version="v1", digest={DIGEST!r}, kind="tensor", model="model.onnx", files=files, onnxruntime="1")
    told.update(form=stage, level=stage, key=KEYS[stage], compiled_model="compiled/model.onnx")
    for name, text in (*dict.fromkeys(files, "model").items(), ("artifact.json", json.dumps({{**told, **lies}}))):
        with open(os.open(os.path.join(path, name), os.O_WRONLY | os.O_CREAT, 0o440), "w") as f:
            f.write(text)
    held.append(os.open(path + "/compiled", os.O_RDONLY))
    say(type="form_made", stage=stage, form=stage, because="because")
held = []
"""
LIMITS = CompilerLimits(cpu_seconds=1000.0, still_seconds=1000.0)


class Hall:
    """Forms over an artifact root with one plain artifact; `kinds` are the lines of history."""

    def __init__(self, forms: Forms, root: Path, told: list[HistoryEntry]) -> None:
        self.forms, self.root, self._told = forms, root, told

    @property
    def kinds(self) -> list[str]:
        return [entry.kind for entry in self._told]

    async def once(self) -> None:
        """One compilation, from its start to its end."""
        await self.forms.read_disk([DIGEST])
        self.forms.ensure(WANTED, lambda version, digest: 0.0)
        assert self.forms.busy
        await soon(lambda: not self.forms.busy)

    def told(self, key: str) -> str:
        return str(self.forms.told("v1", DIGEST).get(key, ""))


@asynccontextmanager
async def _hall(
    path: Path, code: str, limits: CompilerLimits = LIMITS, pids: Callable[[], Iterable[int]] = tuple
) -> AsyncIterator[Hall]:
    places = "".join(f'{name}_dir = "{path}/{name}"\n' for name in ("cache", "state", "runtime"))
    config = parse(f"[control]\n{places}", "test")
    root = path / "cache" / "compiled"
    plain = root / "v1-plain"
    if not plain.exists():
        plain.mkdir(parents=True)
        (plain / "model.onnx").write_text("model")
        described = {"version": "v1", "digest": DIGEST, "form": "plain", "files": {"model.onnx": {"bytes": 5}}}
        (plain / "artifact.json").write_text(json.dumps(described))
    told: list[HistoryEntry] = []
    async_store = AsyncStore(Store(path / "state" / "state.db", SystemClock()), told.append)
    keys = {stage: form_keys()(DIGEST, level) for stage, level in (("mapped", "mapped"), ("rewritten", "exact"))}
    argv = [sys.executable, "-I", "-S", "-c", f"KEYS = {keys!r}\n{SAYS}{code}"]
    forms = Forms(
        lambda: config,
        clock=SystemClock(),
        async_store=async_store,
        happened=lambda: None,
        argv=argv,
        limits=limits,
        pids=pids,
    )
    await forms.start()
    try:
        yield Hall(forms, root, told)
    finally:
        await forms.stop()
        await async_store.close()


def state(pid: int) -> str:
    """A process's state in one letter, as the kernel gives it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


DONE = "say(type='forms_done')"


@pytest.mark.parametrize(
    ("code", "because"),
    [
        ("raise SystemExit(1)", "ended with status 1"),
        ("", "ended with status 0 before it was done"),
        ("os.kill(os.getpid(), 9)", "died of SIGKILL (out of memory, perhaps)"),
        ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), 11)", "died of SIGSEGV"),
        ("resource.setrlimit(resource.RLIMIT_AS, (64 << 20,) * 2); bytearray(1 << 30)", "ended with status 1"),
        (DONE, "it reported the form mapped and there is none"),
        (f"say(type='form_made', stage='mapped', form='mapped'); {DONE}", "cannot keep the form mapped: "),
        ("[say(type='form_made', stage='mapped', form='mapped') for _ in 'ab']; time.sleep(600)", "stage mapped twice"),
        (f"{DONE}; {DONE}; time.sleep(600)", "cannot be understood: it went on after its last line"),
        ("print('rubbish', flush=True); time.sleep(600)", "cannot be understood"),
        ("sys.stdout.write('x' * 200_000); sys.stdout.flush(); time.sleep(600)", "cannot be understood"),
        ("[say(type='form_progress', because='x' * 1000) for _ in range(2000)]; time.sleep(600)", "more than 1048576"),
        ("say(type='form_made', stage='other', form='mapped'); time.sleep(600)", "nobody asked for"),
        ("say(type='form_learned', key='k', recipe={'x': 'y' * 40_000}); time.sleep(600)", "more than can be kept"),
        (f"refuse('cannot: no room', again=True); {DONE}", "cannot: no room"),
    ],
)  # fmt: skip
def test_a_compiler_that_fails_in_any_way_costs_a_line_and_is_tried_again_later(
    tmp_path: Path, code: str, because: str
) -> None:
    async def work() -> None:
        before = children()
        async with _hall(tmp_path, code) as hall:
            await hall.once()
            assert because in hall.told("because")
            assert hall.told("form") == "plain"
            await soon(lambda: hall.kinds == ["form-failed"])
            assert hall.forms.next_due() is not None
            hall.forms.ensure(WANTED, lambda version, digest: 0.0)
            assert not hall.forms.busy  # not at once
            assert os.listdir(hall.root) == ["v1-plain"]
        assert children() == before

    asyncio.run(asyncio.wait_for(work(), 90))


@pytest.mark.parametrize(
    ("code", "limits", "because"),
    [
        ("signal.pause()", CompilerLimits(still_seconds=2.0), "it stood still for 2 s"),
        ("while True: pass", CompilerLimits(cpu_seconds=0.5), "it used its 0 s of processor time"),
        ("while True: pass", CompilerLimits(short_seconds=0.0, reserve_bytes=1 << 60), "memory is short"),
    ],
)
def test_a_compiler_without_end_is_ended(tmp_path: Path, code: str, limits: CompilerLimits, because: str) -> None:
    async def work() -> None:
        async with _hall(tmp_path, code, limits) as hall:
            await hall.once()
            assert because in hall.told("because")

    asyncio.run(asyncio.wait_for(work(), 90))


def test_a_compiler_that_somebody_stopped_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        code = "os.kill(os.getpid(), signal.SIGSTOP); raise SystemExit(7)"
        async with _hall(tmp_path, code) as hall:
            await hall.once()
            assert "status 7" in hall.told("because")

    asyncio.run(asyncio.wait_for(work(), 90))


def test_a_compiler_stands_aside_while_workers_answer_and_one_that_a_version_waits_for_does_not(tmp_path: Path) -> None:
    async def work() -> None:
        before = children()
        async with _hall(tmp_path, "time.sleep(600)") as hall:
            shared = tmp_path / "runtime" / "s"
            shared.mkdir(parents=True)
            keep(shared, 2)
            worker, long = (Board(str(shared / name)) for name in (SLOT_FILES[0], SLOT_FILES[2]))
            await hall.forms.read_disk([DIGEST])
            hall.forms.ensure(WANTED, lambda version, digest: 0.0)
            await soon(lambda: children() - before, 60)
            [compiler] = children() - before
            for board in (worker, long, worker):
                slot = board.take(())
                assert slot is not None
                await soon(lambda: state(compiler) == "T", 60)
                board.free(slot)
                await soon(lambda: state(compiler) == "S", 60)
            worker.take(())
            await soon(lambda: state(compiler) == "T", 60)
            hall.forms.ensure([replace(WANTED[0], urgent=True)], lambda version, digest: 0.0)
            await soon(lambda: state(compiler) == "S", 60)
            worker.close()
            long.close()

    asyncio.run(asyncio.wait_for(work(), 300))


def test_a_version_under_judgement_is_compiled_once_and_its_failure_is_held_against_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        code = "open(request['root'] + '/../begun', 'a').write(request['artifact'] + '\\n'); raise SystemExit(7)"
        async with _hall(tmp_path, code) as hall:
            copy = [WantedForm("v2", "cd" * 32, urgent=True, copy=f"{hall.root}/.tmp-validate-1-ab")]
            await hall.forms.read_disk([copy[0].digest])
            for _ in range(3):
                hall.forms.ensure(copy, lambda version, digest: 0.0)
                await soon(lambda: not hall.forms.busy, 60)
            assert (tmp_path / "cache" / "begun").read_text().split() == [copy[0].copy]
            assert hall.kinds == []

    asyncio.run(asyncio.wait_for(work(), 90))


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, KeyError])
def test_an_error_of_our_own_ends_the_compiler_and_is_tried_again_later(tmp_path: Path, error: type[Exception]) -> None:
    def pids() -> Iterable[int]:
        raise error("unexpected")

    async def work() -> None:
        before = children()
        async with _hall(tmp_path, "signal.pause()", pids=pids) as hall:
            await hall.once()
            assert hall.told("because") == "it could not be watched"
            assert children() == before

    asyncio.run(asyncio.wait_for(work(), 90))


@pytest.mark.parametrize(
    "lie",
    [
        "version='v2'",
        "version='../../../v1'",
        "digest='cd' * 32",
        "key='0123456789abcdef'",
        "level='exact'",
        "form='fast'",
        "compiled_model='model.onnx'",
        "files={}",
        "files={'compiled/model.onnx': {'bytes': 5, 'sha256': 'ab' * 32}}",
    ],
)
def test_a_form_that_is_not_what_it_seems_is_not_loaded(tmp_path: Path, lie: str) -> None:
    async def work() -> None:
        async with _hall(tmp_path, f"form('mapped', {lie}); {DONE}") as hall:
            await hall.once()
            best = hall.forms.best("v1", DIGEST)
            assert best is not None and best.form == "plain"
            assert "cannot keep the form mapped: " in hall.told("because")
            assert os.listdir(hall.root) == ["v1-plain"]

    asyncio.run(asyncio.wait_for(work(), 90))


def test_a_form_lies_in_its_place_while_the_next_is_made_and_is_out_of_reach_of_its_compiler(tmp_path: Path) -> None:
    async def work() -> None:
        before = children()
        async with _hall(tmp_path, "form('mapped'); signal.pause()") as hall:
            await hall.forms.read_disk([DIGEST])
            hall.forms.ensure(WANTED, lambda version, digest: 0.0)

            def mapped() -> list[str]:
                return [name for name in os.listdir(hall.root) if name.endswith("-mapped")]

            await soon(mapped, 60)
            assert hall.forms.busy
            [name] = mapped()
            await hall.forms.read_disk([DIGEST])
            best = hall.forms.best("v1", DIGEST)
            assert best is not None and best.artifact == str(hall.root / name)
            assert os.listdir(hall.root / name / "compiled") == ["model.onnx"]
            [compiler] = children() - before
            [old] = [place for place in open_paths(compiler) if "own" in place]
            assert old.endswith(" (deleted)")
        assert sorted(os.listdir(hall.root)) == sorted(["v1-plain", name])

    asyncio.run(asyncio.wait_for(work(), 90))


REFUSES = f"refuse('no rewrite pays'); {DONE}"


def test_what_cannot_be_made_is_not_tried_again_by_the_next_daemon_either(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, f"say(type='form_learned', key='k', recipe={{'number': 1}}); {REFUSES}") as hall:
            await hall.once()
            assert hall.told("because") == "no rewrite pays"
            assert hall.kinds == []
        async with _hall(tmp_path, "raise SystemExit(1)") as hall:
            await hall.forms.read_disk([DIGEST])
            hall.forms.ensure(WANTED, lambda version, digest: 0.0)
            assert not hall.forms.busy
            assert hall.told("because") == "no rewrite pays"

    asyncio.run(asyncio.wait_for(work(), 90))


def test_what_was_learned_is_in_the_next_request(tmp_path: Path) -> None:
    async def work() -> None:
        learns = "say(type='form_learned', key='k', recipe={'number': 1}); raise SystemExit(1)"
        async with _hall(tmp_path, learns) as hall:
            await hall.once()
        async with _hall(tmp_path, f"refuse(json.dumps(request['learned'])); {DONE}") as hall:
            await hall.once()
            assert json.loads(hall.told("because")) == {"k": {"number": 1}}

    asyncio.run(asyncio.wait_for(work(), 90))


def test_the_end_of_the_daemon_and_a_version_nobody_wants_any_more_end_the_compiler(tmp_path: Path) -> None:
    async def work() -> None:
        before = children()
        async with _hall(tmp_path, "signal.pause()") as hall:
            await hall.forms.read_disk([DIGEST])
            hall.forms.ensure(WANTED, lambda version, digest: 0.0)
            await soon(lambda: children() - before)
            hall.forms.ensure([WantedForm("v2", "cd" * 32)], lambda version, digest: 0.0)
            await soon(lambda: not hall.forms.busy)
            assert children() == before
            assert hall.kinds == [] and hall.forms.next_due() is None  # that was no failure
            hall.forms.ensure(WANTED, lambda version, digest: 0.0)
            await soon(lambda: children() - before)
        await soon(lambda: children() == before)

    asyncio.run(asyncio.wait_for(work(), 90))


def test_a_form_that_the_workers_refused_is_not_loaded_and_not_made_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, "raise SystemExit(1)") as hall:
            await hall.forms.read_disk([DIGEST])
            keys = hall.forms.keys(DIGEST)
            path = hall.root / "v1-mapped"
            path.mkdir()
            (path / "model.onnx").write_text("model")
            told = {
                "version": "v1", "digest": DIGEST, "form": "mapped", "level": "mapped", "key": keys["mapped"],
                "files": {"model.onnx": {"bytes": 5}}, "compiled_model": "model.onnx",
            }  # fmt: skip
            (path / "artifact.json").write_text(json.dumps(told))
            await hall.forms.read_disk([DIGEST])
            best = hall.forms.best("v1", DIGEST)
            assert best is not None and best.form == "mapped"
            await hall.forms.refuse(best, "worker w1 died while it served it")
            best = hall.forms.best("v1", DIGEST)
            assert best is not None and best.form == "plain"
            await hall.forms.tidy({best.artifact})
            assert sorted(os.listdir(hall.root)) == ["v1-plain"]
            await soon(lambda: hall.kinds == ["form-refused"])

    asyncio.run(asyncio.wait_for(work(), 90))


def test_what_a_killed_compiler_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "cache" / "compiled" / ".tmp-form-1-ab" / "compiled").mkdir(parents=True)
        async with _hall(tmp_path, "") as hall:
            assert os.listdir(hall.root) == ["v1-plain"]

    asyncio.run(asyncio.wait_for(work(), 90))
