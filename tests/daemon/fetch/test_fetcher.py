"""Versions from hubs and web servers: the right files, checked, at once or not at all, and continued."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.daemon.fetch.conftest import AT_ONCE, FILES, MODEL, TAKEN
from tests.fakes.model_hub import COMMIT, ModelHub, hugging_face_entries, modelscope_entries
from tests.roots import IN_ROOT

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.fetcher import Fetched, Fetcher, FetchOptions, FetchTarget
from modelward.daemon.fetch.http_get import HttpReader, HttpRules, origin
from modelward.daemon.fetch.patient_get import PatientReader
from modelward.daemon.fetch.sources import HubSource, WebSource
from modelward.daemon.fetch.web_listing import RemoteArchive
from modelward.daemon.models import scan
from modelward.daemon.models.snapshot import RootSeen
from modelward.daemon.system.clock import SystemClock
from modelward.worker.shared.sha256sums import parse_sums

HF, MS = HubSource("hf", "iic/S"), HubSource("ms", "iic/S")
ONNX = f"/iic/S/resolve/{COMMIT}/model_quant.onnx"


class View:
    """What a fetch showed."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int]] = []
        self.there = (0, 0)

    def began(self, name: str, files: int, total_bytes: int) -> None:
        self.begun.append((name, files, total_bytes))

    def came(self, there_bytes: int, total_bytes: int) -> None:
        self.there = (there_bytes, total_bytes)

    def waits(self, because: str, seconds: float) -> None: ...


class Fetches:
    """Fetches into one root."""

    def __init__(self, hub: ModelHub, root: Path, rules: HttpRules | None = None) -> None:
        root.mkdir(exist_ok=True)
        self.hub, self.root, self.view = hub, root, View()
        self.rules, self.reserve = rules or HttpRules(), lambda total: 0

    def fetcher(self) -> Fetcher:
        reader = PatientReader(HttpReader(self.rules), SystemClock(), AT_ONCE, self.view.waits)
        return Fetcher(reader, self.view, FetchTarget(self.root, reserve=self.reserve))

    def __call__(self, source: HubSource | str, **options: object) -> Fetched:
        fetcher, chosen = self.fetcher(), FetchOptions(**options)  # type: ignore[arg-type]
        if isinstance(source, HubSource):
            return fetcher.fetch(fetcher.listed(source, self.hub.url), chosen)
        remote = fetcher.offered(WebSource(self.hub.url + source, archive=False))
        assert not isinstance(remote, RemoteArchive)
        return fetcher.fetch(remote, chosen)

    def visible(self) -> list[str]:
        return sorted(name for name in os.listdir(self.root) if not name.startswith("."))


@pytest.fixture
def fetch(hub: ModelHub, tmp_path: Path) -> Fetches:
    return Fetches(hub, tmp_path / "models")


