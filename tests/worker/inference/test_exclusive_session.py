"""A model opened once more for lone runs: beside, once, and never in the way."""

from __future__ import annotations

import threading

from tests.support import PATIENCE_SECONDS, eventually

from modelward.worker.inference.exclusive_session import Lone


def test_it_is_opened_when_first_wanted_and_the_usual_one_answers_until_it_is_there() -> None:
    may, opened = threading.Event(), []

    def open_warm() -> str:
        opened.append(1)
        assert may.wait(PATIENCE_SECONDS)
        return "the model"

    lone = Lone(4, open_warm, lambda text: None)
    assert opened == []
    assert [lone.threads() for _ in range(3)] == [1, 1, 1]
    assert lone.model is None
    may.set()
    eventually(lambda: lone.model == "the model")
    assert (lone.threads(), opened) == (4, [1])


def test_one_that_cannot_be_opened_is_said_once_and_not_tried_at_each_request() -> None:
    said: list[str] = []

    def open_warm() -> str:
        raise ValueError("no memory")

    lone = Lone(4, open_warm, said.append)
    assert lone.threads() == 1
    eventually(lambda: said)
    assert [lone.threads() for _ in range(3)] == [1, 1, 1]
    assert said == ["cannot use 4 threads for a lone run: no memory; one answers"]
