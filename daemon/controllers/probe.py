"""Has a clip with a known text sent through the service's port at intervals, as a client does.

The clip is read on a thread, because a disk may hang; `health.probe_request` sends it, and `health.probe_record`
counts. Invariants: one probe and one reading at a time; none during a rollout or while nothing is served, so that none
counts against a version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from ...worker.shared.prometheus_text import Exposition
from ...worker.shared.started import awaited
from ...worker.shared.token_file import BadTokenFile
from ..answers.status import ProbeReport
from ..config.load import Config
from ..config.validators import split_address
from ..health.alerts import Figure
from ..health.probe_clip import ProbeClip, read_clip
from ..health.probe_record import ProbeAnswer, ProbeJob, ProbeRecord
from ..health.probe_request import send_clip
from ..system.clock import Clock
from .repeated_step import RepeatedStep

PROBE: Final = "probe"
LOOK_SECONDS: Final = 30.0
"""How often it is seen that probes were turned on."""
NO_CLIP: Final = "no clip"
GOLDEN: Final = "golden"
PROBED_KIND: Final = "sensevoice"
WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Probe(RepeatedStep):
    """See the module. `address` is where the service listens, "" for nowhere; `version` is the served directory, None
    for none.

    `busy` returns whether a rollout runs; `happened` is called after each probe.
    """

    name = PROBE

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        address: Callable[[], str],
        version: Callable[[], Path | None],
        busy: Callable[[], bool],
        happened: Callable[[], None],
    ) -> None:
        super().__init__()
        self._config, self._clock, self._address, self._version = config, clock, address, version
        self._busy, self._happened = busy, happened
        self._log = structlog.get_logger(PROBE)
        self._last: float | None = None
        self._reading: asyncio.Task[ProbeClip | None] | None = None
        self.record = ProbeRecord(off="none was sent yet")

    async def step(self) -> float | None:
        """Sends one if it is due: the first after `probe.every`, counted from the start."""
        now, every = asyncio.get_running_loop().time(), self._config().probe.every or LOOK_SECONDS
        if self._last is None:
            self._last = now
        if (wait := self._last + every - now) > 0:
            return wait
        self._last, before = now, self.record.because
        await self.once()
        self.worked()
        if self.record.because and not before:
            self._log.error("probe failed", because=self.record.because)
        self._happened()
        return max(0.0, now + every - asyncio.get_running_loop().time())

    async def once(self) -> None:
        """Sends one probe, if there is a clip and a version that serves."""
        config = self._config()
        version = self._version()
        if off := self._off(config, version):
            self.record.turn_off(off)
        elif version is not None and not self._busy():
            host, port = split_address(self._address())
            directories = (config.validation.golden, str(version / GOLDEN))
            job = ProbeJob(
                WILDCARDS.get(host, host),
                port,
                config.probe.timeout,
                config.probe.max_error_rate,
                config.probe.clip,
                config.probe.text,
                tuple(path for path in directories if path),
                config.workers.token_file,
            )
            self.record.add(await self.probe(job), self._clock.wall())

    async def probe(self, job: ProbeJob) -> ProbeAnswer:
        """The outcome of one probe; `off` when there is nothing to send."""
        if self._reading is None:
            self._reading = awaited(asyncio.to_thread(read_clip, job), "clip of a probe")
        done, _ = await asyncio.wait({self._reading}, timeout=job.seconds)
        if not done:
            return ProbeAnswer(off="the disk with the clip does not answer")
        reading, self._reading = self._reading, None
        try:
            clip = reading.result()
        except (OSError, BadTokenFile, UnicodeDecodeError) as e:
            return ProbeAnswer(off=f"cannot read the clip, its text or the token: {getattr(e, 'strerror', None) or e}")
        return await send_clip(job, clip) if clip is not None else ProbeAnswer(off=NO_CLIP)

    def _off(self, config: Config, version: Path | None) -> str:
        if not config.probe.every:
            return "probe.every is 0"
        if config.models.kind != PROBED_KIND:
            return f"not for kind {config.models.kind}"
        if version is None:
            return "nothing is served"
        address = self._address()
        return "" if address and not address.startswith("unix:") else "the service listens on no port"

    def figures(self) -> list[Figure]:
        return self.record.figure(self._config().probe.failures)

    def report(self) -> ProbeReport:
        """For the status."""
        config = self._config()
        return self.record.report(configured=bool(config.probe.every) and config.models.kind == PROBED_KIND)

    def expose(self, out: Exposition) -> None:
        """Its metrics."""
        record = self.record
        out.add("modelward_probes_total", record.passed, result="passed")
        out.add("modelward_probes_total", record.failed, result="failed")
        out.add("modelward_probe_duration_p95_seconds", record.p95_seconds)
