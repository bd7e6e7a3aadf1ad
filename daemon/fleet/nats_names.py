"""The streams and subjects of a fleet on a NATS server. They are those of NATS's key-value and object stores. Pure."""

from __future__ import annotations

from typing import Final

FLEET, REPORTS, MODELS = "modelward_fleet", "modelward_reports", "modelward_models"
RECORD: Final = f"$KV.{FLEET}.record"
PROGRESS: Final = f"$KV.{FLEET}.progress"
LEASE: Final = f"$KV.{FLEET}.lease"
OPERATOR: Final = "operator"
"""What the commands of an operator are called."""


def inbox(name: str) -> str:
    """What subjects of answers to this client begin with."""
    return f"_INBOX_{name}"
