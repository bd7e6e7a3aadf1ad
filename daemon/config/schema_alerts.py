"""The tables about alerts: what is measured and alarming, what is probed, and which receiver gets what, when and how.

As in `schema`: durations are float seconds, what zero means stands on the field, and the descriptions are what the
documents print. Types are no texts here either.
"""

from typing import Annotated, Any, Final, Literal

from ..units import DAY, HOUR, MINUTE
from . import validators
from .alert_metrics import MAY_EXCEED
from .schema_base import Field
from .schema_parts import OptionalPath, Section
from .validators import duration, number, whole

SETTLED_PERCENT: Final = 5.0


def _above(given: dict[str, Any]) -> float | None:
    return 90.0 if given.get("below") is None else None


def _clear(given: dict[str, Any]) -> float:
    """Where an alert ends: five percent away from its threshold, of other figures at the threshold itself.

    Never more than half of the way to the end of the scale: a figure hardly ever gets there.
    """
    metric, below = str(given.get("metric", "")), given.get("below")
    above = 90.0 if given.get("above") is None else float(given["above"])
    if not metric.endswith("_percent"):
        return above if below is None else float(below)
    if below is None:
        return above - max(0.0, min(SETTLED_PERCENT, above / 2))
    room = SETTLED_PERCENT if metric in MAY_EXCEED else (100.0 - float(below)) / 2
    return float(below) + max(0.0, min(SETTLED_PERCENT, room))


class AlertRule(Section):
    """A figure that raises an alert while it is `above`, or `below`, for so long, until it is back at `clear`."""

    metric: Annotated[str, validators.metric_name] = Field(
        default="disk_used_percent", description="One of the figures in docs/metrics.md."
    )
    below: Annotated[float | None, number()] = Field(
        default=None, description="Below it the figure is alarming; in place of `above`."
    )
    above: Annotated[float | None, number()] = Field(
        default_factory=_above, description="Above it the figure is alarming; 90, unless `below` is given."
    )
    for_: Annotated[float, duration(0, DAY)] = Field(
        default=60.0, alias="for", description="So long without a break before the alert fires."
    )
    clear: Annotated[float, number()] = Field(
        default_factory=_clear,
        description="Where the alert ends; not given: 5 away from the threshold for a percentage, half of the way "
        "where less is left (`above = 1` ends at 0.5), else at the threshold itself.",
    )


class MonitorSection(Section):
    """What is measured, how often, and what is alarming."""

    interval: Annotated[float, duration(1, HOUR)] = Field(default=10.0, description="How often to measure.")
    alert: tuple[AlertRule, ...] = Field(
        default=(AlertRule(),),
        description="Rules of your own, one table each; built-in ones for the same figure give way (docs/metrics.md).",
    )


class ProbeSection(Section):
    """A clip with a known text that is sent through the service's port as a client would (kind sensevoice)."""

    every: Annotated[float, duration(0, DAY)] = Field(
        default=MINUTE, description="How often; 0: not at all. None is sent during a rollout."
    )
    clip: OptionalPath = Field(
        default="",
        description='A WAV file of up to 4MiB; `""`: the smallest clip of `validation.golden`, else of the golden '
        "clips of the version that is served; without any there are no probes.",
    )
    text: Annotated[str, validators.short_text] = Field(
        default="", description='What `clip` says; `""`: what stands in the file beside it that ends in `.txt`.'
    )
    failures: Annotated[int, whole(1, 100)] = Field(
        default=3, description="So many in a row raise the alert `probe_failed`."
    )
    timeout: Annotated[float, duration(1, HOUR)] = Field(default=30.0, description="For one probe.")
    max_error_rate: Annotated[float, number(0, 1)] = Field(
        default=0.3, description="Share of letters and digits that may be wrong."
    )


class QuietHours(Section):
    """Hours in which only critical alerts are sent; what the others were is one message afterwards."""

    from_: Annotated[str, validators.clock_time_or_none] = Field(
        default="", alias="from", description='Local time at which they begin, like `"22:00"`; `""`: there are none.'
    )
    to: Annotated[str, validators.clock_time_or_none] = Field(
        default="", description='Local time at which they end, like `"07:30"`; not later than `from`: on the next day.'
    )
    days: tuple[Annotated[str, validators.weekday], ...] = Field(
        default=(), description="Days on which they begin: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`; none: each."
    )


