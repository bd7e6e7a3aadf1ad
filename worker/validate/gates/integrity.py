"""Gate 2: the copy holds exactly what SHA256SUMS lists, and a trusted key signed that list, if keys are configured.

It compares the hashes taken during the copy, and reads only SHA256SUMS and its signature. A file that is not listed
rejects the version, because a model could read it. Documentation, files of download tools and golden/ are accepted
unlisted, unless a signature is required. A signature with a number below an accepted one, or past its end, rejects too.
So an old version cannot be brought back, except one that was accepted here under its name, or one whose list a fleet's
signed record names: that record's own number protects it from replay.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from ...shared.checksums import MAX_SUMS_BYTES, SUMS
from ...shared.minisign import (
    MAX_SIGNATURE_BYTES,
    BadSignature,
    parse_key,
    verify,
)
from ...shared.quantities import count
from ...shared.sha256sums import BadSums, parse_sums
from ...shared.signed_fields import BadFields, SignedFields, read_fields
from ..context import Context, GateAnswer

SIGNATURE: Final = "SHA256SUMS.minisig"
_LEFT_BY_TOOLS: Final = frozenset(
    (".git", ".gitattributes", ".gitignore", ".cache", ".DS_Store", ".mdl", ".msc", ".mv")
)


def check(context: Context) -> GateAnswer:
    """Passes when every listed file exists and matches, or when nothing is listed and nothing is required."""
    keys = context.candidate.public_keys
    if SUMS not in context.files:
        if keys:
            return context.fails(f"no {SUMS}, and public_keys asks for a signed one", incomplete=True)
        if context.candidate.checksums == "required":
            return context.fails(f"no {SUMS}, and checksums = required", incomplete=True)
        return GateAnswer(True, f"no {SUMS}, not required")
    data = _head(context, SUMS, MAX_SUMS_BYTES)
    comment: str | None = None
    try:
        if keys:
            comment = _verified(context, data)
            if because := _replayed(context, read_fields(comment)):
                return context.fails(because)
        sums = parse_sums(data)
    except BadSums as e:
        return GateAnswer(False, f"{SUMS}: {e}")
    except (BadSignature, BadFields) as e:
        return GateAnswer(False, f"{SIGNATURE}: {e}")
    if wrong := _first_difference(context, sums, strict=bool(keys)):
        return context.fails(wrong, incomplete=True)
    files = count(len(sums), "file")
    return GateAnswer(True, f"{files} as in {SUMS}" if comment is None else f"{files} as in {SUMS}, signed ({comment})")


def _verified(context: Context, data: bytes) -> str:
    if SIGNATURE not in context.files:
        raise BadSignature("missing, and public_keys is not empty")
    signature = _head(context, SIGNATURE, MAX_SIGNATURE_BYTES)
    return verify(data, signature, [parse_key(text) for text in context.candidate.public_keys])


def _replayed(context: Context, fields: SignedFields) -> str:
    """Why a signature that holds is not good any more; "" when it is.

    What was accepted before may be judged again at any time: another release, another rule.
    """
    candidate = context.candidate
    context.sequence = fields.sequence
    if context.digest in candidate.accepted_before:
        return ""
    vouched = context.files[SUMS].sha256 == candidate.vouched_sums
    if fields.sequence and fields.sequence < candidate.sequence_floor and not vouched:
        return (
            f"its signature has the number {fields.sequence}, and number {candidate.sequence_floor} was accepted "
            "before: it is an old version; to serve it all the same, sign it again with a higher number, or publish it "
            "to the fleet"
        )
    if fields.expires and fields.expires_at <= candidate.now_seconds:
        return (
            f"its signature ended at {fields.expires}; sign it again, or, if the clock of this machine is wrong, set "
            "it and use `modelward validate NAME --again`"
        )
    return ""


def _first_difference(context: Context, sums: dict[str, str], *, strict: bool) -> str:
    for name, sha256 in sorted(sums.items()):
        if name == SUMS:
            return f"{SUMS} lists itself"
        if name not in context.files:
            return f"{name} is listed in {SUMS} and missing"
        if context.files[name].sha256 != sha256:
            return f"{name} differs from its sum in {SUMS}"
    unlisted = (name for name in sorted(context.files) if name not in sums and name not in (SUMS, SIGNATURE))
    for name in unlisted:
        if strict or not _may_be_unlisted(name):
            return f"{name} is not listed in {SUMS}"
    return ""


def _may_be_unlisted(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        path.parts[0] == "golden"
        or path.parts[0] in _LEFT_BY_TOOLS
        or path.name.upper().startswith(("README", "LICENSE", "CHANGELOG"))
        or path.suffix.lower() == ".md"
    )


def _head(context: Context, name: str, limit: int) -> bytes:
    with open(context.directory / name, "rb") as f:
        return f.read(limit + 1)
