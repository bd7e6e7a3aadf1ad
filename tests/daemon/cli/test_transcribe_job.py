"""What `transcribe --job` makes of the answers about a job."""

from __future__ import annotations

from typing import Any

import pytest

from modelward.daemon.cli.transcribe_job import outcome_of
from modelward.daemon.errors import Refused, Unreachable

JOB = "/v1/jobs/j1"


class Service:
    """Answers by path; `asked` is what was asked for, in order."""

    def __init__(self, **answers: tuple[int, dict[str, Any]]) -> None:
        self.answers, self.asked = answers, []

    def ask(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(f"{method} {path}")
        return self.answers["result" if path.endswith("/result") else "job"]


def test_a_result_that_is_too_large_for_the_job_is_fetched_from_its_own_address() -> None:
    service = Service(job=(200, {"state": "done"}), result=(200, {"result": "12"}))
    result, remove = outcome_of({"id": "j1"}, "a.wav", service.ask, patience_seconds=60)
    assert result == {"result": "12"} and service.asked == [f"GET {JOB}", f"GET {JOB}/result"]
    remove()
    assert service.asked[-1] == f"DELETE {JOB}"


def test_a_result_that_cannot_be_fetched_stays_and_the_message_names_where() -> None:
    service = Service(job=(200, {"state": "done"}), result=(503, {}))
    with pytest.raises(Refused, match=f"the service answers 503; {JOB}/result has it"):
        outcome_of({"id": "j1"}, "a.wav", service.ask, patience_seconds=60)
    assert not [asked for asked in service.asked if asked.startswith("DELETE")]


def test_a_job_that_failed_is_refused_with_its_reason_and_removed() -> None:
    service = Service(job=(200, {"state": "failed", "error": {"message": "cannot transcribe: no disk"}}))
    with pytest.raises(Refused, match="cannot transcribe a.wav: no disk"):
        outcome_of({"id": "j1"}, "a.wav", service.ask, patience_seconds=60)
    assert service.asked[-1] == f"DELETE {JOB}"


def _nobody(method: str, path: str) -> tuple[int, dict[str, Any]]:
    raise Unreachable("cannot reach the service at x: refused")


def test_a_service_that_is_away_leaves_the_job_and_the_message_names_the_command_that_takes_it_up() -> None:
    with pytest.raises(Unreachable, match="refused; the job goes on: modelward transcribe --resume j1"):
        outcome_of({"id": "j1"}, "a.wav", _nobody, patience_seconds=0)


@pytest.mark.parametrize(("taken_up", "removed"), [(False, True), (True, False)])
def test_an_interrupted_command_removes_the_job_that_it_sent_and_no_other(taken_up: bool, removed: bool) -> None:
    asked = []

    def interrupted(method: str, path: str) -> tuple[int, dict[str, Any]]:
        asked.append(method)
        if method == "GET":
            raise KeyboardInterrupt
        return 200, {}

    with pytest.raises(KeyboardInterrupt):
        outcome_of({"id": "j1"}, "a.wav", interrupted, patience_seconds=60, taken_up=taken_up)
    assert ("DELETE" in asked) == removed
