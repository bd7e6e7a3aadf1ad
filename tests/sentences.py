"""Finds every sentence in the source that a person may read, and compares them with the catalogue.

`python -m tests.sentences` prints what the catalogue lacks, as lines of JSON to be completed, and what the source no
longer has. An f-string is a template: each expression in it is a placeholder. What is left out is listed with a reason.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CATALOGUE: Final = ROOT / "worker/shared/catalogue/zh.json"
PANEL: Final = ROOT / "daemon/panel/static/i18n/en.json"
PAGE: Final = ROOT / "worker/http/static/words.js"

MODULES_LEFT_OUT: Final = {
    "daemon/api/interface.py": "the description of the admin API, for programmers",
    "daemon/api/openapi.py": "the description of the admin API, for programmers",
    "daemon/answers/": "the description of the admin API, for programmers",
    "daemon/config/schema.py": "the reference of the configuration, one document in English",
    "daemon/config/schema_base.py": "errors of the schema itself, for programmers",
    "daemon/config/alert_metrics.py": "the reference of the configuration, one document in English",
    "daemon/fleet/reports.py": "the protocol between machines and keepers, for programmers",
    "daemon/health/metrics.py": "descriptions of metrics, which Prometheus has in English",
    "daemon/state/store.py": "statements of SQL, and events of the log",
    "daemon/system/background.py": "names of tasks",
    "daemon/system/cgroups.py": "events of the log",
    "daemon/system/first_process.py": "events of the log",
    "daemon/workers/channel.py": "the protocol between daemon and worker, for programmers",
    "daemon/cli/serve_home.py": "a configuration, which is in English",
    "worker/protocol.py": "the protocol between daemon and worker, for programmers",
    "worker/attach.py": "the protocol between daemon and worker, for programmers",
    "worker/child_protocol.py": "the protocol between daemon and child, for programmers",
    "worker/daemon_link.py": "the protocol between daemon and worker, for programmers",
    "worker/decoders/messages.py": "the protocol between worker and decoder, for programmers",
    "worker/demo/": "the maker of the demonstration's model; its errors are ours",
    "worker/http/openapi.py": "the description of the service's API, for programmers",
    "worker/http/metrics.py": "descriptions of metrics, which Prometheus has in English",
    "worker/http/repository.py": "the Open Inference Protocol, which is for programs",
    "worker/http/tensors.py": "the Open Inference Protocol, which is for programs",
    "worker/http/inference_protocol.py": "the Open Inference Protocol, which is for programs",
    "worker/http/languages.py": "names of languages",
    "worker/shared/lean_imports.py": "errors of an import, for programmers",
    "worker/compile/graph.py": "errors inside the compiler, for programmers",
    "worker/compile/weights.py": "errors inside the compiler, for programmers",
}
LABELS: Final = (
    # headings of tables, and the names of the lines of `modelward status`
    *("VERSION", "STATE", "SIZE", "AGE", "MARKS", "BECAUSE", "WORKER", "PID", "SERVING", "INFLIGHT", "REQUESTS"),
    *("ERRORS", "P95", "MEMORY", "NOTE", "SINCE", "SEVERITY", "WHAT", "CHANNEL", "OUTCOME", "TIME", "CLASS", "BYTES"),
    *("FILES", "PATH", "LARGEST", "LOG", "live", "link", "workers", "pending", "rollout", "waiting", "disk", "alert"),
    *(
        "alerts",
        "probe",
        "models",
        "heartbeat",
        "mute",
        "unmute",
        "acknowledge",
        "expected",
        "got",
        "panel",
        "config",
        "daemon",
        "defaults",
        "none",
        "names",
        "to",
    ),
    # words of the admin API, which the command line and the panel show
    *(
        "serving",
        "held",
        "attached",
        "arrived",
        "failed",
        "ready",
        "loading",
        "idle",
        "retiring",
        "starting",
        "blocked",
    ),
    *("seen", "settling", "validating", "accepted", "rejected", "firing", "resolved", "critical", "warning", "done"),
    *("preparing", "baking", "committing", "watching", "returning", "old", "prepared", "refused", "moved", "queued"),
    *("rotated", "dropped", "packed", "cleaned", "spared", "removed", "ok", "FAILED", "recognising", "sent"),
    # joined with what follows by a colon or a space
    *("started", "enabled", "directories", "unchanged", "wrote", "linked", "left", "next", "warning: {text}"),
    *("Token", "Continue", "file", "files", "over", "kept: live", "kept: held", "canary", "{span}, acknowledged"),
    *("{count} file", "{count} warning", "{count} warnings", "{count} clip", "{count} clips", "{count} entries"),
    *("{count} machine", "{count} machines", "judging", "fetching", "pending", "drifted", "silent", "late"),
    *("MACHINE", "MACHINES", "HOST", "WAVE", "SERVES", "SEEN", "PENDING", "BLOCKED", "SILENT", "LATE"),
    # what is filled into a sentence by a word: cannot {kind} {version}
    *(
        "activate",
        "roll back",
        "rollback",
        "hold",
        "release",
        "restart",
        "validate",
        "transcribe",
        "reload",
        "install",
        "uninstall",
    ),
    # causes that the operating system gives
    *("No such file or directory", "Permission denied", "Operation not permitted", "No space left on device"),
    *("Is a directory", "Not a directory", "File exists", "Read-only file system", "Input/output error"),
    *("Connection refused", "Connection reset by peer", "Address already in use", "Too many open files"),
    *("Name or service not known", "Cannot assign requested address", "Broken pipe", "Disk quota exceeded"),
    *("Network is unreachable", "No route to host", "Temporary failure in name resolution", "File name too long"),
    *("Too many levels of symbolic links", "Connection timed out"),
    # of the decoder of JSON
    *("Input data was truncated", "JSON is malformed: {problem}", "Expected `{kind}`, got `{other}`"),
    *(
        "Object missing required field `{name}`",
        "{text} - at `{place}`",
        "JSON is malformed: invalid character (byte {count})",
    ),
    # of argparse
    *("usage:", "options", "positional arguments", "show this help message and exit", "expected one argument"),
    *("unrecognized arguments: {names}", "the following arguments are required: {names}", "argument {name}: {problem}"),
    *("invalid choice: {value} (choose from {choices})", "invalid {kind} value: {value}", "not allowed here"),
)
CALLS_LEFT_OUT: Final = re.compile(
    r"(^|\.)(_?log|logs|events|get_logger\(\))\.(debug|info|warning|error|exception|log|critical)$"  # events of the log
    r"|\.execute(many|script)?$|^re\.|^About$|^RouteAbout$|^Metric$|^Field$|^field$"
    r"|^(awaited|guarded|start_thread|reader|spawn|ThreadPoolExecutor|TimerThread|AsyncStore|Lanes)$"  # names of tasks
    r"|\.(guarded|reader|spawn|start)$|^(RuntimeError|AttributeError|TypeError|AssertionError|NotImplementedError|here\(\)\.start)$"
    r"|(^|\.)(bad_message|BadMessage)$|\.(startswith|endswith|removeprefix|removesuffix|split|partition|replace|encode)$"
)
NO_SENTENCE: Final = re.compile(
    r"^:root\{|^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|ALTER|DROP|<)|\x1b|"
    r"\r\n|^[\w./-]+/[\w+.-]+;|^(GET|POST) |^%|"
    r"^(default|script|style|img)-src|no-store|max-age|^camera=|^Connection: |^# |^\[models\]|-m modelward\.daemon$|"
    r"^untrusted comment: ?$|^signature made by modelward$|^\{mark\} sequence=|^public_keys = |"
    r"^(Bearer|Basic|Host:|--socket|chown|modelward|OK|current ->) |^Content-[A-Za-z-]+: |^\[test\]|"
    r"^(usr/local|bin boot) |^(bad allocation|Failed to allocate memory|alloc failed)$"  # texts that are searched for
)
_HOLE: Final = re.compile(r"\{([a-zA-Z_]\w*)(?:[!:][^{}]*)?\}")


@cache
def sentences() -> dict[str, str]:
    """Each sentence of the source, with the place where it stands first."""
    found = dict[str, str]()
    for top in ("daemon", "worker"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not any(name.startswith(left) for left in MODULES_LEFT_OUT):
                for line, text in _of_module(path.read_text()):
                    found.setdefault(normal(text), f"{name}:{line}\0{text}")
    return {place.partition("\0")[2]: place.partition("\0")[0] for place in found.values()}


def normal(template: str) -> str:
    """The template without the names of its placeholders, which may change with a variable's name."""
    return _HOLE.sub("{}", template)