def content(version: Path) -> dict[str, bytes]:
    return {str(path.relative_to(version)): path.read_bytes() for path in sorted(version.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("source", [HF, MS])
def test_a_version_of_a_hub_is_complete_checked_and_pinned(fetch: Fetches, source: HubSource) -> None:
    fetch.hub.page_size = 3
    fetched = fetch(source)
    version = fetch.root / "S-20240927"
    assert fetched == Fetched("S-20240927", version, 7, fetched.bytes, COMMIT, new=True)
    there = content(version)
    sums = there.pop("SHA256SUMS")
    assert there == {path: FILES[path] for path in TAKEN}
    assert parse_sums(sums) == {path: hashlib.sha256(FILES[path]).hexdigest() for path in TAKEN}
    assert sums.startswith(f"# {source} at {COMMIT}\n".encode())
    assert os.listdir(fetch.root) == ["S-20240927"]
    seen = scan.scan_root(fetch.root, IN_ROOT)
    assert isinstance(seen, RootSeen) and seen.versions[0].renamed_in and seen.versions[0].sums_complete
    assert fetch.view.there == (fetch.view.begun[0][2], fetch.view.begun[0][2]) and fetch.view.begun[0][1] == 6


@pytest.mark.parametrize("source", [HF, MS, "/files/"])
def test_the_same_version_is_not_fetched_twice(fetch: Fetches, source: HubSource | str) -> None:
    fetch.hub.files["SHA256SUMS"] = b"".join(
        f"{hashlib.sha256(FILES[path]).hexdigest()}  {path}\n".encode() for path in TAKEN
    )
    fetch(source, name="v1")
    asked = len(fetch.hub.asked("model_quant.onnx"))
    assert not fetch(source, name="v1").new and len(fetch.hub.asked("model_quant.onnx")) == asked
    sums = fetch.hub.files["SHA256SUMS"]
    fetch.hub.files["SHA256SUMS"] = (b"0" if sums[:1] != b"0" else b"1") + sums[1:]
    with pytest.raises(Refused, match="exists, and may be another version; --as|promise different content"):
        fetch(source, name="v1")


def test_the_name_may_be_given_and_a_taken_one_is_never_replaced(fetch: Fetches) -> None:
    (fetch.root / "S-20240927").mkdir()
    with pytest.raises(Refused, match="--as S-20240927-20240927 keeps both"):
        fetch(HF)
    assert fetch(HF, name="v2.0").name == "v2.0" and os.listdir(fetch.root / "S-20240927") == []
    assert fetch(HubSource("hf", "iic/S", "v2")).name == "S-v2"


@pytest.mark.parametrize("source", [HF, MS, "/files/"])
def test_another_model_or_everything_may_be_taken(fetch: Fetches, source: HubSource | str) -> None:
    fetch(source, name="v1", model="model.onnx")
    assert {"model.onnx", "tokens.json"} < set(content(fetch.root / "v1")) and "model_quant.onnx" not in content(
        fetch.root / "v1"
    )
    fetch(source, name="v2", everything=True)
    assert set(content(fetch.root / "v2")) == {*FILES, "SHA256SUMS"}


@pytest.mark.parametrize("name", ["../outside", "current", ".hidden", "a/b"])
def test_no_name_leads_elsewhere(fetch: Fetches, name: str) -> None:
    (fetch.root.parent / "outside").mkdir()
    with pytest.raises(Refused, match=f"cannot fetch {name}: "):
        fetch(HF, name=name)
    assert os.listdir(fetch.root) == []


def test_a_directory_of_a_web_server_is_a_version(fetch: Fetches) -> None:
    fetched = fetch("/files/", name="v1")
    there = content(fetched.path)
    assert {path: there[path] for path in TAKEN} == {path: FILES[path] for path in TAKEN}
    assert fetch.view.begun == [("v1", 6, sum(len(FILES[path]) for path in TAKEN))]


@pytest.mark.parametrize("source", [HF, MS])
def test_what_broke_off_is_hidden_and_continues(fetch: Fetches, source: HubSource) -> None:
    path = ONNX if source is HF else "/api/v1/models/iic/S/repo"
    fetch.hub.faults[path] = ([] if source is HF else [""] * 3) + ["cut:300000", *["503"] * 3]
    with pytest.raises(Refused, match="the same command continues"):
        fetch(source)
    assert fetch.visible() == []
    before = len(fetch.hub.requests)
    fetch(source)
    later = [headers for _, url, headers in fetch.hub.requests[before:] if "resolve" in url or "FilePath" in url]
    assert later[0]["Range"] == "bytes=300000-" and len(later) == 2  # and tokens.json, which comes after it
    assert content(fetch.root / "S-20240927")["model_quant.onnx"] == MODEL and fetch.visible() == ["S-20240927"]


def test_a_revision_that_moved_keeps_what_is_the_same(fetch: Fetches) -> None:
    fetch.hub.faults[f"/iic/S/resolve/{COMMIT}/tokens.json"] = ["503"] * 4
    with pytest.raises(Refused):
        fetch(HF)
    fetch.hub.files |= {"tokens.json": b'["b"]', "golden": b""}
    del fetch.hub.files["golden"], fetch.hub.files["am.mvn"], fetch.hub.files["golden/a.txt"]
    before = len(fetch.hub.requests)
    fetch(HF)
    assert [url for _, url, _ in fetch.hub.requests[before:] if "resolve" in url] == [
        f"/iic/S/resolve/{COMMIT}/tokens.json"
    ]
    there = content(fetch.root / "S-20240927")
    assert (
        there["tokens.json"] == b'["b"]' and "am.mvn" not in there and not (fetch.root / "S-20240927/golden").exists()
    )


def test_room_is_checked_before_the_first_byte_with_what_is_there_already(fetch: Fetches) -> None:
    fetch.reserve = lambda total: total
    with pytest.raises(
        Refused, match=r"it needs 625KiB and there is room for 0B \(.* must stay free \(disk.min_free\)\)"
    ):
        fetch(HF)
    assert fetch.hub.asked("resolve") == [] and os.listdir(fetch.root) == []


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda e: e.append(e[-1] | {"path": "../x", "Path": "../x"}), "leads outside the version"),
        (lambda e: e.append(e[-1] | {"path": "/etc/x", "Path": "/etc/x"}), "leads outside the version"),
        (lambda e: e.append(e[-1] | {"path": "a\0b", "Path": "a\0b"}), "leads outside the version"),
        (lambda e: e.append(e[-1]), "lists a file twice"),
        (
            lambda e: e.extend(e[-1] | {"path": f"{n}", "Path": f"{n}"} for n in range(10_001)),
            "has more (than 10,000 )?files",
        ),
        (lambda e: e.append({"path": 7}), "the answer is not that of"),
        (lambda e: e[-1].update(size=1 << 50, Size=1 << 50), "64GiB at most"),
        (lambda e: e[:].__class__.clear(e), "no (.onnx file|files)"),
    ],
)
@pytest.mark.parametrize("source", [HF, MS])
def test_a_listing_that_means_harm_is_refused(
    fetch: Fetches, source: HubSource, change: Callable[[list[object]], None], because: str
) -> None:
    entries = hugging_face_entries(FILES) if source is HF else modelscope_entries(FILES)
    change(entries)  # type: ignore[arg-type]
    fetch.hub.listing_of = {source.hub: entries}
    with pytest.raises(Refused, match=because):
        fetch(source)
    assert os.listdir(fetch.root) == [] and fetch.hub.asked("resolve") == []


