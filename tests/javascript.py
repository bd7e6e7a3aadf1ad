"""Checks the scripts of both pages, as part of `make check`: `python -m tests.javascript`.

Reads words, not grammar: every name must be declared in its file, imported or the browser's; what is imported must be
exported there and used; what is declared at the top must be used or exported; no `var`, `==`, `console` or `debugger`.
Where Node.js is installed it checks the syntax too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (ROOT / "daemon/panel/static", ROOT / "worker/http/static")
KEYWORDS: Final = frozenset(
    """as async await break case catch class const continue default delete do else export extends false finally for from
    function if import in instanceof let new null of return super switch this throw true try typeof undefined void
    while yield""".split()  # noqa: SIM905 - read more easily
)
BROWSER: Final = frozenset(
    """AbortController Array ArrayBuffer AudioContext AudioWorkletNode AudioWorkletProcessor Blob Boolean CSS
    DataView Date Error EventSource Float32Array FormData IntersectionObserver Intl JSON Map Math
    MediaRecorder Number Object OfflineAudioContext Promise ResizeObserver Set String URL URLSearchParams
    XMLHttpRequest addEventListener cancelAnimationFrame clearInterval clearTimeout decodeURIComponent sessionStorage
    document encodeURIComponent fetch getComputedStyle globalThis history localStorage location matchMedia
    navigator performance registerProcessor requestAnimationFrame setInterval setTimeout uPlot window""".split()  # noqa: SIM905
)
FORBIDDEN: Final = {"var": "const or let", "==": "===", "!=": "!==", "console": "nothing", "debugger": "nothing"}
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/) | (?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
      | (?P<word>[A-Za-z_$][\w$]*) | (?P<number>\d[\w.]*) | (?P<mark>===|!==|==|!=|=>|\?\.(?!\d)|\?\?|\.\.\.|.)""",
    re.VERBOSE | re.DOTALL,
)
_REGEX: Final = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/[a-z]*")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}


class Script:
    """One file as words and marks. A string is `''`, a number `0`; a template's expressions stand in parentheses."""

    def __init__(self, source: str) -> None:
        self.tokens: list[str] = []
        self._read(source, 0, "")
        self.partner = self._partners()

    def _read(self, source: str, at: int, end: str) -> int:
        """Takes tokens in up to an unpaired `end`, behind which it returns."""
        depth = 0
        while at < len(source):
            last = self.tokens[-1] if self.tokens else ";"
            found = _TOKEN.match(source, at)
            assert found is not None
            text = found.group()
            if text == "/" and (
                last in KEYWORDS - {"this", "super"} or not (last[-1].isalnum() or last in (")", "]", "''"))
            ):
                regex = _REGEX.match(source, at)
                at, text = (regex.end(), "''") if regex else (found.end(), text)
            elif text == "`":
                at, text = self._template(source, found.end()), ")"
            else:
                at = found.end()
            if text == end and not depth:
                return at
            depth += (text == "{") - (text == "}")
            if found["space"] is None:
                self.tokens.append("''" if found["string"] else "0" if found["number"] else text)
        return at

    def _template(self, source: str, at: int) -> int:
        self.tokens.append("(")
        while source[at] != "`":
            if source.startswith("${", at):
                at = self._read(source, at + 2, "}")
                self.tokens.append(",")
            else:
                at += 2 if source[at] == "\\" else 1
        return at + 1

    def _partners(self) -> dict[int, int]:
        """Where the bracket is that belongs to one. Raises ValueError when there is none."""
        found, still_open = {}, []
        for i, token in enumerate(self.tokens):
            if token in _PAIRS.values():
                still_open.append(i)
            elif token in _PAIRS:
                if not still_open or self.tokens[start := still_open.pop()] != _PAIRS[token]:
                    raise ValueError(f"a {token} closes nothing")
                found[start], found[i] = i, start
        if still_open:
            raise ValueError(f"a {self.tokens[still_open[-1]]} is not closed")
        return found

    def at(self, i: int) -> str:
        return self.tokens[i] if 0 <= i < len(self.tokens) else ""

    def _bound(self, i: int, end: int) -> Iterator[str]:
        """The names that a pattern or a list of parameters binds. A default value binds nothing."""
        while i < end:
            if self.at(i) == "=":
                while i < end and self.at(i) != ",":
                    i = self.partner.get(i, i) + 1 if self.at(i) in _PAIRS.values() else i + 1
            elif is_name(self.at(i)) and self.at(i + 1) != ":":
                yield self.at(i)
            i += 1

    def _targets(self, i: int) -> Iterator[str]:
        """The names that `const` or `let` declares, whose first target is at `i`."""
        while True:
            end = self.partner.get(i, i) + 1
            yield from self._bound(i, end)
            while (token := self.at(end)) not in (",", ";", "of", "in", ")", "}", ""):
                end = self.partner.get(end, end) + 1 if token in _PAIRS.values() else end + 1
            if token != ",":
                return
            i = end + 1

    def declared(self) -> set[str]:
        """Every name that is bound anywhere in the file."""
        names: set[str] = set()
        for i, token in enumerate(self.tokens):
            if token in ("const", "let"):
                names.update(self._targets(i + 1))
            elif token in ("function", "class") and is_name(self.at(i + 1)):
                names.add(self.at(i + 1))
            elif token == "=>":
                names.update(self._bound(self.partner.get(i - 1, i - 1), i))
            elif (
                token == "("
                and self.at(self.partner[i] + 1) == "{"
                and (is_name(self.at(i - 1)) or self.at(i - 1) in ("catch", "function"))
            ):
                names.update(self._bound(i, self.partner[i]))
        return names

    def used(self) -> list[str]:
        """Every name that refers to something: no property, key or method."""
        return [
            token
            for i, token in enumerate(self.tokens)
            if is_name(token)
            and self.at(i - 1) not in (".", "?.", "#")
            and not (token in ("get", "set", "static") and (is_name(self.at(i + 1)) or self.at(i + 1) == "#"))
            and not (self.at(i + 1) == ":" and self.at(i - 1) in ("{", ","))
            and not (self.at(i + 1) == "(" and self.at(self.partner[i + 1] + 1) == "{")
        ]


