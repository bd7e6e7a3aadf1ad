"""The names that a served version answers to: its own, its trailing version, and the model's name, which is the rest.

Pure. `sensevoice-small-onnx-quant-v1.1` is version v1.1 of the model sensevoice-small-onnx-quant. A name without a
trailing version is a model's and a version's at once. The daemon orders versions by the same trailing part.
"""

from __future__ import annotations

from ..shared.version_name import read_name


def split_name(version: str) -> tuple[str, str]:
    """The model's name and the trailing version in a version's name; either may be ""."""
    start = read_name(version).start
    return (version[:start].rstrip("-_.@+ ("), version[start:]) if start < len(version) else (version, "")


def answers_to(name: str, version: str) -> bool:
    """Whether a request for the model `name` means the version that is served as `version`."""
    model, _ = split_name(version)
    return name == version or (bool(model) and name == model)


def is_version_of(asked: str, version: str) -> bool:
    """Whether a request for this version of a model means `version`: by its name, "v1.1" or "1.1"."""
    _, trailing = split_name(version)
    return asked == version or (bool(trailing) and asked.lower().lstrip("v") == trailing.lower().lstrip("v"))
