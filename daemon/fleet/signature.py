"""A record with its signature, as one text: both are replaced together, whatever carries them. Pure.

`{"record": TEXT, "signature": TEXT}`; `record` is what minisign signed, `signature` its .minisig file. Invariant: no
record is read before a configured key has signed its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from ...worker.shared.minisign import BadSignature, PublicKey, verify
from ...worker.shared.minisign_keys import SecretKey, sign
from ...worker.shared.quantities import size
from ...worker.shared.signed_fields import FLEET_MARK
from ...worker.shared.unreadable import UNREADABLE
from .record import BadRecord, FleetRecord, decode, encode

MAX_SIGNED_BYTES: Final = 160 << 10


class NotSigned(BadRecord):
    """No configured key signed it."""


class SignedText(Struct, frozen=True, forbid_unknown_fields=True):
    """What is carried."""

    record: str
    signature: str


class SignedRecord(Struct, frozen=True):
    """A record that a configured key signed. `digest` is the SHA-256 of its bytes, `text` what was carried."""

    record: FleetRecord
    digest: str
    text: bytes


def sign_record(record: FleetRecord, key: SecretKey) -> bytes:
    """What is published. Raises BadRecord, CannotSign."""
    data = encode(record)
    signature = sign(data, key, FLEET_MARK)
    return msgspec.json.encode(SignedText(data.decode(), signature.decode())) + b"\n"


def open_record(text: bytes, keys: Iterable[PublicKey]) -> SignedRecord:
    """Raises BadRecord."""
    if len(text) > MAX_SIGNED_BYTES:
        raise BadRecord(f"the signed record has more than {size(MAX_SIGNED_BYTES)}")
    try:
        carried = msgspec.json.decode(text, type=SignedText)
    except UNREADABLE as e:
        raise BadRecord(f"the signed record cannot be read: {e}") from e
    data = carried.record.encode(errors="replace")
    try:
        comment = verify(data, carried.signature.encode(errors="replace"), keys)
    except BadSignature as e:
        raise NotSigned(f"the signature of the record is not good: {e}") from e
    if comment != FLEET_MARK:
        raise BadRecord("the signature of the record was made for something else")
    return SignedRecord(decode(data), hashlib.sha256(data).hexdigest(), text)


def read_record(text: bytes) -> FleetRecord | None:
    """What a carried record wants, for people: nothing proves it. None for what cannot be read."""
    try:
        return decode(msgspec.json.decode(text[:MAX_SIGNED_BYTES], type=SignedText).record.encode(errors="replace"))
    except (*UNREADABLE, BadRecord):
        return None
