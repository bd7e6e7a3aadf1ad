"""Which names are versions."""

from __future__ import annotations

import pytest

from modelward.daemon.names import is_unfinished, is_version_name, why_ignored


@pytest.mark.parametrize("name", ["v1.0", "sensevoice-small-onnx-quant-v1.1", "模型-v2", "with space", "a" * 255])
def test_takes_printable_names_as_versions(name: str) -> None:
    assert is_version_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", ".hidden", "v1.tmp", "v1.part", "v1~", "a/b", "a\nb", "a" * 256, "lost+found", "._____temp",
        "v1.partial", "v1.filepart", "v1.crdownload", "v1.download", "v1.incomplete", "v1.Temp",
    ],
)  # fmt: skip
def test_ignores_hidden_unfinished_and_unprintable_names(name: str) -> None:
    assert not is_version_name(name)


@pytest.mark.parametrize(
    ("name", "because"),
    [
        (" ", "only spaces"),
        ("\u3000 ", "can't be printed"),
        ("-v9", "begins with -"),
        ("--help", "begins with -"),
        ("a\nb", "can't be printed"),
        ("v1\x1b[31m", "can't be printed"),
        ("\udcff", "can't be printed"),
        ("a" * 256, "more than 255 bytes"),
    ],
)
def test_a_name_that_commands_or_people_could_not_use_is_ignored_with_its_reason(name: str, because: str) -> None:
    assert not is_version_name(name)
    assert because in why_ignored(name)


@pytest.mark.parametrize("name", ["v1", "v1.tmp", ".hidden", "v1~", "with space", "v-1"])
def test_nothing_is_reported_about_versions_and_copies_in_progress(name: str) -> None:
    assert why_ignored(name) == ""


@pytest.mark.parametrize(
    "path",
    [
        "model.onnx.part", "model.onnx.filepart", "a/model.onnx.crdownload", "._____temp/model.onnx",
        "._____temp/x/model.onnx", ".cache/huggingface/download/abc.incomplete", ".model.onnx.aB3dEf",
        "golden/.en.wav.Zz9a0B", ".git/index.lock", ".git/objects/pack/tmp_pack_a1", ".git/lfs/incomplete/a", "x.aria2",
    ],
)  # fmt: skip
def test_files_that_programs_write_while_more_is_to_come_are_known(path: str) -> None:
    assert is_unfinished(path)


@pytest.mark.parametrize(
    "path",
    ["model.onnx", ".gitattributes", ".msc", ".cache/huggingface/CACHEDIR.TAG", ".git/HEAD", "partial.wav", "a.b"],
)
def test_finished_files_are_not_taken_for_unfinished_ones(path: str) -> None:
    assert not is_unfinished(path)
