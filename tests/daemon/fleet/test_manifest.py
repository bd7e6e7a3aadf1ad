"""What is signed is every file of a version; what machines could not get alike is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from tests.daemon.fleet.records import KEY
from tests.worker.validate.contexts import context

from modelward.daemon.errors import Refused
from modelward.daemon.fleet.manifest import SIGNATURE, Manifest, manifest, sign_version
from modelward.worker.shared.checksums import SUMS
from modelward.worker.shared.minisign_keys import public_line
from modelward.worker.validate.gates.integrity import check


@pytest.fixture
def version(tmp_path: Path) -> Path:
    path = tmp_path / "v2"
    (path / "golden").mkdir(parents=True)
    (path / "model.onnx").write_bytes(b"model")
    (path / "golden/a.txt").write_bytes(b"a")
    return path


def test_a_signed_version_passes_the_gate_and_its_manifest_is_the_list(version: Path) -> None:
    assert sign_version(version, KEY, "modelward sequence=3") == 2
    assert sign_version(version, KEY, "modelward sequence=4") == 2  # its own list is not in it
    answer = check(context(version, public_keys=(public_line(KEY.public),), sequence_floor=4))
    assert (answer.passed, answer.because) == (True, "2 files as in SHA256SUMS, signed (modelward sequence=4)")
    sums = (version / SUMS).read_bytes()
    signature = (version / SIGNATURE).read_bytes()
    digests = [hashlib.sha256(data).hexdigest() for data in (sums, signature)]
    assert manifest(version) == Manifest(*digests, 6 + len(sums) + len(signature))


def test_what_other_machines_could_not_get_is_refused(version: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="modelward sign"):
        manifest(version)
    sign_version(version, KEY, "")
    (version / "model.onnx").unlink()
    with pytest.raises(Refused, match=r"model\.onnx is listed"):
        manifest(version)
    (version / "link").symlink_to("/etc/hostname")
    with pytest.raises(Refused, match="cp -rL"):
        sign_version(version, KEY, "")
    (version / "link").unlink()
    os.mkfifo(version / "fifo")
    with pytest.raises(Refused, match="FIFO"):
        sign_version(version, KEY, "")
    for path in (tmp_path / "missing", version / "fifo"):
        with pytest.raises(Refused, match="not a directory"):
            manifest(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="no files"):
        sign_version(tmp_path / "empty", KEY, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is led elsewhere by others")
def test_root_follows_no_link_that_another_user_can_change(version: Path, tmp_path: Path) -> None:
    sign_version(version, KEY, "")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "site").symlink_to(tmp_path)
    for path in (theirs, theirs / "site"):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    before = (version / SIGNATURE).read_bytes()
    for work in (lambda: sign_version(theirs / "site/v2", KEY, "other"), lambda: manifest(theirs / "site/v2")):
        with pytest.raises(OSError, match="is a link that uid 65534 can change"):
            work()
    assert (version / SIGNATURE).read_bytes() == before
    os.chown(theirs, 0, 0)
    os.chown(theirs / "site", 0, 0, follow_symlinks=False)
    assert sign_version(theirs / "site/v2", KEY, "other") == 2
