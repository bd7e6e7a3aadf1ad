"""What the weights of the measured model are: 8-bit integers as usually published, or the 32-bit floats they come from.

Says which file of a version is which, and which section of the results it is served in. Imports nothing that a peer's
environment may not have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["int8", "fp32"]
FILE: dict[Precision, str] = {"int8": "model_quant.onnx", "fp32": "model.onnx"}
SECTION: dict[Precision, str] = {"int8": "serving", "fp32": "serving-fp32"}


def of(version: Path) -> Precision:
    """Of a version that has one of the files: whoever serves it takes that one."""
    return next(precision for precision, file in FILE.items() if (version / file).exists())
