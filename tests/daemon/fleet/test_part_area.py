"""What was fetched: proved before it is renamed in, over nothing, and never left half visible."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelward.daemon.fleet.part_area import PartArea
from modelward.daemon.names import FLEET_PART
from modelward.daemon.upkeep.syscalls import rename_noreplace

FILES = {"model.onnx": b"model" * 100, "words/tokens.txt": b"a b c"}


def listed(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


SUMS = listed(FILES)
SHA256 = hashlib.sha256(SUMS).hexdigest()
BYTES = len(SUMS) + sum(map(len, FILES.values()))


@pytest.fixture
def area(tmp_path: Path) -> PartArea:
    area = PartArea(tmp_path, rename_noreplace)
    area.begin(SHA256, 1)
    for name, data in {"SHA256SUMS": SUMS, **FILES}.items():
        area.write(name, 0, data[:3], last=False)
        area.write(name, 3, data[3:], last=True)
    return area


def never() -> bool:
    return False


def test_what_is_proved_is_renamed_in_and_nothing_else_stays(area: PartArea, tmp_path: Path) -> None:
    part = area.verify(BYTES, never)
    assert (part.complete, part.verified, part.wrong, part.bytes) == (True, True, 0, BYTES)
    area.rename_in("v2")
    assert {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == {
        "v2/SHA256SUMS": SUMS, "v2/model.onnx": FILES["model.onnx"], "v2/words/tokens.txt": FILES["words/tokens.txt"],
    }  # fmt: skip


def test_a_file_with_other_bytes_goes_and_the_others_stay(area: PartArea) -> None:
    area.write("words/tokens.txt", 0, b"x", last=False)
    part = area.verify(BYTES, never)
    assert (part.complete, part.verified, part.wrong) == (False, False, 1)
    assert (area.size("words/tokens.txt"), area.size("model.onnx")) == (0, len(FILES["model.onnx"]))
    assert area.seen() == part


def test_more_bytes_than_were_signed_are_all_wrong(area: PartArea) -> None:
    assert area.verify(BYTES - 1, never).wrong == 1
    found = area.seen()
    assert found is not None and found.bytes == 0


def test_it_goes_on_after_any_end_and_another_version_begins_anew(area: PartArea, tmp_path: Path) -> None:
    again = PartArea(tmp_path, rename_noreplace)
    assert again.begin(SHA256, 1).bytes == BYTES
    assert again.begin("0" * 64, 1).bytes == 0


def test_a_version_that_is_published_again_gets_as_many_tries_again(area: PartArea) -> None:
    area.write("words/tokens.txt", 0, b"x", last=False)
    assert (area.verify(BYTES, never).wrong, area.begin(SHA256, 1).wrong) == (1, 1)
    assert (area.begin(SHA256, 2).wrong, area.begin(SHA256, 2).sequence) == (0, 2)


def test_a_version_is_never_renamed_over_another_one(area: PartArea, tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    area.verify(BYTES, never)
    with pytest.raises(FileExistsError):
        area.rename_in("v2")
    assert (tmp_path / FLEET_PART).is_dir()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//b", "", "a\0b"])
def test_no_name_leads_out_of_it(area: PartArea, name: str) -> None:
    with pytest.raises(OSError):
        area.write(name, 0, b"x", last=True)


def test_a_link_or_a_file_under_its_name_is_removed_and_never_entered(area: PartArea, tmp_path: Path) -> None:
    elsewhere, place = tmp_path / "elsewhere", tmp_path / FLEET_PART
    place.rename(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    place.symlink_to(elsewhere)
    assert area.seen() is None and area.size("model.onnx") == 0
    for forbidden in (
        lambda: area.write("model.onnx", 0, b"x", last=True),
        lambda: area.verify(BYTES, never),
        lambda: area.rename_in("v2"),
    ):
        with pytest.raises(FileNotFoundError):
            forbidden()
    assert area.begin(SHA256, 1).bytes == 0 and not place.is_symlink()
    area.discard()
    place.write_bytes(b"a file")
    assert area.begin(SHA256, 1).bytes == 0
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before
