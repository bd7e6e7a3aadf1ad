"""A hub with a small version, and what a fetch needs, without waiting between tries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from tests.fakes.model_hub import ModelHub, model_hub

from modelward.daemon.fetch.download import Pace
from modelward.daemon.fetch.http_get import HttpReader, HttpRules
from modelward.daemon.fetch.patient_get import PatientReader
from modelward.daemon.system.clock import SystemClock

MODEL = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(20_000))  # 640 kB that no two pieces of are alike
FILES = {
    "model_quant.onnx": MODEL,
    "model.onnx": MODEL * 2,
    "tokens.json": b'["a"]',
    "am.mvn": b"<AddShift>",
    "README.md": b"# S",
    "golden/a.txt": b"hi",
    "model.pt": b"torch",
    "fig/a.png": b"png",
    "configuration.json": b"",
}
TAKEN = ["README.md", "am.mvn", "configuration.json", "golden/a.txt", "model_quant.onnx", "tokens.json"]
AT_ONCE = Pace(tries=4, pause_seconds=0.0)


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with model_hub(FILES) as found:
        yield found


@pytest.fixture
def waits() -> list[str]:
    """The reasons of the pauses."""
    return []


@pytest.fixture
def reader(waits: list[str]) -> PatientReader:
    return PatientReader(HttpReader(HttpRules()), SystemClock(), AT_ONCE, lambda why, seconds: waits.append(why))
