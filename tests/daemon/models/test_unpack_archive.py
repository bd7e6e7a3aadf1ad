"""Archives that mean harm, or are damaged, make nothing but files below their directory."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from modelward.daemon.errors import Refused
from modelward.daemon.models.unpack_archive import MAX_REST_BYTES, MAX_TABLE_BYTES, PIECE_BYTES, unpack

MOST = 20
"""Entries, for these tests."""


def unpacked(content: bytes, kind: str, into: Path, most: int = 1 << 20) -> int:
    written = 0

    def may_write(size: int) -> None:
        nonlocal written
        written += size
        if written > most:
            raise Refused("no room")

    fd = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack(io.BytesIO(content), kind, fd, cannot="cannot unpack", may_write=may_write, most=MOST)
    finally:
        os.close(fd)


def tar(*members: tuple[str, bytes | str], mode: str = "w", **more: object) -> bytes:
    """Files by name and content; a content of text is the target of a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            for key, value in more.items():
                setattr(info, key, value)
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def packed_zip(*members: tuple[str, bytes], mode: int = 0o644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, content)
    return made.getvalue()


FILES = (("m/model.onnx", b"x" * 3000), ("m/golden/a.txt", b"text"), ("m/empty", b""))


@pytest.mark.parametrize(
    ("content", "kind"),
    [(tar(*FILES), "tar"), (tar(*FILES, mode="w:gz"), "tar"), (tar(*FILES, mode="w:bz2"), "tar")]
    + [(packed_zip(*FILES), "zip"), (packed_zip(*FILES, method=zipfile.ZIP_STORED), "zip")],
)
def test_what_was_packed_comes_out(content: bytes, kind: str, tmp_path: Path) -> None:
    assert unpacked(content, kind, tmp_path) == 3
    assert {name: (tmp_path / name).read_bytes() for name, _ in FILES} == dict(FILES)
    assert stat.S_IMODE((tmp_path / "m/empty").stat().st_mode) & 0o022 == 0


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path: Path) -> None:
    notes = ("__MACOSX/._m", b"x"), ("__MACOSX/m/._model.onnx", b"x")
    assert unpacked(packed_zip(*FILES, *notes), "zip", tmp_path) == 3
    assert os.listdir(tmp_path) == ["m"]


def changed(packed: bytes, at: int) -> bytes:
    """With one byte that differs."""
    whole = bytearray(packed)
    whole[at] ^= 1
    return bytes(whole)


def hardlink() -> bytes:
    return tar(("a", b""), type=tarfile.LNKTYPE, linkname="/etc/passwd")


def long_header() -> bytes:
    """A name of a gigabyte, packed to nearly nothing."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(8 << 20), 1)


def sparse_map() -> bytes:
    """A map of a thousand million pieces."""
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "9"}
    info = tarfile.TarInfo("a")
    info.pax_headers, info.size = pax, 64 << 20
    return gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + b"1000000000\n" + b"0\n" * (8 << 20), 1)


def nested_headers() -> bytes:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XGLTYPE
    return info.tobuf(tarfile.USTAR_FORMAT) * 5000


def table_of_a_zip() -> bytes:
    """A directory that claims to be large."""
    size = MAX_TABLE_BYTES + 1
    return bytes(size) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: tar(("../out", b"x")), "tar"),
        (lambda: tar(("/out", b"x")), "tar"),
        (lambda: tar(("a", "../.."), ("a/out", b"x")), "tar"),
        (lambda: tar(("a", "/etc/passwd")), "tar"),
        (hardlink, "tar"),
        (lambda: tar(("a", b""), type=tarfile.FIFOTYPE), "tar"),
        (lambda: tar(("a", b""), type=tarfile.CHRTYPE), "tar"),
        (lambda: tar(("a", b"1"), ("a", b"2")), "tar"),
        (lambda: tar(("a", b"1"), ("a/b", b"2")), "tar"),
        (lambda: tar(*((f"f{n}", b"") for n in range(MOST + 1))), "tar"),
        (lambda: tar(*(("./", b"") for _ in range(MOST + 1)), type=tarfile.DIRTYPE), "tar"),
        (lambda: gzip.compress(tar(("a", bytes(4 << 20))), 1), "tar"),
        (long_header, "tar"),
        (sparse_map, "tar"),
        (nested_headers, "tar"),
        (lambda: tar(*FILES, mode="w:gz")[:-20], "tar"),
        (lambda: tar(*FILES, mode="w:gz")[:-8], "tar"),
        (lambda: changed(tar(*FILES, mode="w:gz"), -8), "tar"),  # the checksum, and below the length
        (lambda: changed(tar(*FILES, mode="w:gz"), -4), "tar"),
        (lambda: changed(tar(*FILES, mode="w:bz2"), -3), "tar"),
        (lambda: gzip.compress(tar(*FILES) + bytes(MAX_REST_BYTES + PIECE_BYTES), 1), "tar"),
        (lambda: tar(*FILES)[: 512 + 3072], "tar"),  # cut between two members
        (lambda: changed(tar(*FILES), 512 + 3072), "tar"),  # the name in the second header
        (lambda: b"no archive", "tar"),
        (lambda: b"\x1f\x8bnone", "tar"),
        (lambda: packed_zip(("../out", b"x")), "zip"),
        (lambda: packed_zip(("a", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "zip"),
        (lambda: packed_zip(("a", bytes(4 << 20))), "zip"),
        (lambda: packed_zip(("a", b"x"), method=zipfile.ZIP_LZMA), "zip"),
        (lambda: packed_zip(*((f"f{n}", b"") for n in range(MOST + 1))), "zip"),
        (lambda: packed_zip(*FILES)[:-9], "zip"),
        (table_of_a_zip, "zip"),
        (lambda: b"", "zip"),
    ],
)
def test_what_means_harm_is_refused_with_its_reason(make: Callable[[], bytes], kind: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(Refused):
        unpacked(make(), kind, inside)
    assert os.listdir(tmp_path) == ["inside"]
    assert not [path for path in inside.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a/b"),
        ("a", "a/b/c"),
        ("a", "a/"),
        ("a", "a/b/"),
        ("a/", "a"),
        ("a/b/", "a/b"),
        ("a/b", "a"),
        ("a", "./a"),
    ],
)
def test_a_name_that_is_a_file_and_something_else_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(info)
    for number, (content, kind) in enumerate(
        [(packed.getvalue(), "tar"), (packed_zip(*((name, b"") for name in names)), "zip")]
    ):
        into = tmp_path / str(number)
        into.mkdir()
        with pytest.raises(Refused, match="is in the archive twice"):
            unpacked(content, kind, into)


@settings(max_examples=examples(40))
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8), st.sampled_from(["tar", "zip"]))
def test_a_damaged_archive_is_unpacked_or_refused(at: int, noise: bytes, kind: str) -> None:
    whole = tar(*FILES) if kind == "tar" else packed_zip(*FILES)
    with tempfile.TemporaryDirectory() as into:
        try:
            unpacked(whole[:at] + noise + whole[at + len(noise) :], kind, Path(into))
        except Refused:
            return