def is_name(token: str) -> bool:
    """Whether a token is a name of somebody's."""
    return bool(token) and (token[0].isalpha() or token[0] in "_$") and token not in KEYWORDS


_IMPORT: Final = re.compile(
    r"^import (?:\* as (?P<all>\w+)|\{(?P<names>[^}]*)\}) from ['\"](?P<path>[^'\"]+)['\"];", re.M
)
_EXPORT: Final = re.compile(r"^export (?:async )?(?:function\*?|class|const|let) (\w+)", re.M)
_TOP: Final = re.compile(r"^(?:async )?(?:function\*?|class|const|let) (\w+)", re.M)


def wrong_in(path: Path) -> list[str]:
    """What is wrong with one script, a sentence each."""
    source = path.read_text(encoding="utf-8")
    body = _IMPORT.sub("", source)
    try:
        script = Script(body)
    except ValueError as e:
        return [str(e)]
    found = [f"{bad}: use {better}" for bad, better in FORBIDDEN.items() if bad in script.tokens]
    imported: set[str] = set()
    for line in _IMPORT.finditer(source):
        pairs = [part.split(" as ") for part in re.split(r",\s*", (line["names"] or "").strip()) if part]
        imported |= {pair[-1] for pair in pairs} | ({line["all"]} if line["all"] else set())
        other = path.parent / line["path"]
        if not other.is_file():
            found.append(f"{line['path']} is not there")
            continue
        taken = {pair[0] for pair in pairs}
        if line["all"]:
            taken.update(re.findall(rf"\b{line['all']}\.(\w+)", body))
        missing = taken - set(_EXPORT.findall(other.read_text(encoding="utf-8")))
        found += [f"{line['path']} exports no {name}" for name in sorted(missing)]
    used = set(script.used())
    found += [f"{name} is imported and not used" for name in sorted(imported - used)]
    idle = (name for name in _TOP.findall(source) if script.tokens.count(name) < 2)
    found += [f"{name} is not used" for name in idle]
    unknown = used - BROWSER - script.declared() - imported
    return [*found, *(f"{name} is not declared" for name in sorted(unknown))]


def scripts() -> list[Path]:
    """Ours: what others made is in `vendor`."""
    return sorted(path for page in PAGES for path in page.rglob("*.js") if "vendor" not in path.parts)


def main() -> int:
    """0 when nothing is wrong."""
    wrong = [f"{path.relative_to(ROOT)}: {sentence}" for path in scripts() for sentence in wrong_in(path)]
    if node := shutil.which("node"):
        for path in scripts():
            answer = subprocess.run(
                [node, "--input-type=module", "--check"], stdin=path.open("rb"), capture_output=True, check=False
            )
            wrong += (
                [f"{path.relative_to(ROOT)}: {answer.stderr.decode(errors='replace')}"] if answer.returncode else []
            )
    print("\n".join(wrong) or f"{len(scripts())} scripts{', syntax too' if node else ''}: nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
