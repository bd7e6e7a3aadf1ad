"""Carries out mutes and acknowledgements, stores them, and reports what is held back now.

`health.mutes` and `health.quiet_times` decide what they mean. Invariant: what was confirmed is stored, or the answer
reports that it is in memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from ..answers.alerts import MuteReport, WindowReport
from ..answers.commands import CommandOutcome
from ..config.load import Config
from ..config.validators import nearest
from ..errors import NotKnown, Refused
from ..health import mutes
from ..health.alerts import Alert
from ..health.mutes import Acknowledgement, Mute
from ..health.notification_planner import NOTHING_HELD, GroupNotified, HeldBack, Item, MissedAlert
from ..health.quiet_times import QuietPlan, quiet_plan
from ..health.rules import HealthRule
from ..state.async_store import AsyncStore, CannotKeep
from ..system.background import here
from ..system.clock import Clock, rfc3339
from ..units import parse_duration, show_duration


class Silences:
    """See the module. `alerts` are the alerts as they are now; `happened` is called after each change."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        async_store: AsyncStore,
        *,
        alerts: Callable[[], Mapping[str, Alert]],
        rules: Callable[[], Iterable[HealthRule]],
        happened: Callable[[], None],
    ) -> None:
        self._config, self._clock, self._async_store = config, clock, async_store
        self._alerts, self._rules, self._happened = alerts, rules, happened
        self._mutes: dict[str, Mute] = {}
        self.acknowledged: dict[str, Acknowledgement] = {}
        self._plan, self._planned_for = QuietPlan(), None  # type: QuietPlan, object

    async def recall(self) -> None:
        """Takes up what the state holds; an acknowledgement of an alert that is not known any more is dropped."""
        with suppress(CannotKeep):
            kept = await self._async_store.do(lambda store: store.fact(mutes.FACT))
            self._mutes, acknowledged = mutes.read(kept, self._clock.wall())
            self.acknowledged = {f: entry for f, entry in acknowledged.items() if f in self._alerts()}

    # what is held back

    def _quiet(self) -> QuietPlan:
        """The windows that are open; computed again when one may have opened or closed, or the clock was set."""
        alerts, wall = self._config().alerts, self._clock.wall()
        if alerts is not self._planned_for or not self._plan.since <= wall < self._plan.until:
            self._plan, self._planned_for = quiet_plan(alerts, wall), alerts
        return self._plan

    def reason(self, alert: Alert) -> str:
        """Why nothing is sent about this alert now; "" when it is."""
        rule, wall = alert.rule, self._clock.wall()
        if mute := mutes.mute_of(self._mutes, rule.name, alert.fingerprint, wall):
            why = f": {mute.because}" if mute.because else ""
            return f"muted until {rfc3339(mute.until)}{why}"
        if window := self._quiet().held_by(rule.name, alert.fingerprint, rule.severity):
            return f"{window.because}, until {rfc3339(window.until)}"
        return ""

    def quiet(self, alert: Alert) -> bool:
        """Whether a window, and no mute, holds this alert back: then it is sent afterwards if it ends before."""
        rule, fingerprint = alert.rule, alert.fingerprint
        muted = mutes.mute_of(self._mutes, rule.name, fingerprint, self._clock.wall())
        return muted is None and self._quiet().held_by(rule.name, fingerprint, rule.severity) is not None

    def held_back(
        self, active: Iterable[Item], told: Mapping[str, GroupNotified], missed: Mapping[str, tuple[MissedAlert, ...]]
    ) -> HeldBack:
        """Which active or sent alerts must not be sent now, and which missed ones may be."""
        wall, quiet = self._clock.wall(), self._quiet()
        if not quiet.windows and not self._mutes and not missed:
            return NOTHING_HELD

        def held(rule: str, fingerprint: str, severity: str) -> bool:
            muted = mutes.mute_of(self._mutes, rule, fingerprint, wall)
            return muted is not None or quiet.held_by(rule, fingerprint, severity) is not None

        known = {item.fingerprint: item.group for item in active}
        known |= {fingerprint: group for group, each in told.items() for fingerprint in each.firing}
        fingerprints = {f for f, group in known.items() if held(f.partition(":")[0], f, group)}
        free = {
            group: tuple(each.text for each in entries if not held(each.rule, each.fingerprint, group))
            for group, entries in missed.items()
        }
        return HeldBack(frozenset(fingerprints), free)

    def next_change(self) -> float | None:
        """When something may be held back no longer, monotonic; None: nothing is, and no window is configured."""
        wall, alerts = self._clock.wall(), self._config().alerts
        moments = [mutes.next_end(self._mutes.values(), wall)]
        if alerts.maintenance or alerts.quiet.from_:
            moments.append(self._quiet().until)
        soonest = min((moment for moment in moments if moment is not None), default=None)
        return None if soonest is None else self._clock.monotonic() + soonest - wall

    def ended(self, fingerprint: str) -> None:
        """An alert ended: its acknowledgement with it."""
        if self.acknowledged.pop(fingerprint, None) is not None:
            here().start("acknowledgements to the state", self._forget)

    async def _forget(self) -> None:
        with suppress(CannotKeep):  # logged where it happened
            await self._save()

    async def _save(self) -> None:
        """Raises CannotKeep."""
        record = mutes.record(self._mutes, self.acknowledged)
        await self._async_store.do(lambda store: store.put(**{mutes.FACT: record}))

    # commands

    async def mute(self, name: str, duration: object, why: str) -> CommandOutcome:
        """Holds back all messages about `name` for that time."""
        self._check_name(name, "mute")
        try:
            seconds = parse_duration(duration)
        except ValueError as e:
            raise Refused(f"cannot mute {name}: {e}") from e
        if not 1.0 <= seconds <= mutes.MAX_SECONDS:
            most = show_duration(mutes.MAX_SECONDS)
            raise Refused(f"cannot mute {name}: {show_duration(seconds)} is out of range; 1s to {most}")
        wall = self._clock.wall()
        kept = mutes.current(self._mutes, wall)
        if len(kept) >= mutes.MAX_MUTES and name not in kept:
            raise Refused(
                f"cannot mute {name}: there are {mutes.MAX_MUTES} mutes already; `modelward alerts unmute` ends them"
            )
        mute = Mute(name, wall, wall + seconds, why[: mutes.MAX_WHY_CHARS])
        self._mutes = kept | {name: mute}
        until = rfc3339(mute.until)
        return await self._keep("alert-muted", f"{name} is muted until {until}", mute.because, alert=name, until=until)

    async def unmute(self, name: str) -> CommandOutcome:
        """Ends one mute, or all for ""."""
        kept = mutes.current(self._mutes, self._clock.wall())
        if name and name not in kept:
            raise NotKnown(f"cannot unmute {name[:200]}: this name is not muted; `modelward alerts` lists what is")
        if not kept:
            raise NotKnown("cannot unmute: nothing is muted")
        self._mutes = {other: mute for other, mute in kept.items() if name and other != name}
        names = name or ", ".join(kept)
        return await self._keep("alert-unmuted", f"{names[:500]} may be sent again", "", alert=names[:500])

    async def acknowledge(self, name: str, why: str) -> CommandOutcome:
        """Alerts of this name that fire now are not repeated until they have ended."""
        self._check_name(name, "acknowledge")
        firing = [a for a in self._alerts().values() if a.fired is not None]
        found = [a.fingerprint for a in firing if mutes.named(name, a.rule.name, _short(a.fingerprint))]
        if not found:
            raise Refused(f"cannot acknowledge {name}: it does not fire; `modelward alerts` lists what does")
        entry = Acknowledgement(self._clock.wall(), why[: mutes.MAX_WHY_CHARS])
        self.acknowledged |= dict.fromkeys(found[: mutes.MAX_ACKNOWLEDGED], entry)
        what = f"{name} is acknowledged: it is not sent again until it has ended"
        return await self._keep("alert-acknowledged", what, entry.because, alert=name)

    def _check_name(self, name: str, verb: str) -> None:
        rules, alerts = list(self._rules()), self._alerts().values()
        known = {mutes.ALL, *(rule.name for rule in rules), *(rule.metric for rule in rules)}
        known |= {_short(f"{name}:{a.subject}") for a in alerts for name in (a.rule.name, a.rule.metric)}
        if name in known:
            return
        near = nearest(name, known)
        meant = f"; did you mean {near}?" if near else "; docs/metrics.md lists the names"
        raise NotKnown(f"cannot {verb} {name[:200]!r}: there is no alert of that name{meant}")

    async def _keep(self, kind: str, message: str, why: str, **detail: str) -> CommandOutcome:
        self._happened()
        try:
            await self._save()
            kept = f"; kept in memory alone: {problem}" if (problem := self._async_store.problem) else ""
        except CannotKeep as e:
            kept = f"; kept in memory alone: {e}"
        self._async_store.note(kind, "", f"{message}{f': {why}' if why else ''}", **detail)
        return CommandOutcome(True, f"{message}{kept}")

    def report(self) -> list[MuteReport]:
        """What is muted now."""
        found = mutes.current(self._mutes, self._clock.wall()).values()
        return [MuteReport(m.name, rfc3339(m.since), rfc3339(m.until), m.because) for m in found]

    def windows(self) -> list[WindowReport]:
        """The maintenance windows and quiet hours that are open now."""
        return [WindowReport(list(w.names), rfc3339(w.until), w.because, not w.passes) for w in self._quiet().windows]


def _short(fingerprint: str) -> str:
    """As people write it: an alert without a subject by its rule alone."""
    return fingerprint.removesuffix(":")
