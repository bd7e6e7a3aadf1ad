"""The hubs' own libraries bring the same directory as plain HTTPS, and what they bring is checked too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.daemon.fetch.conftest import MODEL
from tests.daemon.fetch.test_fetcher import HF, MS, Fetches, content
from tests.fakes.model_hub import ModelHub, hugging_face_entries, modelscope_entries

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.fetcher import Fetched, FetchOptions
from modelward.daemon.fetch.hub_libraries import transfer_of
from modelward.daemon.fetch.sources import HubSource

FILES = {"model.onnx": MODEL, "tokens.json": b'["a"]', "golden/a.txt": b"hi", "empty.json": b""}


def by_library(fetch: Fetches, source: HubSource, name: str) -> Fetched:
    fetcher = fetch.fetcher()
    remote = fetcher.listed(source, fetch.hub.url)
    transfer = transfer_of(source, remote, fetch.hub.url, fetch.root)
    assert transfer is not None
    return fetcher.fetch(remote, FetchOptions(name), transfer)


@pytest.fixture
def fetch(hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetches:
    pytest.importorskip("huggingface_hub")
    pytest.importorskip("modelscope_hub")
    for key in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_HOME", "HOME"):
        monkeypatch.setenv(key, str(tmp_path / "home"))
    hub.files = dict(FILES)
    return Fetches(hub, tmp_path / "models")


@pytest.mark.parametrize("source", [HF, MS])
def test_the_directory_is_the_same_either_way(fetch: Fetches, source: HubSource) -> None:
    fetched = by_library(fetch, source, "v1")
    fetch(source, name="v2")
    assert fetched.new and content(fetch.root / "v1") == content(fetch.root / "v2")
    assert sorted(os.listdir(fetch.root)) == ["v1", "v2"]
    assert not by_library(fetch, source, "v1").new


@pytest.mark.parametrize("source", [HF, MS])
def test_what_a_library_brings_is_checked(fetch: Fetches, source: HubSource) -> None:
    make = hugging_face_entries if source is HF else modelscope_entries
    fetch.hub.listing_of = {source.hub: make(FILES | {"model.onnx": MODEL[::-1]})}
    with pytest.raises(Refused, match="its digest is|--plain fetches it without that library"):
        by_library(fetch, source, "v1")
    assert fetch.visible() == []


@pytest.mark.parametrize("source", [HF, MS])
def test_what_broke_off_continues_either_way(fetch: Fetches, source: HubSource) -> None:
    fetch.hub.listing_of = {source.hub: (hugging_face_entries if source is HF else modelscope_entries)(FILES)}
    del fetch.hub.files["tokens.json"]
    with pytest.raises(Refused, match="--plain fetches it without that library"):
        by_library(fetch, source, "v1")
    assert fetch.visible() == []
    fetch.hub.files = dict(FILES)
    before = len(fetch.hub.requests)
    fetch(source, name="v1")
    later = [url for method, url, _ in fetch.hub.requests[before:] if method == "GET" and "model.onnx" in url]
    assert later == [] and content(fetch.root / "v1")["model.onnx"] == MODEL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is at risk")
def test_root_uses_no_library_in_a_directory_of_another_user(fetch: Fetches) -> None:
    os.chown(fetch.root, 1234, 1234)
    remote = fetch.fetcher().listed(HF, fetch.hub.url)
    assert transfer_of(HF, remote, fetch.hub.url, fetch.root) is None
