"""What a server answers is within its limits, or the server is away, with one short line."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.engine import EngineAway
from modelward.daemon.fleet.nats_answers import ServerAnswer, ServerTrouble, StoredObject, StreamAnswer, decoded, shown


def test_what_counts_of_an_answer_is_read_and_the_rest_passed_over() -> None:
    data = b'{"type":"io.nats","total":1,"state":{"subjects":{"a":1},"bytes":5},"config":{"allow_direct":true,"x":[]}}'
    answer = decoded(data, StreamAnswer, "the answer")
    assert (answer.subjects, answer.total, answer.config.allow_direct, answer.error) == (["a"], 1, True, None)
    assert decoded(b'{"state":{"subjects":null}}', StreamAnswer, "the answer").subjects == []


@pytest.mark.parametrize(
    ("options", "chunk_bytes"),
    [("null", 131_072), ("{}", 131_072), ('{"max_chunk_size":3}', 3), ('{"max_chunk_size":-1}', 131_072)],
)
def test_an_object_without_a_size_of_its_chunks_has_the_usual_one(options: str, chunk_bytes: int) -> None:
    about = decoded(b'{"nuid":"N","size":6,"chunks":2,"options":%s}' % options.encode(), StoredObject, "it")
    assert about.chunk_bytes == chunk_bytes


@pytest.mark.parametrize(
    "data",
    [b'{"nuid":">","size":1,"chunks":1}', b'{"nuid":"N","size":-1,"chunks":1}', b'{"nuid":"N","size":1}', b"\xff"],
)
def test_an_object_that_cannot_be_is_none(data: bytes) -> None:
    with pytest.raises(EngineAway, match="the entry cannot be read: "):
        decoded(data, StoredObject, "the entry")


def test_a_servers_reason_is_one_short_line() -> None:
    assert ServerTrouble(description="no\nsuch\x1b[2J stream" + "x" * 5000).because.startswith("no such [2J stream")
    assert len(shown("x" * 5000)) == 200
    assert decoded(b'{"error":{"code":404}}', ServerAnswer, "it").error == ServerTrouble(404)
    assert ServerTrouble().because == "without a reason"