def _of_module(source: str) -> Iterator[tuple[int, str]]:
    stack: list[ast.AST] = [ast.parse(source)]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.Call) and CALLS_LEFT_OUT.search(_dotted(node.func)):
            stack += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.Lambda)]
            continue
        text = _template(node)
        if text is not None:
            if _is_sentence(text):
                yield node.lineno, text.strip()
            stack += _holes(node)
            continue
        stack += ast.iter_child_nodes(node)


def _dotted(function: ast.expr) -> str:
    """`self._log.error` of a call; `…()` stands for a call in it."""
    if isinstance(function, ast.Attribute):
        return f"{_dotted(function.value)}.{function.attr}"
    if isinstance(function, ast.Call):
        return f"{_dotted(function.func)}()"
    return function.id if isinstance(function, ast.Name) else ""


def _is_sentence(text: str) -> bool:
    """Two words, or one beside a placeholder. A name or a word of the interface is one by itself."""
    bare = _HOLE.sub("", text)
    least = 1 if bare != text else 2
    return len(re.findall(r"[A-Za-z]{2,}", bare)) >= least and " " in text.strip() and not NO_SENTENCE.search(text)


def _template(node: ast.AST) -> str | None:
    """A text with placeholders, of a literal, an f-string, or a sum of them; None when it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)):
        parts = _parts(node)
        if not any(isinstance(part, str) for part in parts):
            return None
        names = dict[str, int]()
        return "".join(part if isinstance(part, str) else "{" + _name(part, names) + "}" for part in parts)
    return None


def _parts(node: ast.AST) -> list[str | ast.expr]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [p.value if isinstance(p, ast.Constant) else p.value for p in node.values]  # type: ignore[attr-defined]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _parts(node.left) + _parts(node.right)
    return [node] if isinstance(node, ast.expr) else []


def _holes(node: ast.AST) -> list[ast.expr]:
    return [part for part in _parts(node) if not isinstance(part, str)]


def _name(expression: ast.expr, taken: dict[str, int]) -> str:
    inner = expression
    while isinstance(inner, ast.Call) and inner.args:
        inner = inner.args[0]
    names = re.findall(r"[a-z_]\w*", ast.unparse(inner), re.IGNORECASE)
    last = names[-1].lower().strip("_") if isinstance(inner, ast.Name | ast.Attribute) and names else "x"
    name = last or "x"
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}{taken[name]}"


def panel_words() -> dict[str, str]:
    """The English words of the panel, by key."""
    words: dict[str, str] = json.loads(PANEL.read_text(encoding="utf-8"))
    return words


def page_words() -> dict[str, str]:
    """The English words of the service's page, by key."""
    pairs = re.findall(r'(\w+): ("(?:[^"\\]|\\.)*")', PAGE.read_text(encoding="utf-8"))
    return {key: json.loads(text) for key, text in pairs}


