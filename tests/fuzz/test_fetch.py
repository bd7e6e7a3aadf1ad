"""What other places offer as a version: listings of hubs and web servers, their answers, archives, and their names."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import ODD_TEXTS, altered_text, bytes_like, deep, fuzzed, twisted
from tests.support import PATIENCE_SECONDS

from modelward.daemon.errors import BadUsage, Refused
from modelward.daemon.fetch import hugging_face, modelscope, web_listing
from modelward.daemon.fetch.directory_index import entries_of
from modelward.daemon.fetch.download import Download, Pace
from modelward.daemon.fetch.file_choice import choose
from modelward.daemon.fetch.file_part import NOTE, FilePart, WantedFile
from modelward.daemon.fetch.http_get import HttpReader, HttpRules, HttpText, shown
from modelward.daemon.fetch.patient_get import PatientReader
from modelward.daemon.fetch.remote_version import MAX_FILES, RemoteVersion, checked, require_inside
from modelward.daemon.fetch.sources import HubSource, PathSource, WebSource, parse_source
from modelward.daemon.fetch.version_naming import version_name
from modelward.daemon.models.unpack_archive import unpack
from modelward.daemon.models.upload_rules import MAX_UPLOAD_BYTES
from modelward.daemon.names import is_version_name
from modelward.daemon.system.clock import SystemClock
from modelward.worker.shared.checksums import SUMS

SHA, GIT, COMMIT = "ab" * 32, "cd" * 20, "ef" * 20
HF = HubSource("hf", "org/model-v1")
MS = HubSource("ms", "org/model-v1", "v2")
HF_REVISION = {"sha": COMMIT, "lastModified": "2026-01-02T03:04:05.000Z", "siblings": []}
HF_TREE = [
    {"type": "file", "path": "model.onnx", "size": 9, "oid": GIT, "lfs": {"oid": SHA, "size": 9}},
    {"type": "file", "path": "a/tokens.json", "size": 3, "oid": GIT},
    {"type": "directory", "path": "a", "size": 0, "oid": GIT},
]
MS_FILES = {
    "Code": 200,
    "Success": True,
    "Data": {
        "Files": [
            {"Path": "model.onnx", "Type": "blob", "Size": 9, "Sha256": SHA, "Revision": COMMIT, "CommittedDate": 1.7e9}
        ],
        "LatestCommitter": {"Id": COMMIT, "ShortId": COMMIT[:8], "CommittedDate": 1_700_000_000},
    },
}
PAGE = (
    b'<html><head><title>Index of /v1/</title></head><body><a href="../">../</a><a href="model.onnx">model.onnx</a>'
    b'<a href="a/">a/</a><a href="?C=M;O=D">Name</a><a href="https://elsewhere.example/x">x</a></body></html>'
)


def as_json(*examples: Any) -> st.SearchStrategy[bytes]:
    """JSON like these, or bytes that were such JSON."""
    whole = [json.dumps(each).encode() for each in examples]
    return st.one_of(
        twisted(*examples).map(lambda value: json.dumps(value).encode()),
        bytes_like(*whole),
        st.sampled_from((*whole, deep(20_000), b'{"Success":' + deep(20_000), b"\xff")),
    )


class ScriptedReader:
    """Answers one request after the other."""

    def __init__(self, *answers: HttpText) -> None:
        self._answers = list(answers)
        self.urls: list[str] = []

    def text(self, url: str, most_bytes: int, **more: Any) -> HttpText:
        self.urls.append(url)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return HttpText(answer.status, url, answer.body[:most_bytes], answer.headers)


def _usable(found: RemoteVersion, *places: str) -> None:
    """What comes after a listing: nothing of it leads elsewhere."""
    try:
        require_inside(found.origin, found.files)
        files = checked(found.origin, found.files)
    except Refused as e:
        assert str(e).startswith("cannot fetch") and len(str(e)) < 1000
        return
    assert len(files) <= MAX_FILES and sum(max(0, file.bytes) for file in files) <= MAX_UPLOAD_BYTES
    for file in files:
        assert file.url.startswith(places) and file.digest in (SHA, GIT, "") or len(file.digest) in (40, 64)
        assert not file.path.startswith("/") and not {"", ".", ".."} & set(file.path.split("/"))
        assert file.path.isprintable() and file.bytes >= -1
    with_name = version_name(found.name, revision=found.tag, wall=found.wall)
    assert is_version_name(with_name)


@fuzzed(120)
@given(
    as_json(HF_REVISION),
    as_json(HF_TREE),
    st.one_of(
        st.just(""),
        altered_text(f'<https://hub.example/api/models/org/model-v1/tree/{COMMIT}?cursor=x>; rel="next"'),
        st.just('<//[>; rel="next"'),
    ),
)
@example(json.dumps(HF_REVISION).encode(), b'[{"type":"file","path":"a","size":' + b"9" * 400 + b"}]", "")
@example(json.dumps(HF_REVISION).encode(), b"[]", '<//[>; rel="next"')
@example(json.dumps(HF_REVISION).encode(), json.dumps(HF_TREE).encode(), '<https://elsewhere.example/>; rel="next"')
def test_a_listing_of_hugging_face_is_a_version_or_refused(revision: bytes, tree: bytes, link: str) -> None:
    answers = HttpText(200, "", revision, {}), HttpText(200, "", tree, {"link": link}), HttpText(200, "", b"[]", {})
    reader = ScriptedReader(*answers)
    try:
        found = hugging_face.listed(cast(PatientReader, reader), HF, "https://hub.example")
    except Refused as e:
        assert str(e).startswith("cannot fetch") and len(str(e)) < 1000
        return
    assert all(url.startswith("https://hub.example/") for url in reader.urls)
    _usable(found, "https://hub.example/org/model-v1/resolve/")


@fuzzed(120)
@given(as_json(MS_FILES))
@example(json.dumps(MS_FILES).replace('"Size": 9', '"Size": ' + "9" * 400).encode())
@example(json.dumps(MS_FILES).replace("1700000000", "1e300").encode())
def test_a_listing_of_modelscope_is_a_version_or_refused(body: bytes) -> None:
    reader = ScriptedReader(HttpText(200, "", body, {}))
    try:
        found = modelscope.listed(cast(PatientReader, reader), MS, "https://hub.example")
    except Refused as e:
        assert str(e).startswith("cannot fetch") and len(str(e)) < 1000
        return
    _usable(found, "https://hub.example/api/v1/models/org/model-v1/repo?")


@fuzzed(120)
@given(bytes_like(PAGE), st.sampled_from(("https://example.org/v1/", "https://[::1]:8/a%20b/", "https://x/")))
@example(b'<a href="//[">', "https://example.org/v1/")
@example(b'<a href="%2e%2e%2f"><a href="a%2fb"><a href="a%00"><a href="%ff"><a href="..">', "https://example.org/v1/")
def test_a_page_of_a_directory_names_what_lies_directly_below(page: bytes, url: str) -> None:
    files, directories = entries_of(page.decode(errors="replace"), url)
    for name in (*files, *directories):
        assert name not in ("", ".", "..") and "/" not in name and "\\" not in name and name.isprintable()
    reader = ScriptedReader(HttpText(200, "", page, {"content-type": "text/html"}))
    try:
        found = web_listing.listed(cast(PatientReader, reader), WebSource(url, False))
    except Refused as e:
        assert str(e).startswith("cannot fetch")
        return
    assert isinstance(found, RemoteVersion) and all(each.startswith(url) for each in reader.urls)
    assert all(file.url.startswith(url) for file in found.files)


@pytest.mark.parametrize("unit", ["<a", "<!", "<![CDATA[", "<!--", "</", "&", '<a href="', "<script>", "<a x='"])
def test_no_page_takes_the_square_of_its_length(unit: str) -> None:
    """With time in the square of it, a page of 4 MB would take hours: a tenth of that ends the run here."""
    entries_of(unit * (400_000 // len(unit)), "https://example.org/v1/")


@fuzzed(200)
@given(
    st.one_of(
        altered_text(
            "ms:iic/SenseVoiceSmall-onnx@v1", "hf:a/b", "https://huggingface.co/a/b/tree/main", "https://x/y.tar.gz",
            "./models/v1.zip", "https://user:secret@x/y",
        ),
        ODD_TEXTS,
    )
)  # fmt: skip
@example("https://[")
@example("https://x:99999/")
@example("hf:a/../../b")
def test_a_source_is_one_of_four_kinds_or_refused(text: str) -> None:
    try:
        found = parse_source(text)
    except BadUsage as e:
        assert str(e).startswith("cannot fetch") and len(str(e)) < 1000
        return
    if isinstance(found, HubSource):
        assert found.repository.count("/") == 1 and ".." not in str(found)
        assert parse_source(str(found)) == found
    elif isinstance(found, WebSource):
        assert found.url.startswith(("http", "HTTP")) or "://" in found.url
    else:
        assert isinstance(found, PathSource)


def test_the_checksum_of_an_archive_lies_beside_it_whatever_its_name() -> None:
    reader = ScriptedReader(HttpText(404, "", b"", {}))
    reader.length_and_etag = lambda url: (5, "")  # type: ignore[attr-defined]
    web_listing.listed(cast(PatientReader, reader), WebSource("https://example.org/a/b:c.tar", True))
    assert reader.urls == ["https://example.org/a/SHA256SUMS", "https://example.org/a/b:c.tar.sha256"]


@fuzzed(100)
@given(ODD_TEXTS, ODD_TEXTS)
def test_an_address_is_shown_without_what_may_be_secret(user: str, query: str) -> None:
    secret = "s3cr3t"
    url = f"https://{user.replace('/', '')}:{secret}@example.org/a?token={secret}{query}"
    assert secret not in shown(url) and len(shown(url)) <= 300


@fuzzed(150)
@given(
    st.one_of(altered_text("SenseVoiceSmall-onnx", "model-v1.2", "模型-2024-01-02", "a___b"), ODD_TEXTS),
    st.one_of(altered_text("v1.0", "main", "release/2"), ODD_TEXTS),
    st.floats(allow_nan=False),
)
@example("a", "", 1e300)
@example("a", "v1/../..", 0.0)
def test_a_version_gets_one_name_that_it_may_have(name: str, revision: str, wall: float) -> None:
    try:
        found = version_name(name, revision=revision, wall=wall)
    except Refused as e:
        assert str(e).startswith("cannot name")
        return
    assert is_version_name(found) and found == version_name(name, revision=revision, wall=wall)
    assert version_name(found, revision=revision, wall=wall) == found  # a second fetch of a copy changes nothing


_PATHS = st.lists(
    st.one_of(
        st.sampled_from(
            ("model.onnx", "model_quant.onnx", "vad.onnx", "a/model.onnx", "tokens.json", "am.mvn", "model.onnx.data",
             ".git/x", "golden/a.wav", "x.pt", SUMS)
        ),
        ODD_TEXTS.filter(bool),
    ),
    max_size=8, unique=True,
)  # fmt: skip


@fuzzed(120)
@given(_PATHS, _PATHS, st.sampled_from(("", "model.onnx", "../x")), st.booleans())
def test_what_is_chosen_is_there_and_has_one_model(
    paths: list[str], sums: list[str], model: str, everything: bool
) -> None:
    try:
        found = choose(paths, sums=sums, model=model, everything=everything)
    except Refused as e:
        assert str(e).startswith("cannot") and len(str(e)) < 60_000
        return
    assert set(found.paths) <= set(paths) and list(found.paths) == sorted(found.paths)
    if not sums and not everything:
        assert [path for path in found.paths if path.endswith(".onnx") and "/" not in path] == [found.model]
    assert choose(sorted(paths), sums=sums, model=model, everything=everything) == found


def _tar(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in (("v1/model.onnx", b"m" * 700), ("v1/a/tokens.json", b"[]")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _zip(compression: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as found:
        found.writestr("v1/model.onnx", b"m" * 700)
        found.writestr("v1/a/", b"")
        found.writestr("v1/a/tokens.json", b"[]")
    return out.getvalue()


def _named(*names: str) -> bytes:
    """A tar file with members of these names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


