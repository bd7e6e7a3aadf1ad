"""The name of a machine that was given none."""

from __future__ import annotations

from pathlib import Path

from modelward.daemon.fleet.machine_name import machine_name


def test_a_machine_has_one_name_that_does_not_give_its_id_away(tmp_path: Path) -> None:
    own = tmp_path / "machine-id"
    own.write_text("0123456789abcdef0123456789abcdef\n")
    name = machine_name("", own)
    assert name == machine_name("", own) and name.startswith("m-") and own.read_text().strip() not in name
    assert machine_name("shop-1", own) == "shop-1"
    assert machine_name("", tmp_path / "none") == machine_name("", tmp_path / "none") != name
