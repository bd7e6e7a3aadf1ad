"""Decides which form of a version is loaded, which forms are missing, and how long a version waits for one. Pure.

A form is the version as it came ("plain"), the same graph in a mapped file ("mapped"), or a rewritten graph. Of that
the answers are proved equal ("exact"), or the texts ("fast"). Invariant: a version without a compiled form is served as
it came; nothing here can reject one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field

PLAIN: Final = "plain"
MAPPED: Final = "mapped"
REWRITTEN: Final = "rewritten"
RANKS: Final = {PLAIN: 0, MAPPED: 1, "exact": 2, "fast": 3}
WAIT_FLOOR_SECONDS: Final = 60.0
"""A version waits so long for its form at least."""
WAIT_LAST_TIMES: Final = 3.0
"""And so many times what the last compilation took, by the clock."""
WAIT_JUDGED_TIMES: Final = 6.0
"""And so many times what judging it took: on a slow machine everything takes longer."""
MEMORY_TIMES: Final = 2.5
"""A compiler needs so many times the memory that loading the version took."""
LOAD_TIMES: Final = 2.0
"""Loading a version that is not judged yet takes so many times its size, for all that is known."""
CLOSE_TO: Final = 0.8
"""A form with a measured CPU ratio above this is no reason to judge the version as it came more leniently."""


class Form(Struct, frozen=True):
    """One whole directory in the artifact root. `key` is right for this machine when `usable`; bytes of memory."""

    version: str
    digest: str
    artifact: str
    form: str = PLAIN
    level: str = ""
    key: str = ""
    usable: bool = True
    load_bytes: int = 0
    compiled: Mapping[str, Any] = field(default_factory=dict)
    bytes: int = 0

    @property
    def rank(self) -> int:
        return RANKS.get(self.form, 0)


class WantedForm(Struct, frozen=True):
    """A version that serves or is about to. `urgent`: it waits for its form. `copy`: the directory of its copy, of that
    many `bytes`, while it is being validated; "" afterwards.
    """

    version: str
    digest: str
    urgent: bool = False
    copy: str = ""
    bytes: int = 0


def permitted(form: Form, level: str, refused: Collection[str]) -> bool:
    """Whether workers may load it under `validation.compile` = `level`. `refused` are keys of forms that failed."""
    if form.form == PLAIN:
        return True
    if level == "off" or not form.usable or form.key in refused:
        return False
    return form.form in (MAPPED, "exact") or (form.form == "fast" and level == "fast")


def best(forms: Iterable[Form], version: str, digest: str, level: str, refused: Collection[str]) -> Form | None:
    """The form of these bytes under this name that workers are to load; None when there is none at all."""
    found = [f for f in forms if (f.version, f.digest) == (version, digest)]
    plain = [f for f in found if f.form == PLAIN or not permitted(f, level, refused)]
    good = [f for f in found if permitted(f, level, refused)]
    # A former release kept both forms in one directory: a worker that can't use the compiled one loads the other.
    return max(good or plain, key=lambda f: f.rank, default=None)


def plain(forms: Iterable[Form], version: str, digest: str) -> Form | None:
    """The directory that a compiler reads: the version as it came, or one of a former release that holds both forms."""
    found = [f for f in forms if (f.version, f.digest) == (version, digest)]
    return min(found, key=lambda f: (f.form != PLAIN, len(f.artifact)), default=None)


def source(forms: Iterable[Form], wanted: WantedForm) -> Form | None:
    """The directory that a compiler reads for `wanted`: the copy that is being validated, else that of `plain`."""
    if wanted.copy:
        load_bytes = int(LOAD_TIMES * wanted.bytes)
        return Form(wanted.version, wanted.digest, wanted.copy, load_bytes=load_bytes, bytes=wanted.bytes)
    return plain(forms, wanted.version, wanted.digest)


def memory_bytes(form: Form, wanted: WantedForm) -> int:
    """The memory that a compiler of `form` needs; with that of the validator, while the version is being validated."""
    return int((MEMORY_TIMES + (1 if wanted.copy else 0)) * form.load_bytes)


def missing(
    forms: Iterable[Form],
    version: str,
    digest: str,
    level: str,
    keys: Mapping[str, str],
    refused: Collection[str],
) -> tuple[str, ...]:
    """The stages still to be made, in order. `keys`: of each stage, the key that its form has on this machine."""
    if level == "off":
        return ()
    there = [f for f in forms if (f.version, f.digest) == (version, digest) and f.usable]
    rewritten = any(f.level == level and f.rank >= RANKS["exact"] for f in there)
    mapped = rewritten or any(f.form == MAPPED for f in there)
    stages = [] if mapped or keys[MAPPED] in refused else [MAPPED]
    stages += [] if rewritten or keys[REWRITTEN] in refused else [REWRITTEN]
    return tuple(stages)


def superseded(
    forms: Iterable[Form], level: str, refused: Collection[str], in_use: Collection[str], wanted: Collection[str]
) -> dict[str, str]:
    """Artifacts that may be removed, each with the reason: a better form of the same bytes is used, or this one cannot
    be.

    `wanted` are the digests of versions that are accepted or being validated: their form may have been made first.
    """
    forms, gone = tuple(forms), {}
    for form in forms:
        if form.form == PLAIN or form.artifact in in_use:
            continue
        if form.key in refused:
            gone[form.artifact] = "it failed"
            continue
        if form.digest not in wanted and _is_alone(form, forms):
            gone[form.artifact] = "its version is not accepted"
            continue
        better = [
            f
            for f in forms
            if (f.version, f.digest) == (form.version, form.digest)
            and f.artifact in in_use
            and f.rank > form.rank
            and permitted(f, level, refused)
        ]
        if better:
            gone[form.artifact] = f"the {better[0].form} form is used"
    return gone


def _is_alone(form: Form, forms: Iterable[Form]) -> bool:
    """Whether the version as it came is not there, nor in this directory, as a former release kept it."""
    beside = any(f.form == PLAIN and (f.version, f.digest) == (form.version, form.digest) for f in forms)
    return not beside and form.artifact.endswith(f"-{form.form}")


def wait_seconds(last_seconds: float, judged_seconds: float) -> float:
    """How long a version waits for its form at most, from what the last compilation and its own judgement took (0:
    unknown)."""
    return max(WAIT_FLOOR_SECONDS, WAIT_LAST_TIMES * last_seconds, WAIT_JUDGED_TIMES * judged_seconds)


def waits(serving: Form | None, ours: Form | None, stages: Collection[str], waited: float, most: float) -> str:
    """What a version waits for before the workers move to it; "" when it goes now.

    `serving` is the form that the workers have, `ours` the best form of the next version, `stages` those that can still
    be made of it now. Under load, a form at half the speed would do more harm than the wait.
    """
    if serving is None or serving.rank == 0 or not stages or waited >= most:
        return ""
    rank = ours.rank if ours is not None else 0
    if rank >= serving.rank or (rank >= RANKS[MAPPED] and REWRITTEN not in stages):
        return ""
    return f"waiting for its compiled form ({waited:.0f} of at most {most:.0f} s)"


def handicap(old: Form | None, new: Form | None) -> float:
    """How many times as long runs may take because `new` is a plainer form than `old`: 1 or more."""
    if old is None or new is None or new.rank >= old.rank:
        return 1.0
    ratios = [float(v) for k, v in old.compiled.items() if k.startswith("cpu_ratio_") and isinstance(v, int | float)]
    least = min((ratio for ratio in ratios if ratio > 0), default=CLOSE_TO)
    return max(1.0, 1.0 / least)
