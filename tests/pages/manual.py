"""The manual pages: modelward(1) from the argument tree, modelward.toml(5) from the models. Plain man(7) macros."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.pages import configuration

from modelward.daemon.cli import VERBS, tree

ROOT = Path(__file__).resolve().parents[2]
_DESCRIPTION = """\
.B modelward
keeps a speech-recognition service answering on one Linux machine while its model is replaced under load, its disk
fills, its logs grow and its processes die.
.B modelward run
is the daemon; every other command but
.BR serve ,
.BR demo ,
.BR check-config ,
.BR validate ,
.BR install ,
.B uninstall
and
.B transcribe
talks to it over a socket.
.PP
What is to be served is said by the symbolic link
.I current
in the model root. A version that is dropped in beside it is judged in a process of its own, tried by one worker, then
taken by all together; only then does the link move.
"""
_TAIL = """\
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
refused or failed
.TP
.B 2
usage or bad configuration
.TP
.B 3
daemon not reachable
.SH SIGNALS
Of the daemon:
.TP
.B SIGHUP
read the configuration again, look at the model root, reopen logs
.TP
.BR SIGTERM ", " SIGINT
drain the workers and stop
.TP
.B SIGQUIT
stop and leave the workers to the next daemon; in a container, where
.B modelward run
is the first process, the next daemon is started at once
.TP
.B SIGUSR1
reopen logs
.TP
.B SIGUSR2
replace the workers one at a time, successor first
.SH ENVIRONMENT
.TP
.B MODELWARD_SOCKET
the daemon's socket, where
.B \\-\\-socket
is not given
.TP
.B MODELWARD_URL
the service that
.B transcribe
asks
.TP
.BR LC_ALL ", " LC_MESSAGES ", " LANG
the language of what is printed: Chinese where the first of them that is set begins with zh, else English;
.B modelward \\-\\-language
.I en|zh
counts before it. Answers in JSON are English.
.TP
.B MODELWARD_WORKERS
the worker socket that a program of your own joins
.TP
.BI MODELWARD_ TABLE __ KEY
a key of the configuration, like
.BR MODELWARD_WORKERS__COUNT=2 ;
it counts before the file, see
.BR modelward.toml (5)
.TP
.B MODELWARD_DEFAULTS
a file of TOML whose values count as the defaults
.SH FILES
.TP
.I /etc/modelward/modelward.toml
the configuration
.TP
.I /var/lib/modelward/models
the model root
.TP
.I /run/modelward/api.sock
the daemon's socket
.TP
.I /var/log/modelward
modelward.log, access.log, error.log
.TP
.I ~/.local/share/modelward
all of these, but the socket, for
.BR "modelward serve" ;
commands find its socket where there is no other
.SH SEE ALSO
.BR modelward.toml (5),
.BR systemctl (1)
"""


def commands() -> str:
    """modelward(1)."""
    root = tree(*VERBS)
    verbs = next(action for action in root._actions if isinstance(action, argparse._SubParsersAction)).choices
    parts = [
        _title("MODELWARD", 1),
        ".SH NAME\nmodelward \\- keeps a speech\\-recognition service alive while its model changes\n",
        ".SH SYNOPSIS\n.B modelward\n.I COMMAND\n[\\fIarguments\\fR]\n.br\n.B modelward \\-\\-version\n",
        ".SH DESCRIPTION\n" + _DESCRIPTION,
        ".SH COMMANDS\n",
    ]
    for verb, parser in verbs.items():
        parts.append(_command(verb, parser))
    parts.append(_TAIL)
    return "".join(parts)


def keys() -> str:
    """modelward.toml(5)."""
    parts = [
        _title("MODELWARD.TOML", 5),
        ".SH NAME\nmodelward.toml \\- configuration of modelward\n",
        ".SH DESCRIPTION\n",
        "TOML. Every key has a default, and an empty file is a valid configuration. Sizes are bytes or a text like\n"
        "\\(dq512MiB\\(dq, durations seconds or a text like \\(dq1h30m\\(dq. An unknown key is a mistake;\n"
        ".B modelward check\\-config\nnames every mistake at once. Behind each key stand its default and when a\n"
        "change holds: live (once the reload returns), once the daemon has replaced the workers,\n"
        "or after a daemon restart.\n",
        ".PP\nEach key can be given by a variable of the daemon's environment, which counts before the file:\n"
        ".BR MODELWARD_WORKERS__COUNT=2 ,\n.BR MODELWARD_LOGS__ACCESS__KEEP=7 .\nA list of texts "
        "is separated by commas or written as in TOML or JSON, a list of tables\nas in TOML or JSON.\n"
        "Where a value may be secret,\n.B MODELWARD_ALERTS__TO_FILE\nand its like name a file that holds it.\n",
    ]
    for section in configuration.sections():
        parts.append(f".SH {_roff(section.title)}\n{_roff(_plain(section.about))}\n")
        for key in section.keys:
            default = f"default {key.default}" if key.default else "must be given"
            default = "default: see there" if key.default == configuration.DERIVED else default
            parts.append(
                f'.TP\n.BR {_roff(key.name)} " ({_roff(_plain(f"{default}; {key.applies}")).replace(chr(34), "")})"\n'
            )
            parts.append(f"{_roff(_plain(key.meaning))}\n{_roff(_plain(key.kind[0].upper() + key.kind[1:]))}.\n")
    parts.append(".SH FILES\n.I /etc/modelward/modelward.toml\n.SH SEE ALSO\n.BR modelward (1)\n")
    return "".join(parts)


def _title(name: str, section: int) -> str:
    release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return f'.\\" Made by python -m tests.pages.\n.TH {name} {section} "" "modelward {release}" "modelward"\n'


def _command(verb: str, parser: argparse.ArgumentParser) -> str:
    options = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    words = [f"\\fBmodelward {_roff(verb)}\\fR", *(_in_synopsis(action) for action in options)]
    lines = [f".SS {' '.join(words)}\n{_roff(parser.description or '')}\n"]
    for action in options:
        lines.append(f".TP\n{_heading(action)}\n{_roff(_sentence(action))}\n")
    return "".join(lines)


def _in_synopsis(action: argparse.Action) -> str:
    if not action.option_strings:
        name = f"\\fI{_argument(action)}\\fR"
        return f"[{name}]" if action.nargs == "?" else f"{name}..." if action.nargs == "+" else name
    value = f" \\fI{_argument(action)}\\fR" if action.nargs != 0 else ""
    return f"[\\fB{_roff(action.option_strings[0])}\\fR{value}]"


def _heading(action: argparse.Action) -> str:
    if not action.option_strings:
        return f".I {_argument(action)}"
    names = ", ".join(f"\\fB{_roff(option)}\\fR" for option in action.option_strings)
    return names + (f" \\fI{_argument(action)}\\fR" if action.nargs != 0 else "")


def _argument(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    return _roff(str(action.metavar or action.dest.upper()))


def _sentence(action: argparse.Action) -> str:
    assert action.help, f"{action.dest} has no help"
    return action.help[0].upper() + action.help[1:] + "."


def _plain(text: str) -> str:
    return text.replace("`", "")


def _roff(text: str) -> str:
    """Text as it is, whatever it holds: hyphens that can be copied, no line that begins as a request."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "\n".join(_lines(safe))


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield "\\&" + line if line.startswith((".", "'")) else line
