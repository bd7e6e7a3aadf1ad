"""What a killed validator left goes; what is whole, and what lies elsewhere, stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.daemon.models.unfinished_artifacts import remove_form, remove_unfinished


@pytest.fixture
def root(tmp_path: Path) -> Path:
    compiled = tmp_path / "compiled"
    (compiled / "v1-0123").mkdir(parents=True)
    (compiled / "v1-0123" / "model.onnx").write_text("whole")
    return compiled


def test_a_copy_that_nobody_finishes_is_removed_and_a_whole_one_stays(root: Path) -> None:
    (root / ".tmp-validate-1-ab" / "golden").mkdir(parents=True)
    (root / ".tmp-validate-1-ab" / "golden" / "a.wav").write_text("half")
    (root / ".tmp-torn-2-cd").write_text("a file")
    assert remove_unfinished(root) == [".tmp-torn-2-cd", ".tmp-validate-1-ab"]
    assert [p.name for p in root.iterdir()] == ["v1-0123"]


def test_a_form_under_way_is_no_validators_and_goes_when_no_compiler_is_at_work(root: Path) -> None:
    (root / ".tmp-form-1-ab" / "compiled").mkdir(parents=True)
    (root / ".tmp-validate-1-ab").mkdir()
    assert remove_unfinished(root) == [".tmp-validate-1-ab"]
    assert remove_unfinished(root, forms=True) == [".tmp-form-1-ab"]
    assert [p.name for p in root.iterdir()] == ["v1-0123"]


def test_a_finished_form_that_is_no_longer_wanted_is_removed_whole(root: Path) -> None:
    remove_form(str(root / "v1-0123"))
    remove_form(str(root / "v1-0123"))
    assert list(root.iterdir()) == []


def test_what_a_link_leads_to_stays(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (root / ".tmp-link").symlink_to(outside)
    (root / ".tmp-validate-1-ab").mkdir()
    (root / ".tmp-validate-1-ab" / "link").symlink_to(outside)
    assert len(remove_unfinished(root)) == 2
    assert (outside / "kept").exists()


def test_a_cache_that_is_not_there_yet_has_nothing_to_remove(tmp_path: Path) -> None:
    assert remove_unfinished(tmp_path / "none") == []
