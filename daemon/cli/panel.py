"""`modelward panel`: prints a link that logs one browser in to the panel, once, and where the token for programs is."""

from __future__ import annotations

import argparse

from .client import ApiAnswer
from .language import say
from .options import (
    client,
    json_option,
    print_json,
    socket_option,
)
from .render import clean


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --socket."""
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 printed, 1 there is no panel or no token, 3 no daemon."""
    answer = client(args).post("/v1/panel/link")
    if args.json:
        print_json(answer)
    else:
        say("\n".join(lines(answer)))
    return 0


def lines(answer: ApiAnswer) -> list[str]:
    """The link, and what else is to be known of it."""
    from ..answers.commands import PanelLinkAnswer

    link = answer.read(PanelLinkAnswer)
    if not link.token_file:
        return [clean(link.url), 'It asks for no token: panel.token_file is "none".']
    hosts = ", ".join(map(clean, link.hosts))
    return [
        clean(link.url),
        *([f"Under {hosts}: the panel's address there, and then the end of this link, from #login="] if hosts else []),
        f"It logs one browser in, once, within the next {link.seconds / 60:g} minutes.",
        f"Programs send a token of {clean(link.token_file)}: Authorization: Bearer TOKEN",
    ]
