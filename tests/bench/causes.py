"""Why an aim is missed on a kind of processor, as far as it is known. Pure."""

from __future__ import annotations

from typing import Any

from tests.bench import sums

_WORDS = (
    (
        {"load-first", "load-last", "ready-first", "ready-last"},
        "A load is not all that a client waits for: the version runs once before it may answer, then the next request"
        " has to come and its answer to be made. The last worker loads when the first has proved the version: two loads"
        " for two workers, so that a version that kills its worker kills one.",
    ),
    (
        {"rss", "cpu", "wakeups"},
        "Most of the memory is Python with asyncio and the libraries for HTTP, logs and watching. The time goes into"
        " the machine's figures, the model root and the heartbeats of two workers: what alerts, and a lost file event,"
        " rely on.",
    ),
    (
        {"stall"},
        "While a worker loads, three threads want two cores, the loading one least. The longest of all answers beside"
        " all swaps stands against a percentile of a quiet time, in which some requests have the machine alone.",
    ),
    (
        {"sweep"},
        "A sweep plans first, says of each file why it goes or stays, and looks at it again just before; its process"
        " starts an interpreter.",
    ),
)


def causes(sections: dict[str, Any], missed: set[str]) -> list[str]:
    """Of the aims of these names; one sentence or two each."""
    found = []
    cells = [cell for cell in sections.get("serving", {}).get("cells", []) if cell["clip_seconds"] <= 60]
    gains = [g.median for cell in cells if (g := sums.of_limit(cell, "bare-original", "bare"))]
    whole = [w.median for cell in cells if (w := sums.of_limit(cell, "pipeline"))]
    if missed & {"factor", "factor-plain", "factor-lone"} and gains:
        found.append(
            "The factor over the others is that of the compiled form: ONNX Runtime alone is"
            f" {min(gains):.2f} to {max(gains):.2f} times as fast on it as on the file as it came. With one client,"
            " Flask and we give a clip all cores."
        )
    if "share" in missed and whole:
        found.append(
            "The loop is given features that are ready. Against the same loop with features and text the share is"
            f" {min(whole):.2f} to {max(whole):.2f}; the rest is HTTP, the clients on the same cores, and connections"
            " that don't spread evenly over the workers."
        )
    return found + [words for names, words in _WORDS if missed & names]
