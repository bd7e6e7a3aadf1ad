"""A version is what its SHA256SUMS says it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.worker.shared.test_minisign import Signer
from tests.worker.validate.contexts import context

from modelward.worker.validate.gates.integrity import SIGNATURE, SUMS, check

SIGNER = Signer(Ed25519PrivateKey.generate(), b"abcdefgh")


def sums(directory: Path, *names: str) -> bytes:
    lines = [f"{hashlib.sha256((directory / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    return "".join(lines).encode()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    directory = tmp_path / "v1"
    (directory / "golden").mkdir(parents=True)
    for name in ("model.onnx", "tokens.json", "README.md", "golden/a.txt", ".gitattributes"):
        (directory / name).write_text(name)
    (directory / SUMS).write_bytes(sums(directory, "model.onnx", "tokens.json"))
    return directory


def test_passes_a_version_whose_files_match(version: Path) -> None:
    answer = check(context(version))
    assert (answer.passed, answer.because) == (True, "2 files as in SHA256SUMS")


def test_a_missing_list_is_refused_only_when_one_is_required(version: Path) -> None:
    (version / SUMS).unlink()
    assert check(context(version)).because == "no SHA256SUMS, not required"
    required = check(context(version, checksums="required"))
    assert (required.passed, required.because) == (False, "no SHA256SUMS, and checksums = required")
    signed = check(context(version, public_keys=(SIGNER.public,)))
    assert (signed.passed, signed.because) == (False, "no SHA256SUMS, and public_keys asks for a signed one")


def test_names_the_first_file_that_differs_is_missing_or_not_listed(version: Path) -> None:
    (version / "tokens.json").write_text("tokens.jsom")
    assert check(context(version)).because == "tokens.json differs from its sum in SHA256SUMS"
    (version / "tokens.json").unlink()
    assert check(context(version)).because == "tokens.json is listed in SHA256SUMS and missing"
    (version / "tokens.json").write_text("tokens.json")
    (version / "am.mvn").write_text("more")
    answer = check(context(version))
    assert (answer.passed, answer.because) == (False, "am.mvn is not listed in SHA256SUMS")


def test_a_list_that_cannot_be_read_is_refused(version: Path) -> None:
    (version / SUMS).write_text("not a list")
    answer = check(context(version))
    assert not answer.passed and answer.because.startswith("SHA256SUMS: line 1 is not")


def test_with_public_keys_the_list_must_be_signed_and_complete(version: Path) -> None:
    keys = (SIGNER.public,)
    assert check(context(version, public_keys=keys)).because.startswith("SHA256SUMS.minisig: missing")
    (version / SIGNATURE).write_bytes(SIGNER.sign((version / SUMS).read_bytes()))
    assert check(context(version, public_keys=keys)).because == ".gitattributes is not listed in SHA256SUMS"
    everything = [p.relative_to(version).as_posix() for p in version.rglob("*") if p.is_file()]
    (version / SUMS).write_bytes(sums(version, *(n for n in everything if n not in (SUMS, SIGNATURE))))
    assert "does not match the file" in check(context(version, public_keys=keys)).because
    (version / SIGNATURE).write_bytes(SIGNER.sign((version / SUMS).read_bytes(), comment="release"))
    answer = check(context(version, public_keys=keys))
    assert (answer.passed, answer.because) == (True, "5 files as in SHA256SUMS, signed (release)")


def test_a_configured_key_that_is_none_refuses_instead_of_letting_pass(version: Path) -> None:
    (version / SIGNATURE).write_bytes(SIGNER.sign((version / SUMS).read_bytes()))
    answer = check(context(version, public_keys=("nonsense",)))
    assert not answer.passed and "public key" in answer.because


def signed(version: Path, comment: str) -> None:
    names = [p.relative_to(version).as_posix() for p in version.rglob("*") if p.is_file()]
    (version / SUMS).write_bytes(sums(version, *(n for n in names if n not in (SUMS, SIGNATURE))))
    (version / SIGNATURE).write_bytes(SIGNER.sign((version / SUMS).read_bytes(), comment=comment))


@pytest.mark.parametrize(
    ("comment", "before", "because"),
    [
        ("release", {"sequence_floor": 9}, "5 files"),  # signed without a number: as ever
        ("modelward sequence=9", {"sequence_floor": 9}, "5 files"),
        ("modelward sequence=8", {"sequence_floor": 9}, "the number 8, and number 9 was accepted before"),
        ("modelward sequence=8", {"sequence_floor": 9, "accepted_before": ("other", "same")}, "5 files"),
        ("modelward sequence=8 expires=2027-01-01T00:00:00Z", {"now_seconds": 1798761599.0}, "5 files"),
        ("modelward sequence=8 expires=2027-01-01T00:00:00Z", {"now_seconds": 1798761600.0}, "ended at 2027"),
        (
            "modelward sequence=8 expires=2027-01-01T00:00:00Z",
            {"now_seconds": 1e10, "accepted_before": ("same",)},
            "5 files",
        ),
        ("modelward sequence=8 for=gpus", {}, "cannot read"),
    ],
)
def test_an_old_signature_is_refused_unless_its_version_was_accepted_before(
    version: Path, comment: str, before: dict[str, Any], because: str
) -> None:
    signed(version, comment)
    given = context(version, public_keys=(SIGNER.public,), **before)
    given.digest = "same"
    answer = check(given)
    assert because in answer.because
    assert answer.passed is (because == "5 files")


@pytest.mark.parametrize(
    ("comment", "more", "because"),
    [
        ("modelward sequence=8", {}, "5 files"),
        ("modelward sequence=8", {"vouched_sums": "ab" * 32}, "it is an old version"),  # the record wants another one
        ("modelward sequence=8 expires=2027-01-01T00:00:00Z", {"now_seconds": 1e10}, "ended at 2027"),
    ],
)
def test_the_bytes_that_a_fleets_record_wants_may_have_a_lower_number_and_nothing_else(
    version: Path, comment: str, more: dict[str, Any], because: str
) -> None:
    signed(version, comment)
    vouched = hashlib.sha256((version / SUMS).read_bytes()).hexdigest()
    given = {"public_keys": (SIGNER.public,), "sequence_floor": 9, "vouched_sums": vouched}
    answer = check(context(version, **(given | more)))
    assert because in answer.because
    (version / "model.onnx").write_text("other bytes")
    assert not check(context(version, **(given | more))).passed


def test_the_number_is_given_on(version: Path) -> None:
    signed(version, "modelward sequence=8")
    given = context(version, public_keys=(SIGNER.public,))
    assert check(given).passed
    assert given.sequence == 8
