"""The rights of each role, and the file that the server reads."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.nats_rights import NOBODY, BadUsers, rights, with_user, without_user


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


def test_a_client_that_is_expelled_is_in_no_file_and_the_others_stay() -> None:
    one = with_user("", "machine", "shop-1", "UA")
    two = with_user(one, "machine", "shop-10", "UB")
    assert without_user(two, "shop-10") == one
    assert without_user(one, "shop-1") == NOBODY
    for text in ("", NOBODY, two):
        assert without_user(text, "shop-2") == text
    with pytest.raises(BadUsers):
        without_user("accounts {}", "shop-1")
