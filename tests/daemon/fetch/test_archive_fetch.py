"""Versions that are archives: from the web and from the disk, entered where all lies in one directory."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.daemon.fetch.conftest import FILES as REPOSITORY
from tests.daemon.fetch.conftest import MODEL, TAKEN
from tests.daemon.fetch.test_fetcher import Fetches, content
from tests.fakes.model_hub import ModelHub

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.archive_fetch import fetch_archive, fetch_local_archive
from modelward.daemon.fetch.fetcher import Fetched, FetchOptions, FetchTarget
from modelward.daemon.fetch.sources import WebSource
from modelward.daemon.fetch.web_listing import RemoteArchive
from modelward.worker.shared.sha256sums import parse_sums

FILES = {**REPOSITORY, "model_quant.onnx": MODEL[:20_000], "model.onnx": MODEL[:9_000]}


def tar(files: dict[str, bytes], top: str = "", mode: str = "w:bz2") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for path, data in files.items():
            member = tarfile.TarInfo(top + path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return out.getvalue()


class Archives(Fetches):
    """Fetches of archives below /a/."""

    def put(self, name: str, data: bytes) -> None:
        self.hub.pages[f"/a/{name}"] = ("application/octet-stream", data)

    def get(self, name: str, **options: object) -> Fetched:
        fetcher = self.fetcher()
        remote = fetcher.offered(WebSource(f"{self.hub.url}/a/{name}", archive=True))
        assert isinstance(remote, RemoteArchive)
        return fetch_archive(fetcher, remote, FetchOptions(**options))  # type: ignore[arg-type]


@pytest.fixture
def fetch(hub: ModelHub, tmp_path: Path) -> Archives:
    return Archives(hub, tmp_path / "models")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("s-2024-07-17.tar.bz2", tar(FILES, "s-2024-07-17/")),
        ("s-2024-07-17.tar.gz", tar(FILES, "./", "w:gz")),
        ("s-2024-07-17.tar", tar(FILES, "", "w")),
        ("s-2024-07-17.zip", zipped(FILES)),
    ],
)
def test_an_archive_becomes_a_version(fetch: Archives, tmp_path: Path, name: str, data: bytes) -> None:
    fetch.put(name, data)
    fetched = fetch.get(name)
    there = content(fetched.path)
    sums = there.pop("SHA256SUMS")
    assert fetched.name == "s-2024-07-17" and there == {path: FILES[path] for path in TAKEN}
    assert parse_sums(sums) == {path: hashlib.sha256(FILES[path]).hexdigest() for path in TAKEN}
    assert os.listdir(fetch.root) == ["s-2024-07-17"]
    (tmp_path / name).write_bytes(data)
    local = fetch_local_archive(FetchTarget(fetch.root), tmp_path / name, FetchOptions("v2"))
    assert content(local.path) == there and local.new
    assert not fetch_local_archive(FetchTarget(fetch.root), tmp_path / name, FetchOptions("v2")).new
    with pytest.raises(Refused, match="has other content; --as NAME keeps both"):
        fetch_local_archive(FetchTarget(fetch.root), tmp_path / name, FetchOptions("v2", everything=True))
    assert sorted(os.listdir(fetch.root)) == ["s-2024-07-17", "v2"]


def test_checksums_beside_an_archive_are_checked(fetch: Archives) -> None:
    data = tar(FILES, "s/")
    fetch.put("s-v1.tar.bz2", data)
    fetch.put("SHA256SUMS", f"{'0' * 64}  s-v1.tar.bz2\n".encode())
    with pytest.raises(Refused, match="its digest is"):
        fetch.get("s-v1.tar.bz2")
    assert fetch.visible() == []
    del fetch.hub.pages["/a/SHA256SUMS"]
    fetch.put("s-v1.tar.bz2.sha256", f"{hashlib.sha256(data).hexdigest()}  s-v1.tar.bz2\n".encode())
    assert fetch.get("s-v1.tar.bz2").new and not fetch.get("s-v1.tar.bz2").new


def test_the_same_archive_without_a_checksum_is_known_by_the_servers_name_for_its_content(fetch: Archives) -> None:
    fetch.put("s-v1.tar.bz2", tar(FILES, "s/"))
    assert fetch.get("s-v1.tar.bz2").new and not fetch.get("s-v1.tar.bz2").new
    fetch.put("s-v1.tar.bz2", tar({**FILES, "model.onnx": b"another"}, "s/"))
    with pytest.raises(Refused, match="exists, and may be another version; --as NAME keeps both"):
        fetch.get("s-v1.tar.bz2")


def test_an_archive_that_broke_off_continues(fetch: Archives) -> None:
    data = tar(FILES, "s/")
    fetch.put("s-v1.tar.bz2", data)
    fetch.hub.faults["/a/s-v1.tar.bz2"] = ["cut:1000", *["503"] * 3]
    with pytest.raises(Refused, match="the same command continues"):
        fetch.get("s-v1.tar.bz2")
    assert fetch.visible() == [] and fetch.get("s-v1.tar.bz2").new
    assert fetch.hub.asked("/a/s-v1.tar.bz2")[-1]["Range"] == "bytes=1000-"


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (b"<html>not found</html>", "damaged"),
        (tar(FILES)[:-500], "damaged"),
        (tar({}), "no files"),
        (tar({"../x": b"x"}), "leads outside"),
        (tar({"m.onnx": b"x", "m.onnx/a/b": b"x"}), "is in the archive twice"),
        (tar({"model.pt": b"x"}), "PyTorch's form"),
        (zipped({"a/b.txt": b"x"}), "no .onnx file"),
        (tar({"m.onnx": b"x", "SHA256SUMS": b"junk"}), "SHA256SUMS: line 1 is not"),
        (tar({"m.onnx": b"x", "SHA256SUMS": f"{'0' * 64}  n.onnx\n".encode()}), "lists n.onnx, which is not there"),
    ],
)
def test_an_archive_that_is_no_version_leaves_nothing(fetch: Archives, data: bytes, because: str) -> None:
    fetch.put("s-v1.tar.bz2", data)
    with pytest.raises(Refused, match=because):
        fetch.get("s-v1.tar.bz2")
    assert os.listdir(fetch.root) == []


def test_room_is_needed_for_the_archive_and_for_what_is_in_it(fetch: Archives, tmp_path: Path) -> None:
    fetch.put("s-v1.tar", tar(FILES, "", "w"))
    fetch.reserve = lambda total: total
    with pytest.raises(Refused, match=r"it needs 80KiB"):
        fetch.get("s-v1.tar")
    assert os.listdir(fetch.root) == []


def test_a_local_archive_that_is_not_there_is_a_sentence(fetch: Archives, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot copy .*none.tar: No such file"):
        fetch_local_archive(FetchTarget(fetch.root), tmp_path / "none.tar", FetchOptions("v1"))
