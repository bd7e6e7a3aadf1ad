"""The API's own description fits its table of routes."""

from __future__ import annotations

import json
import re

from modelward.daemon.api.app import ROUTES
from modelward.daemon.api.openapi import ABOUT, answers_of, document


def test_describes_every_route_and_no_other() -> None:
    described = {(m.upper(), path) for path, place in document(ROUTES)["paths"].items() for m in place}
    assert described == {(method, path) for method, path, _, _ in ROUTES}


def test_every_route_says_what_it_is_for() -> None:
    assert {(method, path) for method, path, _, _ in ROUTES} - ABOUT.keys() == set()


def test_names_what_a_body_must_hold_and_what_waits() -> None:
    paths = document(ROUTES)["paths"]
    activate = paths["/v1/activate"]["post"]
    schema = activate["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["version"] and activate["requestBody"]["required"]
    assert [p["name"] for p in activate["parameters"]] == ["wait"] and "202" in activate["responses"]
    assert [p["in"] for p in paths["/v1/logs/{name}"]["get"]["parameters"]] == ["path", "query"]


def test_describes_each_answer_by_the_structure_that_is_encoded() -> None:
    described = document(ROUTES)
    schemas = described["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described))) == schemas.keys()
    assert {kind.__name__ for _, _, handler, _ in ROUTES for kind in answers_of(handler)} < schemas.keys()
    status = schemas["StatusAnswer"]
    assert status["required"] == [*status["properties"]] and "`uptime_seconds` its age" in status["description"]
    assert schemas["WorkerReport"]["properties"].keys() - {*schemas["WorkerReport"]["required"]} == {"because"}
    rollback = described["paths"]["/v1/rollback"]["post"]["responses"]
    names = [rollback[code]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] for code in rollback]
    assert dict(zip(rollback, names, strict=True)) == {
        "200": "CommandOutcome", "202": "CommandAccepted", "4XX": "ErrorAnswer", "503": "ErrorAnswer",
    }  # fmt: skip


def test_nothing_that_changes_something_is_a_get() -> None:
    for method, path, _, access in ROUTES:
        assert (method == "GET") == (access == "read"), path


def test_operations_have_names_of_their_own() -> None:
    names = [op["operationId"] for place in document(ROUTES)["paths"].values() for op in place.values()]
    assert len(names) == len(set(names))
