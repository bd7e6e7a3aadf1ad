"""`modelward fetch SOURCE`: brings a version from a hub, a web server or a local path into the model root.

It needs no daemon: a running one sees the version and validates it, and with `--activate` the command waits until it
serves. Nothing of it shows before it is whole; what came is kept when it ends early, and the same command continues.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...worker.shared.checksums import SUMS
from ...worker.shared.quantities import count, size
from ..config.load import Config, load_or_default
from ..errors import BadConfig, BadUsage, ModelwardError, Refused, Unreachable
from ..fetch import hub_libraries
from ..fetch.archive_fetch import fetch_archive, fetch_local_archive
from ..fetch.download import Pace
from ..fetch.fetcher import Fetched, Fetcher, FetchOptions, FetchTarget
from ..fetch.file_choice import choose
from ..fetch.http_get import HttpReader, HttpRules, origin
from ..fetch.hub_environment import endpoint_of, token_of
from ..fetch.local_copy import copy_version
from ..fetch.part_directory import require_name
from ..fetch.patient_get import PatientReader
from ..fetch.sources import HubSource, PathSource, WebSource, parse_source
from ..fetch.web_listing import RemoteArchive
from ..models.fetch_parts import remove_abandoned
from ..models.layouts import ArchiveFound
from ..system.clock import Clock, SystemClock
from ..units import parse_size
from .argument_types import some_path, something
from .fetch_path import found_here
from .fetch_progress import FetchProgress
from .language import say
from .options import client, socket_option
from .render import clean
from .request_and_wait import ask
from .serve_home import home_here


class NetworkOptions(NamedTuple):
    """How files come over the network, and what shows it."""

    clock: Clock
    view: FetchProgress
    pace: Pace
    plain: bool
    insecure_http: bool

    def fetcher(self, rules: HttpRules, place: FetchTarget) -> Fetcher:
        return Fetcher(PatientReader(HttpReader(rules), self.clock, self.pace, self.view.waits), self.view, place)


def arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE, --as, --activate, --to, --model, --all, --config, --limit-rate, --plain, --insecure-http, --socket."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=something,
        help="ms:ORG/NAME, hf:ORG/NAME (with @REVISION), an https address of an archive or a directory, or a path",
    )
    parser.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        type=something,
        help="the version's name (default: the source's)",
    )
    parser.add_argument("--activate", action="store_true", help="then activate it, and wait until that is decided")
    parser.add_argument(
        "--to", metavar="ROOT", type=some_path, help="model root (default: the daemon's, or the configured one)"
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=something,
        help="take this .onnx file, not the one that is quantised",
    )
    parser.add_argument("--all", action="store_true", help="take all files, not only those that a version needs")
    parser.add_argument("--config", metavar="FILE", type=some_path, help="the configuration that names the model root")
    parser.add_argument("--limit-rate", metavar="SIZE", type=something, help='bytes a second at most, as "5MiB"')
    parser.add_argument("--plain", action="store_true", help="do not use huggingface_hub or modelscope")
    parser.add_argument("--insecure-http", action="store_true", help="allow plain http to addresses of the internet")
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 it is there (with --activate: it serves), 1 refused or failed, 3 with --activate no daemon."""
    source, args.json = parse_source(args.source), False
    if args.model and args.all:
        raise BadUsage("cannot take one model and all files: --model and --all exclude each other")
    config = _config(args)
    place = FetchTarget((args.to or config.models.root).absolute(), config.models.link, config.disk.min_free.of)
    _require_root(place.root, named=args.to is not None)
    clock = SystemClock()
    _clean(place.root, clock)
    view = FetchProgress(sys.stderr, clock)
    options = FetchOptions(args.name or "", args.model or "", args.all)
    if args.name:  # before anything is asked of a hub
        require_name(args.name, place.link, f"cannot fetch {clean(args.name)}")
    how = NetworkOptions(clock, view, Pace(rate_bytes=_rate(args.limit_rate)), args.plain, args.insecure_http)
    try:
        if isinstance(source, PathSource):
            fetched = _local(source, place, options, view)
        elif isinstance(source, HubSource):
            fetched = _from_hub(source, place, options, how)
        else:
            fetched = _from_web(source, place, options, how)
    except KeyboardInterrupt:
        view.end()
        say("stopped; what came is kept for a week, and the same command continues", file=sys.stderr)
        raise
    finally:
        view.end()
    say(_outcome(fetched, place))
    return ask(args, "/v1/activate", {"version": fetched.name}) if args.activate else 0