TARS = (_tar("w:"), _tar("w:gz"), _tar("w:bz2"))
ZIPS = (_zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_DEFLATED))
MOST_BYTES = 100_000


@fuzzed(120)
@given(
    st.one_of(
        st.tuples(st.just("tar"), bytes_like(*TARS, head=1600)),
        st.tuples(st.just("tar"), st.lists(ODD_TEXTS, max_size=3).map(lambda names: _tar_or_none(names))),
        st.tuples(st.just("zip"), bytes_like(*ZIPS)),
    )
)
@example(("tar", _named("../../outside", "/etc/x")))
@example(("tar", _named("a", "a/b")))
@example(("tar", gzip.compress(bytes(10 << 20))))
@example(("zip", ZIPS[1].replace(b"v1/a/tokens.json", b"../../../outside")))
def test_an_archive_is_unpacked_inside_or_refused(made: tuple[str, bytes]) -> None:
    kind, data = made
    written = 0

    def may_write(count: int) -> None:
        nonlocal written
        written += count
        if written > MOST_BYTES:
            raise Refused("cannot unpack: too much")

    with tempfile.TemporaryDirectory() as directory:
        into = Path(directory, "into")
        into.mkdir()
        fd = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
        try:
            files = unpack(io.BytesIO(data), kind, fd, cannot="cannot unpack", may_write=may_write, most=20)
            assert files == sum(path.is_file() for path in into.rglob("*"))
        except Refused as e:
            assert str(e).startswith("cannot unpack") and len(str(e)) < 1000
        except OSError as e:
            assert e.errno, e
        finally:
            os.close(fd)
        assert os.listdir(directory) == ["into"]
        assert not any(path.is_symlink() for path in into.rglob("*"))
        assert sum(path.stat().st_size for path in into.rglob("*") if path.is_file()) <= MOST_BYTES


