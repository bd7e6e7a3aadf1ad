"""Versions are deleted only while nobody needs them, and a disk that hangs causes no rounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.daemon.controllers.test_maintenance import Home, run
from tests.fakes.no_thread_free import no_thread_free

from modelward.daemon.controllers.maintenance import Maintenance
from modelward.daemon.controllers.uploads import CLEAN_SECONDS, VersionUploads
from modelward.daemon.controllers.wakeups import Wakeups
from modelward.daemon.errors import Refused
from modelward.daemon.models import fetch_parts
from modelward.daemon.models.fetch_parts import part_name
from modelward.daemon.models.upload_rules import ABANDONED_SECONDS, UploadFile
from modelward.daemon.system.background import Background


def uploads_of(home: Home, keeping: Maintenance) -> VersionUploads:
    return VersionUploads(
        lambda: home.config,
        home.clock,
        validation=home.validation,
        maintenance=keeping,
        async_store=keeping._async_store,
        wakeups=Wakeups(home.clock),
    )


def wanted(home: Home) -> None:
    home.activation.wanted = "v1.2"


def linked(home: Home) -> None:
    link = home.base / "models" / "current"
    link.unlink()
    link.symlink_to("v1.2")


@pytest.mark.parametrize(("becomes", "because"), [(wanted, "wanted"), (linked, "live")])
def test_a_version_that_is_needed_before_its_deletion_gets_a_thread_stays(
    becomes: Callable[[Home], None], because: str, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")

    async def work(keeping: Maintenance) -> None:
        uploads = uploads_of(home, keeping)
        with no_thread_free():
            deletion = asyncio.ensure_future(uploads.delete("v1.2"))
            await asyncio.wait({deletion}, timeout=0)  # it was checked, and waits
            becomes(home)
        with pytest.raises(Refused, match=because):
            await deletion
        assert "v1.2" in home.versions
        assert (await uploads.delete("v1.3")).success and "v1.3" not in home.versions

    run(home, work)


def test_a_disk_that_hangs_makes_no_round_due(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    async def work(keeping: Maintenance) -> None:
        Background(home.clock).install()
        uploads = uploads_of(home, keeping)
        with no_thread_free():
            await uploads.ensure()
            home.clock.advance(CLEAN_SECONDS)
            assert uploads.next_due() is None
        assert uploads._cleaning is not None
        await uploads._cleaning
        assert uploads.next_due() == home.clock.monotonic()

    run(home, work)


def test_an_upload_does_not_count_as_abandoned_by_a_clock_that_is_ahead(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    async def work(keeping: Maintenance) -> None:
        Background(home.clock).install()
        uploads = uploads_of(home, keeping)

        async def cleaned() -> int:
            home.clock.advance(CLEAN_SECONDS)
            await uploads.ensure()
            assert uploads._cleaning is not None
            await uploads._cleaning
            return len((await uploads.uploads()).uploads)

        await uploads.begin("v2.0", "directory", [UploadFile("model.onnx", 1)])
        [upload] = (home.base / "models").glob(".*")
        fetched = home.base / "models" / part_name("v3.0")
        fetched.mkdir(mode=0o700)
        for path in (upload, fetched):
            os.utime(path, (home.clock.wall(), home.clock.wall()))
        assert await cleaned() == 1
        home.clock.step(ABANDONED_SECONDS)
        assert [await cleaned() for _ in range(2)] == [1, 1]
        home.clock.step(-ABANDONED_SECONDS)
        home.clock.advance(ABANDONED_SECONDS)
        assert [await cleaned() for _ in range(2)][-1] == 0 and fetched.exists()
        home.clock.advance(fetch_parts.ABANDONED_SECONDS)
        assert [await cleaned() for _ in range(2)][-1] == 0 and not fetched.exists()

    run(home, work)
