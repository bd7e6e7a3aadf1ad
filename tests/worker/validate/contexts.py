"""Judgements under way, for tests of single gates in this process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from modelward.worker.child_protocol import Candidate
from modelward.worker.shared.artifact import ArtifactFile
from modelward.worker.validate.context import Context


def context(directory: Path, **more: Any) -> Context:
    """As the layout gate leaves it: `directory` plays the private copy."""
    settings: dict[str, Any] = {"kind": "sensevoice", **more}
    files = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            files[path.relative_to(directory).as_posix()] = ArtifactFile(len(data), hashlib.sha256(data).hexdigest())
    made = Context(Candidate(path=str(directory), version=directory.name, **settings), directory)
    made.files, made.model = files, "model.onnx"
    return made
