"""The rights of each role, and the file that the server reads."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.nats_rights import BadUsers, rights, with_user


def test_a_machine_may_write_one_subject_which_is_its_own() -> None:
    allowed = rights("machine", "shop-1")["publish"]["allow"]
    assert [subject for subject in allowed if not subject.startswith("$JS.API.DIRECT.GET.")] == [
        "$KV.modelward_reports.shop-1"
    ]
    assert not [subject for subject in allowed if "*" in subject or ">" in subject]


def test_the_file_has_each_client_once_and_no_other_file_is_changed() -> None:
    text = with_user("", "machine", "shop-1", "UA")
    text = with_user(text, "machine", "shop-2", "UB")
    text = with_user(text, "machine", "shop-1", "UC")
    assert [key in text for key in ("UA", "UB", "UC")] == [False, True, True]
    assert text.splitlines()[1] == "users = ["
    for strange in ("users = [\n{user: a}\n]", "users = [1]", "accounts {}", 'users = [{"nkey": "U"}]'):
        with pytest.raises(BadUsers):
            with_user(strange, "machine", "shop-1", "UA")
