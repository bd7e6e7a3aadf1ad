"""Small answers of hubs and servers: asked for again where that may help, with pauses and a limit.

Invariant: what it returns has the status 200, or one that the caller named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import Refused
from ..system.clock import Clock
from ..system.retry_after import retry_after
from .download import AGAIN, Pace, Retries, help_for, pause, validator
from .http_get import HttpReader, HttpText, NotAnswered, shown


class PatientReader:
    """GETs that are tried again; see the module. `retries` is called with the reason and the seconds of each pause."""

    def __init__(self, reader: HttpReader, clock: Clock, pace: Pace, retries: Retries) -> None:
        self.reader, self.clock, self.pace, self.retries = reader, clock, pace, retries

    def text(
        self, url: str, most_bytes: int, *, headers: Mapping[str, str] | None = None, also: Collection[int] = ()
    ) -> HttpText:
        """The answer. `also` are statuses besides 200 that are answers. Raises Refused."""
        because = ""
        for failures in range(1, self.pace.tries + 1):
            after = 0.0
            try:
                answer = self.reader.text(url, most_bytes, headers)
                if answer.status == 200 or answer.status in also:
                    return answer
                if answer.status not in AGAIN:
                    said = f"the server answered {answer.status}{help_for(answer.status, self.reader.rules.hub)}"
                    raise Refused(f"cannot fetch {shown(url)}: {said}")
                because = f"the server answered {answer.status}"
                after = retry_after(answer.headers.get("retry-after", ""), self.clock.wall())
            except NotAnswered as e:
                because = str(e)
            if failures < self.pace.tries:
                self._wait(because, failures, after)
        raise Refused(f"cannot fetch {shown(url)}: {because}; tried {self.pace.tries} times")

    def length(self, url: str) -> int:
        """How long a file is, by a HEAD request; -1 where the server does not give it. Raises Refused."""
        return self.length_and_etag(url)[0]

    def length_and_etag(self, url: str) -> tuple[int, str]:
        """Also what names its content at the server: a strong ETag, "" for none."""
        try:
            with self.reader.get(url, {"Accept-Encoding": "identity"}, "HEAD") as (response, _):
                if response.status != 200:
                    return -1, ""
                found, etag = response.getheader("Content-Length", ""), validator(response)
                known = found.isascii() and found.isdigit() and len(found) < 16
                return int(found) if known else -1, etag if etag.startswith('"') else ""
        except NotAnswered:
            return -1, ""

    def _wait(self, because: str, failures: int, after_seconds: float) -> None:
        seconds = pause(self.pace, failures, after_seconds)
        self.retries(because, seconds)
        if self.reader.stopped.wait(seconds):
            raise Refused("cannot fetch: it was stopped")
