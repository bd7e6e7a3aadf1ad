"""One small SenseVoice-shaped version for all of the compiler's tests: built once, read by all."""

from __future__ import annotations

import functools
import pickle
import shutil
from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from msgspec.structs import replace
from tests.bench import shape, tones
from tests.good_versions import made_once
from tests.worker.compile.graphs import HERE

from modelward.worker.compile.compiled import Compiled
from modelward.worker.compile.compiler import NO_REWRITE, compile_mapped, compile_rewritten
from modelward.worker.compile.recipe import Recipe
from modelward.worker.compile.steps import Level


@pytest.fixture(scope="session")
def version() -> Path:
    return made_once("shaped", lambda directory: shape.write_version(directory, shape.SMALL, fp32=True))


@pytest.fixture(scope="session")
def clips() -> list[dict[str, Any]]:
    return [tones.feeds(tones.features(tones.clip(seconds, 50 + i)[0])) for i, seconds in enumerate((2.0, 4.0))]


def always_better(runs: Any, rounds: int) -> list[float]:
    """A clock on which the second is twice as fast: for tests that are not about time."""
    return [2.0, 1.0]


@pytest.fixture
def compile_it(
    rewrite: Callable[..., tuple[Compiled, Recipe | None]], map_it: Callable[..., Compiled]
) -> Callable[..., Compiled]:
    """The rewritten form; where no rewrite pays, the mapped one with the steps that were refused."""

    def compile_it(**more: Any) -> Compiled:
        compiled, _ = rewrite(**more)
        if compiled.because != NO_REWRITE:
            return compiled
        mapped = map_it(**{name: value for name, value in more.items() if name not in ("level", "rewrites", "flags")})
        return replace(mapped, steps=compiled.steps)

    return compile_it


@pytest.fixture(scope="session")
def usual(version: Path, clips: list[dict[str, Any]]) -> Callable[..., tuple[Path, tuple[Compiled, Recipe | None]]]:
    """The rewritten form of that version at a level, for some flags: made once. Its files are for copying from."""

    @functools.cache
    def usual(level: Level = "exact", flags: Collection[str] = HERE) -> tuple[Path, tuple[Compiled, Recipe | None]]:
        def make(directory: Path) -> None:
            (directory / "form").mkdir(parents=True)
            made = compile_rewritten(
                version / "model_quant.onnx", directory / "form",
                level=level, probe_inputs=clips, flags=flags, measure=always_better,
            )  # fmt: skip
            (directory / "made").write_bytes(pickle.dumps(made))

        kept = made_once(f"usual-{level}-{crc32(' '.join(sorted(flags)).encode()):08x}", make)
        return kept / "form", pickle.loads((kept / "made").read_bytes())

    return usual


@pytest.fixture
def rewrite(
    version: Path,
    clips: list[dict[str, Any]],
    usual: Callable[..., tuple[Path, tuple[Compiled, Recipe | None]]],
    tmp_path: Path,
) -> Callable[..., tuple[Compiled, Recipe | None]]:
    def rewrite(**more: Any) -> tuple[Compiled, Recipe | None]:
        if more.keys() <= {"level", "flags"} and isinstance(more.get("flags", ()), Hashable):
            files, made = usual(**more)
            shutil.copytree(files, tmp_path / "out")
            return made
        arguments = {"level": "exact", "probe_inputs": clips, "flags": HERE, "measure": always_better} | more
        source = arguments.pop("source", version / "model_quant.onnx")
        out = arguments.pop("out_dir", tmp_path / "out")
        out.mkdir(exist_ok=True)
        return compile_rewritten(source, out, **arguments)

    return rewrite


@pytest.fixture
def map_it(version: Path, clips: list[dict[str, Any]], tmp_path: Path) -> Callable[..., Compiled]:
    def map_it(**more: Any) -> Compiled:
        arguments = {"probe_inputs": clips, "measure": always_better} | more
        source = arguments.pop("source", version / "model_quant.onnx")
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        return compile_mapped(source, out, **arguments)

    return map_it