def _tar_or_none(names: list[str]) -> bytes:
    try:
        return _named(*names)
    except (ValueError, UnicodeError):
        return b""


CONTENT = bytes(range(256)) * 8
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def _answer(head: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode() + body


WHOLE = _answer(f'200 OK\r\nContent-Length: {len(CONTENT)}\r\nETag: "a"', CONTENT)
PART = _answer(f"206 Partial\r\nContent-Length: 1048\r\nContent-Range: bytes 1000-2047/{len(CONTENT)}", CONTENT[1000:])


class RawSite:
    """A web server that sends the scripted bytes for each request and closes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/model.onnx"
        self.answers: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(PATIENCE_SECONDS)
                    connection.recv(65536)
                    connection.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[RawSite]:
    site = RawSite()
    yield site
    site.close()


@fuzzed(60)
@given(
    st.lists(bytes_like(WHOLE, PART, head=120), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from((0, 1000)),
)
@example([_answer("302 Found\r\nLocation: http://[", b"")], True, 0)
@example([_answer("302 Found\r\nLocation: //\xff", b"")], True, 0)
@example([_answer("302 Found\r\nLocation: file:///etc/passwd", b"")], True, 0)
@example([_answer("200 OK\r\nContent-Length: 99999999999999999999", CONTENT)], True, 0)
@example([_answer("200 OK\r\nTransfer-Encoding: chunked", b"fffffffffffffffff\r\n")], True, 0)
@example([_answer("503 No\r\nRetry-After: 9999999999", b""), WHOLE], True, 0)
@example([WHOLE[:900], PART], True, 0)
def test_what_was_downloaded_is_what_was_promised_or_it_is_refused(
    site: RawSite, answers: list[bytes], promised: bool, there: int
) -> None:
    site.answers = list(answers)
    with tempfile.TemporaryDirectory() as directory:
        place, aside = Path(directory, "model.onnx"), Path(directory, "aside")
        wanted = WantedFile(site.url, len(CONTENT) if promised else -1, DIGEST if promised else "")
        if there:
            Path(directory, "aside.part").write_bytes(CONTENT[:there])
            note = {"url": site.url, "validator": '"a"', "bytes": len(CONTENT), "digest": wanted.digest}
            Path(directory, f"aside{NOTE}").write_text(json.dumps(note))
        download = Download(HttpReader(HttpRules()), SystemClock(), pace=Pace(tries=2, pause_seconds=0.0))
        try:
            found = download.fetch(wanted, place, aside)
        except Refused as e:
            assert str(e).startswith("cannot fetch") and len(str(e)) < 1000 and not place.exists()
            return
        kept = place.read_bytes()
        assert found.bytes == len(kept) and hashlib.sha256(kept).hexdigest() == found.sha256
        assert not promised or kept == CONTENT
        assert set(os.listdir(directory)) <= {"model.onnx", "aside.note"}


PART_NOTE = {"url": "https://x/a", "validator": '"a"', "bytes": 5, "digest": SHA, "complete": True, "sha256": SHA}


@fuzzed(80)
@given(as_json(PART_NOTE))
@example(b'{"url":"https://x/a","complete":true,"bytes":5,"digest":"","sha256":"none"}')
def test_a_note_beside_a_part_is_read_or_the_file_comes_anew(note: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place, aside = Path(directory, "a"), Path(directory, "aside")
        Path(directory, f"aside{NOTE}").write_bytes(note)
        Path(directory, "aside.part").write_bytes(b"abc")
        part = FilePart(WantedFile("https://x/a", 5, SHA), place, aside)
        assert part.offset in (0, 3) and part.done() is None
        part.close()
