"""Who has to be replaced."""

from __future__ import annotations

from modelward.daemon.workers.peer import WorkerPeer
from modelward.daemon.workers.replacement import Places, lost, outdated
from modelward.worker.protocol import Beat

MIB = 1 << 20


def _peer(name: str, release: str = "2.0", *, mib: int = 100, attached: bool = False) -> WorkerPeer:
    return WorkerPeer(name=name, pid=1, attached=attached, joined=0.0, release=release, beat=Beat(rss_bytes=mib * MIB))


def test_another_release_or_too_much_memory_is_a_reason_and_a_limit_of_zero_is_none() -> None:
    peers = [_peer("w1"), _peer("w2", "1.9"), _peer("w3", ""), _peer("w4", mib=300)]
    assert dict(outdated(peers, most_bytes=0, release="2.0", now=100.0)) == {
        "w2": "it runs modelward 1.9, the daemon 2.0",
        "w3": "it runs modelward of old, the daemon 2.0",
    }
    assert dict(outdated(peers, most_bytes=200 * MIB, release="2.0", now=100.0))["w4"] == "300MiB used, at most 200MiB"


def test_who_was_started_by_this_daemon_is_what_is_installed_now_and_no_successor_would_differ() -> None:
    peers = [_peer("w1", "2.1"), _peer("w2", "2.1"), _peer("w3", "2.1", mib=300)]
    found = dict(outdated(peers, most_bytes=200 * MIB, release="2.0", now=100.0, started={"w2", "w3"}))
    assert list(found) == ["w1", "w3"]
    assert found["w3"] == "300MiB used, at most 200MiB"


def test_a_worker_of_another_program_is_left_alone() -> None:
    assert not list(outdated([_peer("app", "", mib=900, attached=True)], most_bytes=MIB, release="2.0", now=100.0))


def test_a_worker_that_is_confined_to_a_directory_which_was_made_anew_is_replaced() -> None:
    peer = _peer("w1")
    peer.places = {"/run/m/shared": "1:2", "/var/log/m": ""}

    def found(now: dict[str, str], looked: float = 5.0) -> dict[str, str]:
        return dict(outdated([peer], most_bytes=0, release="2.0", now=9.0, places=Places(now, looked)))

    anew = " was made anew, and it is confined to the directory that was there before"
    assert found({"/run/m/shared": "1:3"}) == {"w1": "/run/m/shared" + anew}
    assert found({"/run/m/shared": "1:2", "/var/log/m": "1:4"}) == {"w1": "/var/log/m" + anew}
    assert found({"/run/m/shared": "1:2"}) == {}
    assert found({"/run/m/shared": ""}) == {}, "what is missing may come back"
    peer.joined = 5.0
    assert found({"/run/m/shared": "1:3"}) == {}, "the look was before the worker joined"


def test_who_has_not_come_back_is_lost() -> None:
    assert [name for name, _ in lost({"w1", "w2"}, [_peer("w2"), _peer("w5")])] == ["w1"]


def test_a_worker_with_jobs_that_do_not_end_is_replaced() -> None:
    peers = [_peer("w1"), _peer("w2")]
    peers[1].beat = Beat(stuck=2)
    assert dict(outdated(peers, most_bytes=0, release="2.0", now=100.0)) == {"w2": "2 of its jobs do not end"}
