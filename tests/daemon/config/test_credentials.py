"""What a service manager hands over, laid over the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.daemon.config.credentials import with_credentials
from modelward.daemon.config.load import Config
from modelward.daemon.errors import BadConfig


def _with(directory: Path, text: str) -> Config:
    (directory / "modelward.alerts").write_text(text)
    return with_credentials(Config(), {"CREDENTIALS_DIRECTORY": str(directory)})


def test_addresses_come_to_those_in_the_file(tmp_path: Path) -> None:
    config = _with(tmp_path, "# on call\nmailto://a:b@example.org\n\n  json://example.org/hook  \n")
    assert config.alerts.to == ("mailto://a:b@example.org", "json://example.org/hook")


def test_nothing_handed_over_changes_nothing(tmp_path: Path) -> None:
    assert with_credentials(Config(), {}) == Config()
    assert with_credentials(Config(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == Config()
    assert _with(tmp_path, "\n") == Config()


def test_a_bad_address_is_refused_without_being_repeated(tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        _with(tmp_path, "mailto://a:b@example.org\nsecret but no address\n")
    assert "address 2" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modelward.alerts").mkdir()
    with pytest.raises(BadConfig):
        with_credentials(Config(), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
