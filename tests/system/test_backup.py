"""A copy made as docs/operating.md says, restored into a place that knows nothing, is the same service."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.documents import VERSION, World, blocks

pytestmark = pytest.mark.system


def test_a_copy_made_while_everything_runs_is_the_same_service_elsewhere(tmp_path: Path) -> None:
    here, there = World.build(tmp_path / "here"), World.build(tmp_path / "there")
    back_up = next(block for block in blocks("docs/operating.md") if "mkdir backup" in block.text)
    try:
        here.start(VERSION)
        assert here.cli("hold", VERSION).returncode == 0
        here.follow(back_up)
        judged = here.history("accepted")
        assert here.stop() == 0
        shutil.rmtree(there.models)
        shutil.copytree(here.root / "backup" / "models", there.models, symlinks=True)
        (there.root / "state").mkdir()
        shutil.copy(here.root / "backup" / "state.db", there.root / "state" / "state.db")
        there.start(VERSION)
        assert there.link.readlink() == here.link.readlink()
        assert there.version(VERSION)["held"]
        assert judged[0] in there.history("accepted")
    finally:
        here.close()
        there.close()
