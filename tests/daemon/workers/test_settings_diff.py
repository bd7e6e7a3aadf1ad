"""Each key that a worker gets is taken up by it at once or has it replaced; what is not so yet is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from modelward.daemon.config.load import APPLIES, Config, WorkersSection, parse
from modelward.daemon.units import DiskShare
from modelward.daemon.workers.peer import WorkerPeer
from modelward.daemon.workers.replacement import outdated
from modelward.daemon.workers.settings_diff import (
    CONFIRM_SECONDS,
    KEYS,
    Running,
    pending,
    unconfirmed,
)
from modelward.daemon.workers.settings_of_config import settings_of, terms_of
from modelward.worker.protocol import (
    MAX_MESSAGE_BYTES,
    Applied,
    Settings,
    WorkerSettings,
    decode_from_daemon,
    decode_from_worker,
    encode,
)
from modelward.worker.settings import (
    FIELDS,
    FIXED,
    LIVE,
    Terms,
    differing,
)

# Another value for every key of the section: a key that is missing here has no rule yet.
ANOTHER: dict[str, Any] = {
    "count": 5,
    "threads": 3,
    "providers": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "listen": "127.0.0.1:7861",
    "token_file": "/etc/modelward/tokens",
    "drain": 7.0,
    "drain_notice": 5.0,
    "queue": 9,
    "max_upload": 5 << 20,
    "min_upload_rate": 0,
    "max_audio": 77.0,
    "request_timeout": 33.0,
    "model_aliases": ("asr",),
    "cors_origins": ("https://app.example.org",),
    "base_path": "/asr",
    "trusted_proxies": ("10.0.0.0/8",),
    "memory": 1 << 30,
    "confine": False,
}
ELSEWHERE: dict[str, Any] = {
    "kind": "tensor",
    "dir": "/srv/log",
    "level": "debug",
    "trim": "silence",
    "keep": 77.0,
    "max_jobs": 3,
    "max_bytes": 1 << 30,
    "callbacks": ("https://example.org/",),
    "min_free": DiskShare(percent=3),
}
"""The same for the keys of other sections that a worker reads."""
BY_THE_DAEMON = {"count", "memory", "drain_notice"}
"""The daemon alone goes by these, in each round or at its end."""


def _with(key: str) -> Config:
    section, _, name = key.partition(".")
    value = ANOTHER[name] if section == "workers" else ELSEWHERE[name]
    config = Config()
    return config.model_copy(update={section: getattr(config, section).model_copy(update={name: value})})


def _terms(config: Config) -> Terms:
    return terms_of(config, config.workers.listen)


@pytest.mark.parametrize("name", list(WorkersSection.model_fields))
def test_every_key_of_the_workers_holds_without_a_restart_by_hand(name: str) -> None:
    changed = {KEYS[field] for field in differing(_terms(Config()), _terms(_with(f"workers.{name}")))}
    assert changed == (set() if name in BY_THE_DAEMON else {f"workers.{name}"})
    taken_up = name in BY_THE_DAEMON or all(field in LIVE for field, key in KEYS.items() if key == f"workers.{name}")
    assert APPLIES["workers"][name] == ("live" if taken_up else "workers replaced")


def test_every_setting_of_a_worker_has_its_key_and_every_key_its_setting() -> None:
    assert tuple(KEYS) == FIELDS
    assert set(FIXED) | set(LIVE) == set(FIELDS)
    assert {key for key in KEYS.values() if key.startswith("workers.")} == {
        f"workers.{name}" for name in WorkersSection.model_fields if name not in BY_THE_DAEMON
    }
    for field, key in KEYS.items():
        assert differing(_terms(Config()), _terms(_with(key))) == (field,)


def test_what_all_workers_have_alike_comes_back_from_a_worker_as_it_was_sent() -> None:
    terms = _terms(_with("workers.providers"))
    settings = settings_of("w1", Config(), terms, 7)
    assert settings.terms() == terms
    assert decode_from_daemon(encode(Settings(terms))[:-1]) == Settings(terms)
    assert decode_from_worker(encode(Applied(terms))[:-1]) == Applied(terms)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=WorkerSettings).terms() == terms


def test_a_running_worker_takes_up_what_it_can_and_keeps_the_rest() -> None:
    old, new = Terms(), Terms(threads=4, listen="127.0.0.1:1", token_file="/t", queue=3)
    assert differing(old.with_live(new), new) == ("listen", "threads")


# who is replaced

NOW = 1000.0


def _peer(name: str, terms: Terms | None, **more: Any) -> WorkerPeer:
    return WorkerPeer(name=name, pid=1, attached=False, joined=0.0, release="2.0", terms=terms, **more)


def _replaced(*peers: WorkerPeer, started: tuple[str, ...] = (), wanted: Terms = Terms()) -> dict[str, str]:  # noqa: B008
    return dict(outdated(peers, most_bytes=0, release="2.0", now=NOW, started=started, terms=wanted))


def test_a_worker_is_replaced_for_what_it_cannot_take_up() -> None:
    assert _replaced(_peer("w1", Terms()), _peer("w2", Terms(threads=2, listen="x:1"))) == {
        "w2": "it runs with the former workers.listen, workers.threads"
    }


def test_a_worker_that_does_not_confirm_in_time_is_replaced() -> None:
    wanted, former = Terms(token_file="/t"), Terms()
    in_time = _peer("w1", former, asked=wanted, asked_at=NOW - CONFIRM_SECONDS)
    late = _peer("w2", former, asked=wanted, asked_at=NOW - CONFIRM_SECONDS - 1)
    assert _replaced(in_time, late, _peer("w3", former), wanted=wanted) == {
        "w2": f"it did not take up workers.token_file in {CONFIRM_SECONDS:g} s"
    }


def test_a_worker_that_says_nothing_of_its_settings_is_replaced_unless_its_successor_would_not_either() -> None:
    peers = [_peer("w1", None), _peer("w2", None)]
    assert _replaced(*peers, started=("w2",)) == {"w1": "it does not report its settings"}


def test_another_programs_worker_is_left_alone() -> None:
    peer = WorkerPeer(name="app", pid=1, attached=True, joined=0.0)
    assert _replaced(peer) == {}


# what is said

WANTED = Terms(token_file="/t", threads=2)


def _cases() -> Iterator[tuple[list[Running], list[str], list[str]]]:
    done, former = Running("w1", WANTED), Running("w2", Terms(threads=2))
    yield [done], [], []
    yield (
        [done, former],
        ["1 of 2 workers still runs with the former workers.token_file; replaced where it is not confirmed soon"],
        ["w2"],
    )
    yield (
        [former],
        ["1 of 1 worker still runs with the former workers.token_file; replaced where it is not confirmed soon"],
        ["w2"],
    )
    yield (
        [done, former, Running("w3", Terms())],
        [
            "1 of 3 workers still runs with the former workers.threads; being replaced",
            "2 of 3 workers still run with the former workers.token_file; replaced where it is not confirmed soon",
        ],
        ["w2", "w3"],
    )
    yield [Running("w1", None)], ["1 of 1 worker still runs with settings that are not known yet"], ["w1"]
    yield (
        [Running("w1", Terms(threads=9, token_file="/t"))],
        ["1 of 1 worker still runs with the former workers.threads; being replaced"],
        [],
    )


@pytest.mark.parametrize(("workers", "messages", "late"), list(_cases()))
def test_what_does_not_hold_yet_is_said_by_key(workers: list[Running], messages: list[str], late: list[str]) -> None:
    assert [entry.message for entry in pending(workers, WANTED)] == messages
    assert list(unconfirmed(workers, WANTED)) == late


def test_the_longest_lists_that_are_taken_fit_into_one_message() -> None:
    lists = {
        "workers.model_aliases": ["🗣" * 62 + f"{n:02}" for n in range(32)],
        "workers.cors_origins": [f"{'x' * 32}://{'h' * 251}{n:02}:65535" for n in range(32)],
        "workers.trusted_proxies": [f"{n + 32:x}ff:{'ffff:' * 6}ffff" for n in range(32)],
        "jobs.callbacks": [f"https://a.example/{n:02}" + "p" * 1004 for n in range(32)],
    }
    config = parse(
        "\n".join(f"{key} = {json.dumps(names, ensure_ascii=False, indent=0)}" for key, names in lists.items()), "test"
    )
    assert len(msgspec.json.encode(_terms(config))) < MAX_MESSAGE_BYTES - 8192, "tokens and names come beside"