def _config(args: argparse.Namespace) -> Config:
    """The configuration of the daemon that answers, else the one that is named, else the usual one.

    Raises Unreachable without a daemon where it is to activate something: that is better known before a download.
    """
    try:
        from ..answers.status import StatusAnswer

        running = client(args).get("/v1/status").read(StatusAnswer).config.path
    except ModelwardError as e:
        if args.activate:
            raise e if isinstance(e, Unreachable) else Unreachable(str(e)) from e
        running = ""
    try:
        return load_or_default(args.config or (Path(running) if running else None), os.environ)[0]
    except BadConfig:
        if args.config is not None or args.to is None:
            raise
        return Config()  # the root is named; the rest has defaults where this user may not read the file


def _require_root(root: Path, *, named: bool) -> None:
    """Raises Refused where the usual root is not there and `modelward serve` has one: with its command."""
    own = home_here().models
    if not named and not root.exists() and own.is_dir():
        raise Refused(f"cannot fetch: {root} is no directory; --to {own} is the model root of `modelward serve`")


def _rate(text: str | None) -> int:
    if not text:
        return 0
    try:
        found = parse_size(text)
    except ValueError as e:
        raise BadUsage(f"cannot use --limit-rate: {e}") from e
    if not found:
        raise BadUsage("cannot use --limit-rate 0: leave it out for no limit")
    return found


def _clean(root: Path, clock: Clock) -> None:
    """Removes what earlier commands left and no later one continued, also where no daemon runs that does it."""
    with suppress(OSError):
        remove_abandoned(root, clock.wall())


def _local(source: PathSource, place: FetchTarget, options: FetchOptions, view: FetchProgress) -> Fetched:
    found = found_here(Path(source.path).expanduser(), as_it_is=options.everything)
    if isinstance(found, ArchiveFound):
        return fetch_local_archive(place, Path(found.path), options)
    name, graph = options.name or found.name, options.model or found.graph

    def take(paths: Sequence[str]) -> Sequence[str]:
        if options.everything or SUMS in paths:
            return paths
        chosen = choose(paths, model=graph).paths  # it reports what has no model
        return chosen if found.of_hub or graph else paths

    copied = copy_version(
        found.directory, place.root, name, link=place.link, reserve=place.reserve, take=take, progress=view.came
    )
    return Fetched(name, copied.path, copied.files, copied.bytes, "", new=copied.copied)


def _from_hub(source: HubSource, place: FetchTarget, options: FetchOptions, how: NetworkOptions) -> Fetched:
    """By the hub's own library where it is installed, unless the user wants what only we can do."""
    endpoint, token = endpoint_of(source.hub, os.environ), token_of(source.hub, os.environ)
    library = not how.plain and not how.pace.rate_bytes
    if library:
        token = token or hub_libraries.token_of(source)
    belongs = origin(endpoint) if token else ""
    rules = HttpRules(how.insecure_http, belongs, ("Authorization", f"Bearer {token}"), hub=True)
    fetcher = how.fetcher(rules, place)
    remote = fetcher.listed(source, endpoint)
    transfer = hub_libraries.transfer_of(source, remote, endpoint, place.root) if library else None
    return fetcher.fetch(remote, options, transfer)


def _from_web(source: WebSource, place: FetchTarget, options: FetchOptions, how: NetworkOptions) -> Fetched:
    fetcher = how.fetcher(HttpRules(how.insecure_http), place)
    remote = fetcher.offered(source)
    if isinstance(remote, RemoteArchive):
        return fetch_archive(fetcher, remote, options)
    return fetcher.fetch(remote, options)


def _outcome(fetched: Fetched, place: FetchTarget) -> str:
    """What came of it, in one sentence."""
    if not fetched.new:
        return f"{clean(fetched.name)} is in {clean(place.root)} already; nothing was fetched"
    what = f"{count(fetched.files, 'file')}, {size(fetched.bytes)}"
    at = f", revision {clean(fetched.revision)}" if fetched.revision else ""
    return f"{clean(fetched.name)} is in {clean(place.root)} ({what}{at}); a running daemon validates it now"
