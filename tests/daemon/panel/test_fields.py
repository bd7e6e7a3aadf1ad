"""The page reads no field that the daemon does not send: its scripts are compared with the structures of the answers.

Reads words, as tests/javascript.py does, and knows no variable: a field counts as sent when one of the answers has it
that the script, or a script that it imports, asks for. What is the browser's or the page's own is named here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from tests.fakes.admin_interface import FakeDesk
from tests.fakes.answers import KINDS
from tests.javascript import Script

from modelward.daemon.answers import commands, events, history, rollouts
from modelward.daemon.api.events import Hub
from modelward.daemon.panel import parts_of

STATIC = Path(__file__).parents[3] / "daemon/panel/static"
PARTS: dict[str, type[msgspec.Struct]] = {
    "rollout": rollouts.RolloutAnswer,
    "gate": events.GateNews,
    "sample": events.SampleNews,
    "history": history.HistoryAnswer,
    **{
        part: KINDS["GET", f"/v1/{part}"][0] for part in ("status", "workers", "versions", "traffic", "alerts", "fleet")
    },
}
BROWSER = frozenset(
    """addEventListener append at body checked children className createElement disabled entries filter find firstChild
    click createObjectURL delete flatMap forEach flexGrow fromEntries get getSelection has hidden includes indexOf
    insertBefore isConnected isIntersecting join keys length localeCompare map max observe options parentNode parse
    preventDefault push reduce remove replaceAll replaceChildren replace returnValue revokeObjectURL round
    scrollHeight scrollTop set setInterval setTimeout shift showModal slice some sort split startsWith stringify
    style tBodies title toFixed toLowerCase trim value close focus exec""".split()  # noqa: SIM905 - read more easily
)
PAGE = frozenset(
    """ago archive button bytes choose chosen clock colour columns count data directory draw
    element elements files index interval keep key label list logIn logOut may_change
    memory name now ok p50 p95 percent read rejected rest share show shown span status
    stopped there timestamp unavailable update NONE SPANS THEMES canary level size""".split()  # noqa: SIM905
)
SCRIPTS = ("act.js", "series.js", *(f"cards/{path.name}" for path in sorted(STATIC.glob("cards/*.js"))))


def fields(kind: Any) -> set[str]:
    """The names of all fields of a structure, and of the structures in it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        found = msgspec.structs.fields(kind)
        return {f.encode_name for f in found}.union(*(fields(f.type) for f in found))
    return set[str]().union(*map(fields, get_args(kind)))


def asked_for(source: str) -> set[type[msgspec.Struct]]:
    """The answers that a script names: parts of the stream, and paths of the API."""
    watched = re.findall(r"watch\(\[([^\]]*)\]", source) + re.findall(r"now\(('\w+')\)", source)
    found = {PARTS[part] for part in re.findall(r"'(\w+)'", " ".join(watched))}
    paths = {p.rstrip("/") for p in re.findall(r"'?`?(/v1/[\w/]+)", source)}
    paths |= {f"/v1/{verb}" for verb in re.findall(r"planned\('(\w+)'", source)}
    for (_method, path), kinds in KINDS.items():
        if path in paths or path.partition("{")[0].rstrip("/") in paths:
            found |= set(kinds)
    return found


def read(source: str) -> set[str]:
    """The names that a script reads of objects, by a point or by taking an object apart."""
    tokens = Script(source).tokens
    names = {t for before, t in zip(tokens, tokens[1:], strict=False) if before in (".", "?.") and t[0].isalpha()}
    for pattern in re.findall(r"(?:const|let) \{([^}]*)\} = [\w.]+(?: \?\?[^;]*)?;|update\(\{([^}]*)\}\)", source):
        names |= {part.partition(":")[0].strip() for part in "".join(pattern).split(",")}
    return names


def unsent(source: str, imported: str = "") -> set[str]:
    """What a script reads and no answer has that it asks for."""
    kinds = asked_for(source + imported) | {commands.ErrorAnswer}
    return read(source) - BROWSER - PAGE - PARTS.keys() - set[str]().union(*map(fields, kinds))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_reads_only_what_the_answers_have_that_it_asks_for(name: str) -> None:
    source = (STATIC / name).read_text()
    own = {path.name for path in STATIC.glob("*.js")} - {"act.js", "api.js"}
    imported = [Path(path).name for path in re.findall(r"from '\.+/(.*?)'", source)]
    helpers = "".join((STATIC / path).read_text() for path in imported if path in own)
    if name == "act.js":  # carries out whatever a card asks for
        helpers = "".join(path.read_text() for path in STATIC.glob("cards/*.js"))
    assert unsent(source, helpers) == set()


def test_the_parts_of_the_stream_are_those_that_the_daemon_sends() -> None:
    assert PARTS.keys() == parts_of(FakeDesk(), Hub()).keys()


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("watch(['status'], ({ status }) => say(status.live));", set()),
        ("watch(['status'], ({ status }) => say(status.link?.branch));", {"branch"}),
        ("watch(['workers'], ({ status }) => say(status.live));", {"live"}),
        ("const answer = get('/v1/disk'); say(answer.data.clusters.length);", {"clusters"}),
        ("watch(['gate'], ({ gate }) => { const { gate: at, verdict } = gate; say(at, verdict); });", {"verdict"}),
        ("planned('sweep', (data) => data.steps);", {"steps"}),
    ],
)
def test_a_field_that_no_answer_has_is_found(source: str, wrong: set[str]) -> None:
    assert unsent(source) == wrong
