"""What `modelward fetch` prints and exits with; the downloads themselves: tests/daemon/fetch."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.daemon.fetch.conftest import FILES
from tests.daemon.fetch.test_archive_fetch import tar
from tests.fakes.admin import FakeAdmin
from tests.fakes.clock import FakeClock
from tests.fakes.model_hub import COMMIT, ModelHub, model_hub

from modelward.daemon.cli.fetch_progress import FetchProgress
from modelward.daemon.cli.language import choose


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    with model_hub(FILES) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", found.url)
        yield found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELWARD_SOCKET", str(tmp_path / "none.sock"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / "v1.0").mkdir()
    (tmp_path / "v1.0/model.onnx").write_bytes(b"x" * 2048)
    return tmp_path / "v1.0"


@pytest.mark.parametrize("source", ["hf:iic/S", "ms:iic/S"])
def test_a_hubs_version_is_fetched_and_named(call: Call, hub: ModelHub, root: Path, source: str) -> None:
    done = call("fetch", source, "--plain", "--to", str(root))
    assert done.status == 0 and done.out == (
        f"S-20240927 is in {root} (7 files, 626KiB, revision {COMMIT}); a running daemon validates it now\n"
    )
    assert done.err.startswith("fetching S-20240927: 6 files, 625KiB\n") and "100%: 625KiB of 625KiB\n" in done.err
    again = call("fetch", source, "--plain", "--to", str(root))
    assert again == (0, f"S-20240927 is in {root} already; nothing was fetched\n", "")


def test_a_hubs_library_is_used_where_it_is_installed(call: Call, hub: ModelHub, root: Path) -> None:
    pytest.importorskip("huggingface_hub")
    assert call("fetch", "hf:iic/S", "--to", str(root)).status == 0
    assert any("hf_hub/" in str(headers) for headers in hub.asked("resolve"))


def test_other_sources_are_taken_too(call: Call, hub: ModelHub, root: Path, version: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a-v1.1.tar.gz"
    archive.write_bytes(tar({"model.onnx": b"x", "tokens.txt": b"y"}, "a/", "w:gz"))
    hub.pages["/a-v1.2.tar.gz"] = ("application/gzip", archive.read_bytes())
    for source, name in [
        (version, "v1.0"),
        (archive, "a-v1.1"),
        (f"{hub.url}/a-v1.2.tar.gz", "a-v1.2"),
        (f"{hub.url}/files/", "files"),
    ]:
        done = call("fetch", str(source), "--to", str(root))
        assert done.status == 0 and done.out.startswith(f"{name} is in {root} ("), done
    assert sorted(os.listdir(root)) == ["a-v1.1", "a-v1.2", "files", "v1.0"]


def test_the_root_is_that_of_the_daemon_or_of_the_configuration(
    call: Call, root: Path, version: Path, tmp_path: Path, admin: FakeAdmin
) -> None:
    config = tmp_path / "modelward.toml"
    config.write_text(f'[models]\nroot = "{root}"\n[disk]\nmin_free = "100%"\ntarget_free = "100%"\n')
    done = call("fetch", str(version), "--config", str(config))
    assert done.status == 1 and done.err.startswith(f"cannot copy {version}: it needs 2KiB and there is room for 0B (")
    config.write_text(f'[models]\nroot = "{root}"\nlink = "v1.0"\n')
    done = call("fetch", str(version), "--config", str(config))
    assert done == (1, "", f"cannot copy {version}: that is the name of the link\n")
    done = call("fetch", str(version), "--config", str(tmp_path / "none.toml"))
    assert done.status == 2


def test_nothing_is_fetched_that_no_daemon_can_activate(call: Call, hub: ModelHub, root: Path) -> None:
    done = call("fetch", "hf:iic/S", "--to", str(root), "--activate")
    assert done.status == 3 and done.err.startswith("cannot reach the daemon") and hub.requests == []


@pytest.mark.parametrize(
    ("words", "status", "because"),
    [
        (["hf:iic"], 2, "a repository is ORG/NAME"),
        (["hf:iic/S", "--model", "a.onnx", "--all"], 2, "exclude each other"),
        (["hf:iic/S", "--limit-rate", "0"], 2, "leave it out for no limit"),
        (["hf:iic/S", "--limit-rate", "fast"], 2, "cannot use --limit-rate"),
        (["hf:iic/none", "--plain"], 1, "hf:iic/none: there is no such repository or revision, or it needs HF_TOKEN"),
        (["hf:iic/S", "--plain", "--as", "../x"], 1, "cannot fetch ../x: a version's name"),
        (["hf:iic/S", "--plain", "--as", "lost+found"], 1, "that is a directory of the file system itself"),
        (["http://93.184.215.14/a.tar"], 1, "plain http to 93.184.215.14 is not safe"),
        (["/none"], 1, "there is no such file or directory"),
        (["/none.tar"], 1, "there is no such file or directory"),
        ([""], 2, "it is empty"),
        *((["hf:iic/S", f"--{option}", ""], 2, "it is empty") for option in ("as", "to", "model", "config")),
    ],
)
def test_mistakes_are_sentences(
    call: Call, hub: ModelHub, root: Path, words: list[str], status: int, because: str
) -> None:
    done = call("fetch", *words, "--to", str(root))
    assert done.status == status and because in done.err and done.err.startswith("cannot ") and done.out == ""
    assert os.listdir(root) == []


def test_a_directory_of_versions_is_no_version(call: Call, root: Path, version: Path) -> None:
    done = call("fetch", str(version.parent), "--to", str(root))
    assert (done.status, done.out, os.listdir(root)) == (1, "", [])
    assert "it is a model root and none of its versions is live; name a version" in done.err


def test_a_model_root_that_is_not_there_is_named(call: Call, root: Path, version: Path) -> None:
    done = call("fetch", str(version), "--to", str(root / "none"))
    assert done == (
        1,
        "",
        f"cannot copy {version}: {root / 'none'} is no directory; --to ROOT names another model root\n",
    )


def test_where_no_daemon_runs_the_model_root_of_serve_is_named(
    call: Call, root: Path, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("MODELWARD_MODELS__ROOT", str(tmp_path / "none"))
    (tmp_path / "modelward/models").mkdir(parents=True)
    done = call("fetch", str(version))
    assert done.status == 1 and done.err == (
        f"cannot fetch: {tmp_path}/none is no directory; --to {tmp_path}/modelward/models is the model root of "
        "`modelward serve`\n"
    )


@pytest.fixture
def in_english_again() -> Iterator[None]:
    yield
    choose([], {})


@pytest.mark.usefixtures("in_english_again")
def test_it_speaks_chinese(call: Call, hub: ModelHub, root: Path, version: Path) -> None:
    done = call("--language", "zh", "fetch", str(version), "--to", str(root))
    assert done.out == f"v1.0 已在 {root} 中（1 个文件，2KiB）；正在运行的守护进程现在会验证它\n"
    hub.faults["*"] = ["503"] * 100
    done = call("--language", "zh", "fetch", "http://93.184.215.14/a/", "--to", str(root))
    assert done.err.startswith("无法获取 http://93.184.215.14/a/：")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_rewritten() -> None:
    clock, stream = FakeClock(), Terminal()
    progress = FetchProgress(stream, clock)
    progress.began("v1", 2, 4 << 20)
    for number in range(5):
        progress.came(number << 20, 4 << 20)
        clock.advance(1.0)
    progress.waits("the server answered 503", 1.5)
    progress.came(4 << 20, -1)
    progress.end()
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines[0] == "fetching v1: 2 files, 4MiB\n"
    assert "[##########..........]  50%  2MiB of 4MiB  1MiB/s  2s" in lines
    assert lines[-2].startswith("the server answered 503; trying again in 1.5s\n") or "4MiB came" in lines[-2]
