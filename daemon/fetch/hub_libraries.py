"""Gets files through the hubs' own libraries where they are installed: with their logins and faster transfers.

It gets one file, which is named by its commit. What comes is checked by the caller as if it came by plain HTTPS, so
that the directory is the same either way. The libraries are loaded only here, when a file is fetched.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ..errors import Refused
from .fetcher import Transfer
from .remote_version import RemoteFile, RemoteVersion
from .sources import HubSource

_MODULES: Final = {"hf": "huggingface_hub", "ms": "modelscope_hub"}


def transfer_of(source: HubSource, remote: RemoteVersion, endpoint: str, root: Path) -> Transfer | None:
    """How the library of this hub gets a file into the model root; None where it is not installed.

    None also for root in another user's model root: a library writes by names, and that user could lead them elsewhere.
    """
    if find_spec(_MODULES[source.hub]) is None or (os.geteuid() == 0 and root.stat().st_uid != 0):
        return None
    get = _from_hugging_face if source.hub == "hf" else _from_modelscope

    def transfer(file: RemoteFile, to: Path) -> None:
        aside = to.parent.with_name("library")  # beside the parts, within the same hidden directory
        try:
            path = get(source.repository, remote.revision, file, aside, endpoint)
        except Exception as e:
            because = " ".join(str(e).split())[:300] or type(e).__name__
            failed = f"cannot fetch {file.path} by {_MODULES[source.hub]}: {because}"
            raise Refused(f"{failed}; --plain fetches it without that library") from e
        os.replace(path, to)

    return transfer


def token_of(source: HubSource) -> str:
    """The token of the library's login; "" for none."""
    if source.hub != "hf" or find_spec(_MODULES["hf"]) is None:
        return ""
    return str(_library("huggingface_hub").get_token() or "")


def _from_hugging_face(repository: str, revision: str, file: RemoteFile, aside: Path, endpoint: str) -> str:
    found: Any = _library("huggingface_hub").hf_hub_download(
        repository, file.path, revision=revision, local_dir=os.path.realpath(aside), endpoint=endpoint
    )
    return str(found)


def _from_modelscope(repository: str, revision: str, file: RemoteFile, aside: Path, endpoint: str) -> str:
    found: Any = (
        _library("modelscope_hub")
        .HubApi(endpoint=endpoint)
        .download_file(
            repository,
            "model",
            file.path,
            revision=revision,
            local_dir=os.path.realpath(aside),
            expected_sha256=file.digest or None,
            file_size=file.bytes if file.bytes >= 0 else None,
        )
    )
    return str(found)


def _library(name: str) -> Any:
    """The library, without progress bars and reports of its own."""
    for key in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK"):
        os.environ.setdefault(key, "1")
    return import_module(name)
