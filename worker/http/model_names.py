"""The names that a served version answers to: its own, its trailing version, and the model's, which is what is left.

Pure. `sensevoice-small-onnx-quant-v1.1` is version v1.1 of the model sensevoice-small-onnx-quant; a name without a
trailing version is a model's and a version's at once. What counts as a trailing version is what the daemon orders by.
"""

from __future__ import annotations

from ..shared.version_suffix import TRAILING


def split_name(version: str) -> tuple[str, str]:
    """The model's name and the trailing version of a version's name; either may be ""."""
    found = TRAILING.search(version)
    return (version[: found.start()], found["version"]) if found else (version, "")


def answers_to(name: str, version: str) -> bool:
    """Whether a client that asks for the model `name` means what is served as `version`."""
    model, _ = split_name(version)
    return name == version or (bool(model) and name == model)


def is_version_of(asked: str, version: str) -> bool:
    """Whether a client that asks for this version of a model means `version`: its name, "v1.1" or "1.1"."""
    _, trailing = split_name(version)
    return asked == version or (bool(trailing) and asked.lower().lstrip("v") == trailing.lower().lstrip("v"))
