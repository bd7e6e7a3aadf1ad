"""The table about the fleet: where its record is, which keys may sign it, and what this machine is in it.

As in `schema`: durations are float seconds, what zero means stands on the field, and the descriptions are what the
documents print. Types are no texts here either.
"""

from typing import Annotated

from ..units import DAY, HOUR, MINUTE
from . import fleet_checks, validators
from .schema_base import Field
from .schema_parts import OptionalPath, Section
from .validators import duration, size


class FleetSection(Section):
    """One wanted version for many machines, by a signed record; see docs/fleet.md. No `url`: there is no fleet."""

    url: Annotated[str, fleet_checks.fleet_url] = Field(
        default="",
        description="Where the record is: `nats://` or `tls://` and a server's `host:port` (several with commas), an "
        '`https://` address, or `file:///` and a path; `""`: nowhere, this machine is in no fleet.',
    )
    public_keys: tuple[Annotated[str, validators.minisign_key], ...] = Field(
        default=(), description="minisign public keys, at most 32; a record that none of them signed is refused."
    )
    name: Annotated[str, fleet_checks.machine_name] = Field(
        default="",
        description='What this machine is called in the fleet; it must not change. `""`: made from /etc/machine-id.',
    )
    labels: tuple[Annotated[str, fleet_checks.fleet_label], ...] = Field(
        default=(), description='By which waves name this machine, at most 32, like `"canary"`, `"region=north"`.'
    )
    credentials: OptionalPath = Field(
        default="",
        description="A file with what the server asks for: NATS's `.creds`, or a bearer token for https.",
    )
    ca_file: OptionalPath = Field(
        default="", description="Certificates (PEM) that are trusted besides the system's, for the server."
    )
    keeper: bool = Field(
        default=False,
        description="Whether this daemon opens waves; of several that may, one does. Only with NATS.",
    )
    poll: Annotated[float, duration(1, DAY)] = Field(
        default=MINUTE, description="How often the record is read, a tenth more or less; a wake-up reads it at once."
    )
    alert_after: Annotated[float, duration(MINUTE, 30 * DAY)] = Field(
        default=HOUR, description="The server may not be reached for so long before it raises an alert."
    )
    max_rate: Annotated[int, size(1024, zero=True)] = Field(
        default=0, description="Bytes a second while a version is fetched; 0: no limit."
    )
    time_zone: Annotated[str, validators.time_zone] = Field(
        default="", description='Of the windows of waves, like `"Asia/Shanghai"`; `""`: the machine\'s.'
    )
