"""The language of a command: `--language`, else the environment, and English where the terminal has no Chinese.

It is chosen once, before anything is printed. JSON is for programs and stays English. For English, the catalogue is not
read.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from ...worker.shared.catalogue import Language, language_of_environment, translated, word
from .columns import broken

_chosen: list[Language] = ["en"]


def choose(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Takes the language of this process from its first arguments and its environment."""
    given = next((word for word in ("en", "zh") if _asks_for(argv, word)), None)
    language: Language = "zh" if (given or language_of_environment(environment)) == "zh" else "en"
    _chosen[0] = language if "--json" not in argv and _has_chinese(sys.stdout, sys.stderr) else "en"


def _asks_for(argv: Sequence[str], language: str) -> bool:
    if argv[:1] == ["--language"]:
        return argv[1:2] == [language]
    return argv[:1] == [f"--language={language}"]


def _has_chinese(*streams: TextIO) -> bool:
    """Whether every stream can write it: an ASCII one would print a question mark for each character."""
    try:
        return all("中文".encode(stream.encoding or "ascii") for stream in streams)
    except (UnicodeEncodeError, LookupError):
        return False


def local_text(text: str) -> str:
    """A sentence in the language of this command."""
    return translated(text, _chosen[0])


def label(text: str) -> str:
    """A word or a heading in the language of this command."""
    return word(text, _chosen[0])


def say(text: object, *, file: TextIO | None = None, flush: bool = False) -> None:
    """Prints sentences, one a line, in the language of this command. Data of users is printed with `print`."""
    lines = str(text).split("\n")
    print("\n".join(_kept_margin(line) for line in lines), file=file, flush=flush)


def _kept_margin(line: str) -> str:
    core = line.lstrip(" ")
    return line[: len(line) - len(core)] + local_text(core)


def sentence_of(summary: str) -> str:
    """The line of a command in a list, as a sentence by itself."""
    local = local_text(summary)
    return f"{local}。" if local != summary else summary[0].upper() + summary[1:] + "."


class HelpFormatter(argparse.HelpFormatter):
    """The help of a command, in its language. Chinese is broken by columns, as it has no spaces."""

    def start_section(self, heading: str | None) -> None:
        super().start_section(label(heading) if heading else heading)

    def add_usage(self, usage: str | None, actions: object, groups: object, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, label("usage:") + " " if prefix is None else prefix)  # type: ignore[arg-type]

    def _format_text(self, text: str) -> str:
        return super()._format_text(local_text(text))

    def _expand_help(self, action: argparse.Action) -> str:
        text = action.help or ""
        return label(text).replace("%%", "%") if "%%" in text else label(super()._expand_help(action))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return super()._split_lines(text, width) if text.isascii() else broken(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.isascii():
            return super()._fill_text(text, width, indent)
        return "\n".join(indent + line for line in broken(text, width - len(indent)))


def discard(stream: TextIO) -> None:
    """Has a stream that cannot be written take everything: Python would complain again while it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepared_streams() -> None:
    """Makes standard output and error able to take any text: a closed one takes nothing, an ASCII one a `?`.

    A closed descriptor is opened first: else a file or a socket of ours would get its number, and what children print.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(fd, True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
        elif stream.errors == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