class MaintenanceWindow(Section):
    """A time in which nothing is sent, critical alerts included; what happened is one message afterwards."""

    start: Annotated[str, validators.cron] = Field(
        description='When it begins, as cron writes it, in local time: `"30 2 * * sun"`, `"0 22 1 * *"`.'
    )
    for_: Annotated[float, duration(MINUTE, 7 * DAY)] = Field(alias="for", description="How long it lasts.")
    alerts: tuple[Annotated[str, validators.alert_name], ...] = Field(
        default=(), description="Names of the alerts that it holds back, as `modelward alerts` lists them; none: all."
    )
    why: Annotated[str, validators.short_text] = Field(
        default="", description="The reason, for the people that read the alerts."
    )


class AlertRoute(Section):
    """Addresses that get one severity, in place of those in `to`."""

    critical: tuple[Annotated[str, validators.alert_url], ...] = Field(
        default=(), description="Who gets critical alerts; none: those in `to`."
    )
    warning: tuple[Annotated[str, validators.alert_url], ...] = Field(
        default=(), description="Who gets warnings; none: those in `to`."
    )


class AlertWebhook(Section):
    """A gateway that wants a body of its own: for SMS, for a ticket system."""

    url: Annotated[str, validators.web_address] = Field(
        description="Where the body is posted to; `user:password@` before the host is sent as Basic authorization."
    )
    kind: Literal["json", "form", "text"] = Field(
        default="json", description="What the body is; values are escaped for it, and it is sent under that type."
    )
    body: Annotated[str, validators.template] = Field(
        description="The body with fields like `$title` and `$body`, which stand for texts without quotes."
    )
    authorization: Annotated[str, validators.header_value] = Field(
        default="", description='The header `Authorization`, like `"Bearer TOKEN"`; `""`: none.'
    )
    severity: Literal["", "critical", "warning"] = Field(
        default="", description='The only severity that is sent there; `""`: both.'
    )


class Alerts(Section):
    """Which receiver gets which alert, and when."""

    to: tuple[Annotated[str, validators.alert_url], ...] = Field(
        default=(),
        description="Addresses: mail, DingTalk, Feishu, WeCom, Slack, webhook, … "
        "(operating.md, *Where alerts are sent*).",
    )
    language: Literal["en", "zh"] = Field(default="en", description="The language of messages: en or zh.")
    repeat: Annotated[float, duration(0)] = Field(
        default=4 * HOUR, description="How often a lasting alert is sent again; 0: it is sent once."
    )
    route: AlertRoute = AlertRoute()
    webhook: tuple[AlertWebhook, ...] = Field(
        default=(), description="Gateways that want a body of their own, besides the addresses; one table each."
    )
    keyword: Annotated[str, validators.keyword] = Field(
        default="", description="Begins the title of every message, for robots that take only what holds a keyword."
    )
    template: Annotated[str, validators.template] = Field(
        default="",
        description="What robots get in place of title and body, with the fields `$title`, `$body`, `$severity`, "
        '`$status`, `$host`, `$count` and `$keyword`; `""`: title and body.',
    )
    ca_file: OptionalPath = Field(
        default="",
        description="Certificates (PEM) that are trusted besides the system's, for mail and web addresses here.",
    )
    heartbeat: Annotated[str, validators.web_address_or_none] = Field(
        default="",
        description="A web address that expects a request every so often and raises an alarm elsewhere when none comes "
        '(healthchecks.io and its like); `/fail` behind it while something critical is wrong. `""`: none.',
    )
    heartbeat_every: Annotated[float, duration(10, DAY)] = Field(
        default=5 * MINUTE, description="How often it is requested."
    )
    digest: Annotated[str, validators.clock_time_or_none] = Field(
        default="",
        description="Local time of a daily message to those in `to` that says how things are, also when all is well; "
        '`""`: none.',
    )
    time_zone: Annotated[str, validators.time_zone] = Field(
        default="", description='Of `digest`, `quiet` and `maintenance`, like `"Asia/Shanghai"`; `""`: the machine\'s.'
    )
    quiet: QuietHours = QuietHours()
    maintenance: tuple[MaintenanceWindow, ...] = Field(
        default=(), description="Times in which nothing is sent, one table each, at most 32."
    )
