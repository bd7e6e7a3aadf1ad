"""Adds the credentials that the service manager passes in a private directory (LoadCredential=) to the
configuration.

`modelward.alerts` has alert addresses, one on each line, in addition to `alerts.to`: they often hold passwords. Bearer
tokens need nothing here: `token_file` may name the path of a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import BadConfig
from ..system.safe_read import open_regular
from .load import Alerts, Config
from .schema_base import Mistaken

ALERTS: Final = "modelward.alerts"
MAX_BYTES: Final = 64 * 1024


def with_credentials(config: Config, environ: Mapping[str, str]) -> Config:
    """The configuration with the credentials. Raises BadConfig, which repeats none of their content."""
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return config
    path = Path(directory) / ALERTS
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BadConfig(str(path), (f"the credential: too big; at most {MAX_BYTES} bytes",))
        text = data.decode()
    except FileNotFoundError:
        return config
    except OSError as e:
        raise BadConfig(str(path), (f"the credential: cannot be read: {e.strerror}",)) from e
    except UnicodeDecodeError:
        raise BadConfig(str(path), ("the credential: no UTF-8",)) from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    try:
        Alerts(to=lines)
    except Mistaken as e:
        numbers = ", ".join(str(int(found.place[1]) + 1) for found in e.found if len(found.place) > 1)
        raise BadConfig(str(path), (f"the credential: no Apprise address (address {numbers})",)) from None
    return config.model_copy(update={"alerts": config.alerts.model_copy(update={"to": (*config.alerts.to, *lines)})})
