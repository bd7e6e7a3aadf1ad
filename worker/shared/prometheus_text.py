"""Writes Prometheus' text format, 0.0.4. A table lists the metrics; no other metric can be written.

The daemon and the workers use it. It knows no metric itself and reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SUFFIXES: Final = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


class Metric(NamedTuple):
    """One metric. `labels` are all labels of its samples (without "le" of a histogram)."""

    name: str
    type: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    labels: tuple[str, ...] = ()


class Exposition:
    """Collects samples of the metrics in `table`; the last one of the same name and labels counts."""

    def __init__(self, table: Iterable[Metric]) -> None:
        self._table = {metric.name: metric for metric in table}
        self._samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def add(self, name: str, value: float | None, *, suffix: str = "", **labels: str) -> None:
        """Adds one sample; None is left out. Raises KeyError or ValueError for a name or labels that are not in the
        table.
        """
        metric = self._table[name]
        wanted = {*metric.labels, "le"} if suffix == "_bucket" else set(metric.labels)
        if set(labels) != wanted or suffix not in _SUFFIXES.get(metric.type, ("",)):
            raise ValueError(f"cannot expose {name}{suffix}: labels {sorted(labels)}, wanted {sorted(wanted)}")
        if value is not None:
            self._samples.setdefault(name, {})[suffix, tuple(labels.items())] = value

    def text(self) -> str:
        """Every metric that has a sample, in the table's order."""
        lines = []
        for name, samples in sorted(self._samples.items(), key=lambda pair: list(self._table).index(pair[0])):
            metric = self._table[name]
            lines += [f"# HELP {name} {_help(metric.help)}", f"# TYPE {name} {metric.type}"]
            for (suffix, labels), value in samples.items():
                shown = ",".join(f'{key}="{_label(text)}"' for key, text in labels)
                lines.append(f"{name}{suffix}{f'{{{shown}}}' if shown else ''} {_number(value)}")
        return "\n".join([*lines, ""])


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _label(text: str) -> str:
    # A name from the file system may hold bytes that are not UTF-8; the format has only UTF-8.
    whole = text.encode("utf-8", "replace").decode()
    return whole.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
