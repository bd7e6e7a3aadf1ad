"""A callback goes to the listed address and nowhere else, and nothing that its receiver does holds it up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from threading import Event

import pytest
from tests.fakes.receivers import FakeReceiver, Reply, fake_receiver

from modelward.daemon.jobs.callback_sender import NAME_THREADS, CallbackFailed, HostNames, deliver

HEADERS = {"Content-Type": "application/json"}
BODY = json.dumps({"id": "job_1", "state": "done"}).encode()


def send(url: str, entries: Sequence[str], *, leads_to: Sequence[str] = (), seconds: float = 60.0) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return list(leads_to) or [host]

    asyncio.run(deliver(url, entries, BODY, HEADERS, resolve=resolve, seconds=seconds))


def failure(url: str, entries: Sequence[str], *, leads_to: Sequence[str] = (), seconds: float = 60.0) -> CallbackFailed:
    with pytest.raises(CallbackFailed) as failed:
        send(url, entries, leads_to=leads_to, seconds=seconds)
    return failed.value


def address(receiver: FakeReceiver) -> str:
    return f"http://127.0.0.1:{receiver.port}/done"


def named(receiver: FakeReceiver) -> str:
    return f"http://hooks.test:{receiver.port}/done"


def test_a_listed_address_gets_the_body() -> None:
    with fake_receiver(Reply(204)) as receiver:
        send(address(receiver) + "?a=1", [address(receiver)])
    (post,) = receiver.posts
    assert post.path == "/done?a=1" and post.json == {"id": "job_1", "state": "done"}
    assert post.headers["Host"] == f"127.0.0.1:{receiver.port}" and post.headers["Content-Type"] == "application/json"


def test_a_redirect_is_not_followed() -> None:
    with fake_receiver() as other, fake_receiver(Reply(302, headers=(("Location", address(other)),))) as receiver:
        failed = failure(address(receiver), [address(receiver)])
    assert "redirects are not followed" in str(failed) and failed.for_good
    assert len(receiver.posts) == 1 and other.posts == []


@pytest.mark.parametrize("leads_to", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["::1"]])
def test_a_name_that_leads_into_a_private_network_is_not_connected_to(leads_to: list[str]) -> None:
    with fake_receiver() as receiver:
        failed = failure(named(receiver), [named(receiver)], leads_to=leads_to)
    assert "neither a public address" in str(failed) and not failed.for_good and receiver.posts == []


def test_a_listed_network_may_be_led_to() -> None:
    with fake_receiver() as receiver:
        send(named(receiver), [named(receiver), "127.0.0.0/8"], leads_to=["127.0.0.1"])
    assert receiver.posts[0].headers["Host"] == f"hooks.test:{receiver.port}"


def test_what_is_not_listed_any_more_is_given_up() -> None:
    with fake_receiver() as receiver:
        failed = failure(address(receiver), ["https://example.org/"])
    assert failed.for_good and "does not list" in str(failed) and receiver.posts == []


@pytest.mark.parametrize(("reply", "because"), [(Reply(500), "answered 500"), (Reply(404), "answered 404")])
def test_an_answer_that_is_no_success_is_tried_again(reply: Reply, because: str) -> None:
    with fake_receiver(reply) as receiver:
        failed = failure(address(receiver), [address(receiver)])
    assert because in str(failed) and not failed.for_good


@pytest.mark.parametrize("manner", ["hang", "drip"])
def test_a_receiver_that_takes_its_time_is_left(manner: str) -> None:
    with fake_receiver(Reply(manner=manner)) as receiver:
        failed = failure(address(receiver), [address(receiver)], seconds=0.5)
        receiver.over.set()
    assert "no answer within 0.5 s" in str(failed)


def test_a_receiver_that_resets_or_is_not_there_is_a_failure_with_its_reason() -> None:
    with fake_receiver(Reply(manner="rst")) as receiver:
        assert "did not answer" in str(failure(address(receiver), [address(receiver)]))
    assert "no connection" in str(failure(address(receiver), [address(receiver)]))


def test_a_name_that_is_no_name_is_a_failure() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(CallbackFailed, match="cannot be looked up"):
        asyncio.run(deliver("http://a.test/", ["http://a.test/"], BODY, HEADERS, resolve=resolve))


def test_names_are_looked_up_beside_the_loop_and_addresses_are_what_they_are() -> None:
    async def looked_up() -> list[list[str]]:
        names = HostNames()
        try:
            hosts = ("127.0.0.1", "::1", "localhost")
            return [list(await names.resolve(host, 80)) for host in hosts]
        finally:
            names.close()

    four, six, local = asyncio.run(looked_up())
    assert (four, six) == (["127.0.0.1"], ["::1"]) and set(local) & {"127.0.0.1", "::1"}


def test_name_servers_that_do_not_answer_hold_up_no_more_than_the_time_of_a_callback() -> None:
    release = Event()

    async def tried() -> CallbackFailed:
        names = HostNames()
        loop = asyncio.get_running_loop()
        held = [loop.run_in_executor(names._threads, release.wait) for _ in range(NAME_THREADS)]
        try:
            with pytest.raises(CallbackFailed) as failed:
                await deliver("http://a.test/", ["http://a.test/"], b"", {}, resolve=names.resolve, seconds=0.05)
            return failed.value
        finally:
            release.set()
            await asyncio.gather(*held)
            names.close()

    assert "no answer within 0.05 s" in str(asyncio.run(tried()))
