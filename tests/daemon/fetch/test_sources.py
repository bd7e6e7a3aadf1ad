"""What SOURCE means."""

from __future__ import annotations

import pytest

from modelward.daemon.errors import BadUsage
from modelward.daemon.fetch.sources import (
    HubSource,
    PathSource,
    Source,
    WebSource,
    last_name,
    parse_source,
    without_archive_ending,
)

LONG = (
    "https://github.com/k2-fsa/sherpa-onnx/releases/download/asr-models/sherpa-onnx-sense-voice-int8-2025-09-09.tar.bz2"
)
FILE = "https://huggingface.co/org/name/resolve/main/a.tar.gz"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("ms:iic/SenseVoiceSmall-onnx", HubSource("ms", "iic/SenseVoiceSmall-onnx")),
        ("hf:csukuangfj/a-b.c@2365bae", HubSource("hf", "csukuangfj/a-b.c", "2365bae")),
        ("hf:org/name@refs/pr/1", HubSource("hf", "org/name", "refs/pr/1")),
        ("https://huggingface.co/org/name", HubSource("hf", "org/name")),
        ("https://huggingface.co/org/name/tree/v2", HubSource("hf", "org/name", "v2")),
        ("https://www.modelscope.cn/models/iic/S/files", HubSource("ms", "iic/S")),
        (FILE, WebSource(FILE, True)),
        (LONG, WebSource(LONG, True)),
        ("https://example.org/models/v1/", WebSource("https://example.org/models/v1/", False)),
        ("https://example.org/a.zip?token=x", WebSource("https://example.org/a.zip?token=x", True)),
        ("http://10.0.0.1/v1", WebSource("http://10.0.0.1/v1", False)),
        ("/srv/v1.0", PathSource("/srv/v1.0", False)),
        ("v1.0.tar.bz2", PathSource("v1.0.tar.bz2", True)),
        ("C:iic/S", PathSource("C:iic/S", False)),
    ],
)  # fmt: skip
def test_what_people_paste_is_understood(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "", "ms:", "ms:iic", "ms:iic/a/b", "hf:../x", "hf:a/..", "hf:a/b@../c", "hf:a b/c", "hf:a/b?x=1", "hf:a/b#c",
        "ftp://example.org/a", "file:///etc", "https://user:pw@example.org/a.tar", "https://[::1/a", "a\0b", "x" * 3000,
    ],
)  # fmt: skip
def test_anything_else_is_a_mistake(text: str) -> None:
    with pytest.raises(BadUsage, match="cannot fetch"):
        parse_source(text)


def test_a_source_names_its_version() -> None:
    assert str(HubSource("hf", "a/b", "v2")) == "hf:a/b@v2"
    assert without_archive_ending(last_name(LONG)) == "sherpa-onnx-sense-voice-int8-2025-09-09"
    assert last_name("https://example.org/models/%E6%A8%A1%E5%9E%8B/") == "模型"
