"""The command line: one table of verbs, one file a verb, loaded only when it is called.

`main` is the only place where an error becomes text and an exit status. 0: done, 1: refused or failed, 2: usage or bad
configuration, 3: daemon not reachable, 130: interrupted. A verb's file has `arguments(parser)` and `run(args) -> int`.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from ...worker.shared.lean_imports import import_late
from ..errors import BadConfig, BadUsage, ModelwardError
from .language import HelpFormatter, choose, discard, prepared_streams, say, sentence_of

INTERRUPTED: Final = 130
_GLOBAL: Final = ("--help", "--language", "--version")
"""The options that stand before a command."""

VERBS: Final = {
    "run": "the daemon, in the foreground",
    "serve": "serve a model from this terminal: no root, no configuration, no systemd",
    "demo": "build a small real model, run everything in a scratch directory, say what to try next",
    "check-config": "every mistake of a configuration at once",
    "status": "live and serving versions, workers, disk, alerts",
    "health": "whether requests are answered, by the exit status: for health checks",
    "versions": "each version: state, verdict with reason, size, age, marks",
    "validate": "judge a directory, with no daemon needed",
    "fetch": "bring a version from a hub, a web server or a path into the model root",
    "activate": "validate a version if needed and roll it out; returns when it is decided",
    "rollback": "back to the version that served before; holds the one left",
    "hold": "keep a version from being chosen automatically",
    "release": "allow a held version again",
    "workers": "list the workers",
    "restart": "replace one worker or all, one at a time, replacement first",
    "alerts": "what is alarming; `test`, `mute`, `unmute` and `ack`: what is sent about it",
    "panel": "print a link that logs a browser in to the panel, once",
    "disk": "where the space went, by class and by largest entry",
    "sweep": "run disk upkeep now; a dry run prints each path, its size and because",
    "rotate": "run log rotation now",
    "logs": "show a log file, and follow it",
    "history": "what happened: verdicts, rollouts, sweeps, rotations, alerts",
    "reload": "read the configuration again, wait, and show what was refused",
    "install": "put units, user and directories in place from the installed package",
    "uninstall": "take the units away; models, state, logs and configuration stay",
    "sign": "sign a version, so that machines with the public key accept it",
    "fleet": "make a key, and publish the version that many machines shall serve",
    "transcribe": "send audio to the service and print the text",
}


class _Parser(argparse.ArgumentParser):
    def __init__(self, **given: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **given)

    def error(self, message: str) -> NoReturn:
        raise BadUsage(f"cannot run {self.prog}: {message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; when that is not 0, prints the reason on standard error."""
    import_late("ssl", "asyncio.sslproto")  # a quarter of a short command's time; its socket needs no TLS
    words = list(sys.argv[1:] if argv is None else argv)
    prepared_streams()
    choose(words, os.environ)
    try:
        status = _run(words)
        sys.stdout.flush()
    except BadConfig as e:
        _say_mistakes(e)
        return e.exit_status
    except ModelwardError as e:
        say(e, file=sys.stderr)
        return e.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has enough. Python would complain again while it closes standard output.
        discard(sys.stdout)
        return INTERRUPTED
    except OSError as e:
        if e.filename is not None or e.errno not in {errno.ENOSPC, errno.EIO, errno.EBADF}:
            raise
        say(f"cannot write the output: {e.strerror}", file=sys.stderr)
        discard(sys.stdout)
        return ModelwardError.exit_status
    except SystemExit as e:  # argparse after --help
        return e.code if isinstance(e.code, int) else 0
    return status


def tree(*known: str, others: bool = True) -> argparse.ArgumentParser:
    """The argument tree. Of the verbs only those in `known` get their own arguments: each loads its file for them.

    `others`: whether it has the other verbs at all, for which a tenth of a command's time goes.
    """
    parser = _Parser(prog="modelward", description="Keeps a speech-recognition service alive while its model changes.")
    parser.add_argument(
        "--language",
        choices=("en", "zh"),
        help="of what is printed, before COMMAND (default: LC_ALL, LC_MESSAGES, LANG)",
    )
    parser.add_argument("--version", dest="show_version", action="store_true", help="print the version and end")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", parser_class=_Parser)
    for verb, summary in VERBS.items():
        if verb not in known and not others:
            continue
        of_verb = verbs.add_parser(verb, help=summary, description=sentence_of(summary))
        if verb in known:
            importlib.import_module(_module(verb)).arguments(of_verb)
    return parser


def _run(argv: list[str]) -> int:
    word = next((word for word in argv if word in VERBS), "")
    if option := _before_its_command(argv, word):
        raise BadUsage(f"cannot run modelward: {option} belongs behind the command: modelward {word} {option} …")
    parser = tree(word, others=not word or word != argv[0])  # `--help` before a verb lists them all
    args = parser.parse_args(argv)
    if args.show_version:
        from importlib.metadata import version

        print(f"modelward {version('modelward')}")
        return 0
    if args.verb is None:
        raise BadUsage("cannot run modelward: no command given; see modelward --help")
    status: int = importlib.import_module(_module(args.verb)).run(args)
    return status


def _before_its_command(argv: list[str], verb: str) -> str:
    """An option of a verb that stands before it; "" for none."""
    words = (word.partition("=")[0] for word in (argv[: argv.index(verb)] if verb else ()))
    return next((w for w in words if w.startswith("--") and not any(each.startswith(w) for each in _GLOBAL)), "")


def _module(verb: str) -> str:
    return f"{__name__}.{verb.replace('-', '_')}"


def _say_mistakes(error: BadConfig) -> None:
    if len(error.mistakes) == 1:
        say(f"cannot use {error.path}: {error.mistakes[0]}", file=sys.stderr)
        return
    say(f"cannot use {error.path}: {len(error.mistakes)} mistakes", file=sys.stderr)
    for mistake in error.mistakes:
        say(f"  {mistake}", file=sys.stderr)
