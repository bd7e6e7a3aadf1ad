"""Whether what was seen keeps what was promised. Pure: evidence in, broken promises out, each a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tests.soak.clients import Request
from tests.soak.lines import Lines
from tests.soak.town import Kill
from tests.soak.watcher import Serving

LAST_ANSWER_SECONDS: Final = 0.5  # a killed worker had no time to write the line of what it answered just before
SHOWN: Final = 5
GROWTH: Final = 1.15
GROWTH_BYTES: Final = 6 << 20
DESCRIPTORS_MORE: Final = 3
CONVERGE: Final = "a worker serves something else"  # brings a worker back in line; no rollout of the operator's
FATAL: Final = (
    "a part of the daemon failed",
    "a request failed",
    "the model failed",
)


def _some(what: Iterable[object]) -> str:
    shown = list(what)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return "; ".join(map(str, shown[:SHOWN])) + more


def in_flight(request: Request, kills: Sequence[Kill]) -> bool:
    """Whether a killed worker held the connection of this request.

    A client that keeps its connection may learn of the death by its next request.
    """
    late = LAST_ANSWER_SECONDS if request.kept_alive else 0.0
    return any(request.port in k.ports and request.began <= k.ended + late and request.ended >= k.began for k in kills)


def _just_before(request: Request, kills: Sequence[Kill]) -> bool:
    """Whether a worker was killed so soon after this answer that it may have been the one that gave it."""
    return any(
        k.began - LAST_ANSWER_SECONDS <= request.ended <= k.ended
        and (not request.kept_alive or request.port in k.ports)
        for k in kills
    )


def failures(requests: Sequence[Request], kills: Sequence[Kill]) -> list[str]:
    """Every request is answered with 200, but for those in flight in a killed worker."""
    failed = [r for r in requests if r.status != 200]
    wrong = [r for r in failed if r.status != 0 or not in_flight(r, kills)]
    return [f"{len(wrong)} requests failed that were in no killed worker: {_some(wrong)}"] if wrong else []


def answers(requests: Sequence[Request], serving: Serving, styles: Mapping[str, str]) -> list[str]:
    """Every answer is that of the version that it names, and that version served at some point of the request."""
    given = [r for r in requests if r.status == 200]
    mixed = [r for r in given if styles.get(r.version) != r.text]
    stale = [r for r in given if r.version not in serving.during(r.began, r.ended)]
    found = [f"{len(mixed)} answers are not of the version that they name: {_some(mixed)}"] if mixed else []
    if stale:
        found.append(f"{len(stale)} answers are of a version that served at no point of the request: {_some(stale)}")
    return found


def access_log(requests: Sequence[Request], lines: Lines, kills: Sequence[Kill]) -> list[str]:
    """Every answered request has its line exactly once; a full disk may cost lines, each of them counted."""
    doubled = [name for name, count in lines.requests.items() if count > 1]
    lost = [r for r in requests if r.status and not lines.requests[r.id] and not _just_before(r, kills)]
    unknown = set(lines.requests) - {r.id for r in requests}
    found = [f"{len(doubled)} access log lines are there more than once: {_some(doubled)}"] if doubled else []
    if len(lost) > lines.dropped:
        found.append(
            f"{len(lost)} requests have no line in the access log, and {lines.dropped} lines are said to be dropped: "
            + _some(lost)
        )
    if unknown:
        found.append(f"{len(unknown)} access log lines are of requests that nobody made: {_some(sorted(unknown))}")
    if lines.torn > lines.notes + lines.mended:
        found.append(f"{lines.torn} torn lines in the access log, {lines.notes} writers had no space for a whole one")
    return found


def growth(name: str, halves: tuple[float, float]) -> list[str]:
    """Memory is flat: the second half's median is about the first's."""
    first, second = halves
    if second <= first * GROWTH + GROWTH_BYTES:
        return []
    return [f"the memory of {name} grew from {first / 2**20:.1f} to {second / 2**20:.1f} MiB (medians of the halves)"]


def descriptors(name: str, at_first: int, at_last: int) -> list[str]:
    """At rest a process holds as many descriptors after the soak as before."""
    if at_last <= at_first + DESCRIPTORS_MORE:
        return []
    return [f"{name} holds {at_last} descriptors at rest, {at_first} before the soak"]


def rollouts(
    events: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]], daemon_kills: int
) -> tuple[list[str], int, int]:
    """Each rollout's outcome is in the history, unless its daemon was killed or the disk was full.

    The second and third are how many began and how many have no outcome.
    """
    begun = {e["rollout"]: e for e in events if e.get("event") == "rollout" and e.get("because") != CONVERGE}
    kinds = ("activated", "rollout-failed", "form-live", "form-failed")
    kept = {e["rollout"]["id"] for e in history if e["kind"] in kinds and "rollout" in e}
    unkept = sum(e.get("event") in ("cannot keep state", "history line dropped") for e in events)
    open_ = [e for name, e in begun.items() if name not in kept]
    if len(open_) <= daemon_kills + unkept:
        return [], len(begun), len(open_)
    said = f"{len(open_)} rollouts have no outcome in the history, with {daemon_kills} daemon kills: {_some(open_)}"
    return [said], len(begun), len(open_)


def by_age(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """No archive of this soak is old, whatever the clock said: none was dropped for its age."""
    steps = [step for e in history if e["kind"] == "rotated" for step in e.get("rotation", {}).get("steps", ())]
    gone = [s["path"] for s in steps if s["action"] == "dropped" and s["because"].startswith("older than")]
    return [f"{len(gone)} archives went by their age: {_some(gone)}"] if gone else []


def verdicts(versions: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str], unsure: set[str]) -> list[str]:
    """Every good version is accepted, every broken one rejected; of the kinds in `unsure` nobody knows."""
    found = []
    for name, version in versions.items():
        kind = kinds.get(name)
        if kind is None or kind in unsure:
            continue
        wanted = "rejected" if kind else "accepted"
        if version["state"] != wanted:
            because = (version["verdict"] or {}).get("because", "")
            found.append(f"{name} ({kind or 'good'}) is {version['state']}, not {wanted}: {because}")
    return found


def troubles(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """No round and no request ended in an exception."""
    bad = [e for e in events if e.get("event") in FATAL or "Traceback" in str(e.get("exception", ""))]
    return [f"{len(bad)} exceptions in the event log: {_some(bad)}"] if bad else []
