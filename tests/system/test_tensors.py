"""A whole house that serves tensors, worked through Triton's own client: gates, rollout, repository, load, unload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tests.house import House
from tests.support import PATIENCE_SECONDS
from tests.system.conftest import Build
from tests.versions import tensor_version
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def house(build_shared: Build) -> House:
    house = build_shared(models={"kind": "tensor", "activation": "manual"})
    for number in (1, 2):
        tensor_version(house.models, f"adder-v{number}", number=float(number))
    broken = tensor_version(house.models, "adder-v3")
    (broken / "model.onnx").write_bytes(b"nothing of the kind")
    house.start()
    for number, state in ((1, "accepted"), (2, "accepted"), (3, "rejected")):
        house.await_state(f"adder-v{number}", state)
    house.command("activate", version="adder-v1")
    house.await_serving("adder-v1")
    return house


@pytest.fixture
def client(house: House) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(
        f"127.0.0.1:{house.port}", network_timeout=PATIENCE_SECONDS, connection_timeout=PATIENCE_SECONDS
    ) as client:
        yield client


def answer(client: triton.InferenceServerClient) -> float:
    given = triton.InferInput("x", [1, 3], "FP32")
    given.set_data_from_numpy(np.zeros((1, 3), dtype=np.float32))
    return float(client.infer("adder", [given]).as_numpy("y")[0, 1])


def states(client: triton.InferenceServerClient) -> dict[str, str]:
    return {entry["version"]: entry["state"] for entry in client.get_model_repository_index()}


def test_the_index_has_every_version_with_its_state_and_reason(client: triton.InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    assert {entry["name"] for entry in index} == {"adder"}
    assert states(client) == {"adder-v1": "READY", "adder-v2": "UNAVAILABLE", "adder-v3": "UNAVAILABLE"}
    reasons = {entry["version"]: entry["reason"] for entry in index}
    assert reasons["adder-v1"] == "" and reasons["adder-v2"] == "accepted, not live"
    assert "model.onnx" in reasons["adder-v3"]


def test_load_brings_a_version_into_service_and_back(house: House, client: triton.InferenceServerClient) -> None:
    assert answer(client) == 1
    client.load_model("adder-v2")
    assert answer(client) == 2 and states(client)["adder-v2"] == "READY"
    assert house.status()["live"] == "adder-v2"
    client.load_model("adder-v1")
    assert answer(client) == 1


def test_a_models_name_leaves_the_choice_to_the_daemon(client: triton.InferenceServerClient) -> None:
    client.load_model("adder")
    assert answer(client) == 1


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [("adder-v3", "409", "model.onnx"), ("adder-v9", "404", "no such"), ("subtractor", "404", "no such")],
)
def test_what_cannot_be_loaded_says_why_and_changes_nothing(
    client: triton.InferenceServerClient, name: str, status: str, reason: str
) -> None:
    with pytest.raises(InferenceServerException, match=reason) as caught:
        client.load_model(name)
    assert caught.value.status() == status and answer(client) == 1


def test_what_is_served_is_not_unloaded(client: triton.InferenceServerClient) -> None:
    for name in ("adder-v1", "adder"):
        with pytest.raises(InferenceServerException, match="adder-v1 serves; load another version") as caught:
            client.unload_model(name)
        assert caught.value.status() == "409"
    client.unload_model("adder-v2")
    with pytest.raises(InferenceServerException, match="no such"):
        client.unload_model("adder-v9")
    assert answer(client) == 1


def test_a_version_cannot_be_sent_along_with_its_load(client: triton.InferenceServerClient, tmp_path: Path) -> None:
    with pytest.raises(InferenceServerException, match="with parameters"):
        client.load_model("adder-v2", config="{}", files={"file:1/model.onnx": b"x"})
    assert answer(client) == 1