@pytest.mark.parametrize("source", [HF, MS])
def test_sizes_and_digests_that_the_listing_made_up_are_found(fetch: Fetches, source: HubSource) -> None:
    make = hugging_face_entries if source is HF else modelscope_entries
    for lie, because in (
        ({"model_quant.onnx": MODEL[:-1]}, "are promised"),
        ({"model_quant.onnx": MODEL[::-1]}, "its digest is"),
    ):
        fetch.hub.listing_of = {source.hub: make(FILES | lie)}
        with pytest.raises(Refused, match=because):
            fetch(source)
        assert fetch.visible() == []


@pytest.mark.parametrize(
    ("source", "because"),
    [
        (HubSource("hf", "iic/none"), "answered 404"),
        (HubSource("hf", "iic/S", "none"), "answered 404"),
        (HubSource("ms", "iic/none"), "there is no such repository, or it needs MODELSCOPE_API_TOKEN"),
        (HubSource("ms", "iic/S", "none"), "no files at the revision none"),
        ("/none/", "answered 404"),
        ("/files/model_quant.onnx", "neither an archive .* nor a page that lists a directory"),
    ],
)
def test_what_is_not_there_is_a_sentence(fetch: Fetches, source: HubSource | str, because: str) -> None:
    with pytest.raises(Refused, match=because):
        fetch(source)
    assert os.listdir(fetch.root) == []


def test_the_list_of_files_may_not_go_on_at_another_host(fetch: Fetches) -> None:
    fetch.hub.page_size = 3
    fetcher = fetch.fetcher()
    with pytest.raises(Refused, match="goes on at another host"):
        fetcher.listed(HF, fetch.hub.url.replace("127.0.0.1", "localhost"))


def test_the_list_of_files_has_an_end(fetch: Fetches) -> None:
    """Pages that name one another: without entries, and with one entry each."""
    fetch.hub.listing_of, fetch.hub.page_size = {"hf": []}, -1
    with pytest.raises(Refused, match="a page of the list of its files is empty and names another one"):
        fetch(HF)
    assert len(fetch.hub.asked("/tree/")) == 1
    fetch.hub.listing_of, fetch.hub.page_size = {"hf": hugging_face_entries({f"{n}": b"" for n in range(250)})}, 1
    with pytest.raises(Refused, match="more than 200 pages"):
        fetch(HF)
    assert len(fetch.hub.asked("/tree/")) == 1 + 200 and os.listdir(fetch.root) == []


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: ModelHub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    elsewhere = hub.url.replace("127.0.0.1", "localhost")
    hub.pages["/cdn/model"] = ("application/octet-stream", MODEL)
    hub.faults[ONNX] = [f"to:{elsewhere}/cdn/model"]
    rules = HttpRules(token_origin=origin(hub.url), token_header=("Authorization", f"Bearer {hub.token}"))
    Fetches(hub, tmp_path / "models", rules)(HF)
    assert all("Authorization" in headers for headers in hub.asked("/iic/S/"))
    assert ["Authorization" in headers for headers in hub.asked("/cdn/")] == [False]
    with pytest.raises(Refused, match="or it needs HF_TOKEN \\(the hub answered 401\\)") as refused:
        Fetches(hub, tmp_path / "others")(HF)
    assert "secret" not in str(refused.value)