def labels() -> dict[str, str]:
    """The one-word labels of the command line."""
    kinds = [key.partition(".")[2] for key in panel_words() if key.startswith("history.")]
    return dict.fromkeys((*LABELS, *kinds), "LABELS in tests/sentences.py")


def missing_and_unused() -> tuple[dict[str, str], list[str]]:
    """What the catalogue lacks, with its place; and what it has that the source has no more."""
    catalogue = json.loads(CATALOGUE.read_text()) if CATALOGUE.exists() else {}
    needed = {
        **dict.fromkeys(panel_words().values(), PANEL.name),
        **dict.fromkeys(page_words().values(), PAGE.name),
        **labels(),
        **sentences(),
    }
    have = {normal(english) for english in catalogue}
    wanted = {normal(english) for english in needed}
    missing = {english: place for english, place in needed.items() if normal(english) not in have}
    return missing, [english for english in catalogue if normal(english) not in wanted]


def main() -> int:
    """Prints what is missing and what is unused; 1 if there is any."""
    missing, unused = missing_and_unused()
    for english, place in missing.items():
        print(f'{place}\n {json.dumps(english, ensure_ascii=False)}: "",')
    for english in unused:
        print(f"not in the source: {json.dumps(english, ensure_ascii=False)}")
    print(f"{len(missing)} missing, {len(unused)} not in the source", file=sys.stderr)
    return 1 if missing or unused else 0


if __name__ == "__main__":
    sys.exit(main())
