"""What an upload may be: tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.answers.uploads import UploadFile
from modelward.daemon.errors import Refused
from modelward.daemon.models import upload_rules as rules
from modelward.daemon.models.upload_rules import plan
from modelward.daemon.system.disk_room import DiskRoom


def planned(*paths: str, version: str = "v2", kind: str = "directory") -> list[str]:
    files = [UploadFile(path, 5) for path in paths]
    return [f.path for f in plan(version, kind, files, link="current", taken={"v1", ".hidden"}).files]


@pytest.mark.parametrize(
    ("given_paths", "kept"),
    [
        (["model.onnx", "golden/a.wav"], ["model.onnx", "golden/a.wav"]),
        (["my-v2/model.onnx", "my-v2/golden/a.wav"], ["model.onnx", "golden/a.wav"]),
        (["my-v2/model.onnx", "README"], ["my-v2/model.onnx", "README"]),
        (["./模型//model.onnx"], ["model.onnx"]),
    ],
)
def test_paths_are_below_the_version_whatever_directory_they_came_in(given_paths: list[str], kept: list[str]) -> None:
    assert planned(*given_paths) == kept


@pytest.mark.parametrize(
    ("paths", "because"),
    [
        (["../x", "y"], "outside"),
        (["/etc/passwd"], "outside"),
        (["a/../../x"], "outside"),
        (["a\\..\\x"], "outside"),
        (["."], "outside"),
        (["a\n"], "printed"),
        (["a\0b"], "printed"),
        (["a/b/c/d/e/f/g/h"], "deeper"),
        (["x" * 256], "too long"),
        (["a", "a"], "twice"),
        (["a", "./a"], "twice"),
        (["a", "a/b", "c"], "a file and a directory"),
        ([], "1 to 500 files"),
        ([f"f{n}" for n in range(501)], "1 to 500 files"),
    ],
)
def test_paths_that_lead_elsewhere_or_cannot_be_are_refused(paths: list[str], because: str) -> None:
    with pytest.raises(Refused, match=because):
        planned(*paths)


@pytest.mark.parametrize(
    "version", ["", ".", "..", ".x", "a/b", "v.tmp", "v~", "-rf", "current", "v1", "a\n", "é" * 128]
)
def test_names_follow_the_rule_of_versions_and_take_no_others_place(version: str) -> None:
    with pytest.raises(Refused):
        planned("model.onnx", version=version)


def test_sizes_that_no_upload_has_are_refused() -> None:
    for size in (-1, rules.MAX_UPLOAD_BYTES + 1):
        with pytest.raises(Refused, match="up to"):
            plan("v2", "directory", [UploadFile("a", size)], link="current", taken=())
    with pytest.raises(Refused, match="kind"):
        planned("a", kind="rar")


@pytest.mark.parametrize(
    ("wanted", "pending", "free", "reserve", "fits"),
    [(10, 0, 20, 10, True), (11, 0, 20, 10, False), (10, 1, 20, 10, False), (0, 0, 5, 10, False)],
)
def test_room_is_what_is_free_without_what_must_stay_so_and_what_others_announced(
    wanted: int, pending: int, free: int, reserve: int, fits: bool
) -> None:
    assert (rules.why_no_room(wanted, pending, DiskRoom(free, reserve)) == "") == fits


@given(st.text(max_size=40))
def test_no_path_that_passes_leaves_its_directory(path: str) -> None:
    try:
        kept = rules.member_path(path, "cannot")
    except Refused:
        return
    assert not kept.startswith("/") and ".." not in kept.split("/") and "\0" not in kept and kept
