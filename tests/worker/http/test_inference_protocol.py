"""Triton's own Python client against real workers that serve tensors, and the protocol's edges in plain HTTP."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import onnx
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper
from tests import asking
from tests.support import PATIENCE_SECONDS
from tests.versions import tensor_version
from tests.worker.http.serving import serving
from tests.worker.running import (
    Worker,
    digits,
    sealed,
    worker,
)
from tests.worker.tensor_models import save, typed_version
from tritonclient.utils import InferenceServerException

from modelward.worker import protocol as p


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    root = tmp_path_factory.mktemp("adder")
    artifact = sealed(tensor_version(root, ".tmp-adder", number=7.0), "adder-v1.2", "tensor")
    with worker(root, artifact, kind="tensor", max_upload_bytes=1 << 20) as running:
        yield running


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    root = tmp_path_factory.mktemp("typed")
    with worker(root, sealed(typed_version(root / ".tmp-typed"), "typed", "tensor"), kind="tensor") as running:
        yield running


def client_of(running: Worker) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(
        running.url.removeprefix("http://"), network_timeout=PATIENCE_SECONDS, connection_timeout=PATIENCE_SECONDS
    )


@pytest.fixture
def client(adder: Worker) -> Iterator[triton.InferenceServerClient]:
    with client_of(adder) as client:
        yield client


def put(name: str, array: Any, datatype: str, *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


ROWS = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
SUMS = [[6, 7], [15, 7]]


def test_it_is_alive_ready_and_says_what_it_serves(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    for name, version in (
        ("adder", ""),
        ("adder", "v1.2"),
        ("adder", "1.2"),
        ("adder-v1.2", "adder-v1.2"),
        ("tensor", ""),
    ):
        assert client.is_model_ready(name, version)
        told = client.get_model_metadata(name, version)
        assert (told["name"], told["versions"], told["platform"]) == ("adder", ["adder-v1.2"], "onnx_onnxv1")
        assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
        assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]


def test_another_model_or_version_is_not_found(client: triton.InferenceServerClient) -> None:
    for name, version in (("subtractor", ""), ("adder", "v1.3"), ("adder-v1.3", "")):
        assert not client.is_model_ready(name, version)
        for ask in (
            lambda name=name, version=version: client.get_model_metadata(name, version),
            lambda name=name, version=version: client.infer(name, [put("x", ROWS, "FP32")], version),
        ):
            with pytest.raises(
                InferenceServerException, match=r"adder.*adder-v1.2.* is served|adder-v1.2 is served"
            ) as e:
                ask()
            assert e.value.status() == "404"


def test_has_a_configuration_and_counts(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("adder")
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3]}]
    before = client.get_inference_statistics("adder")["model_stats"][0]["inference_count"]
    client.infer("adder", [put("x", ROWS, "FP32")])
    assert client.get_inference_statistics()["model_stats"][0]["inference_count"] == before + 1


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_infers(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool | None, packed: str | None
) -> None:
    outputs = None if binary_out is None else [triton.InferRequestedOutput("y", binary_data=binary_out)]
    answer = client.infer(
        "adder",
        [put("x", ROWS, "FP32", binary=binary_in)],
        outputs=outputs,
        request_id="seven",
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    assert answer.as_numpy("y").tolist() == SUMS
    told = answer.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("seven", "adder", "adder-v1.2")
    assert len(told["parameters"]["digest"]) == 64
    assert ("data" in told["outputs"][0]) is (binary_out is False)


def test_an_empty_batch_is_a_batch(client: triton.InferenceServerClient) -> None:
    assert client.infer("adder", [put("x", ROWS[:0], "FP32")]).as_numpy("y").shape == (0, 2)


def test_many_requests_at_once_are_all_answered(adder: Worker) -> None:
    with triton.InferenceServerClient(
        adder.url.removeprefix("http://"), concurrency=8, network_timeout=PATIENCE_SECONDS
    ) as client:
        asked = [client.async_infer("adder", [put("x", ROWS + i, "FP32")]) for i in range(40)]
        answers = [a.get_result().as_numpy("y")[0, 0] for a in asked]
    assert answers == [6 + 3 * i for i in range(40)]


NUMBERS = {
    "BOOL": np.array([True, False]),
    **{f"{s}INT{b}": np.array([1, 2], f"{s.lower()}int{b}") for s in ("", "U") for b in (8, 16, 32, 64)},
    "FP16": np.array([1.5, -2], np.float16),
    "FP32": np.array([1.5, -2], np.float32),
    "FP64": np.array([1.5, -2], np.float64),
}


@pytest.mark.parametrize("binary", [True, False])
def test_every_type_comes_back_as_it_went(typed: Worker, binary: bool) -> None:
    arrays = {**NUMBERS, "BYTES": np.array(["plain", "声音"], dtype=np.object_)}
    with client_of(typed) as client:
        inputs = [put(name, array, name, binary=binary or name == "FP16") for name, array in arrays.items()]
        outputs = [triton.InferRequestedOutput(f"{name}_out", binary_data=binary) for name in arrays]
        answer = client.infer("typed", inputs, outputs=outputs)
        for name, array in arrays.items():
            came = answer.as_numpy(f"{name}_out")
            if name == "BYTES":
                assert [t.decode() if isinstance(t, bytes) else t for t in came] == array.tolist()
            else:
                assert came.tolist() == array.tolist() and came.dtype == array.dtype


def test_brain_floats_come_back_as_they_went(tmp_path: Path) -> None:
    aside = save(
        tmp_path / ".tmp-b",
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)],
        [helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["N"])],
        [
            helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["N"]),
            helper.make_tensor_value_info("f", TensorProto.FLOAT, ["N"]),
        ],
    )
    array = np.array([1.5, -2, 0], ml_dtypes.bfloat16)
    with worker(tmp_path, sealed(aside, "b-v1", "tensor"), kind="tensor") as running, client_of(running) as client:
        answer = client.infer("b", [put("x", array, "BF16")])
        assert answer.as_numpy("y").tolist() == answer.as_numpy("f").tolist() == [1.5, -2, 0]
        assert client.infer("b", [put("x", array[:0], "BF16")]).as_numpy("y").shape == (0,)


def test_inputs_the_model_chokes_on_are_the_clients_mistake(tmp_path: Path) -> None:
    """One input is an index into a table of three: the graph can't say so, and fails beyond."""
    aside = save(
        tmp_path / ".tmp-g",
        [helper.make_node("Gather", ["t", "i"], ["y"])],
        [
            helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("i", TensorProto.INT64, ["M"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M"])],
    )
    with worker(tmp_path, sealed(aside, "g-v1", "tensor"), kind="tensor") as running, client_of(running) as client:
        table = put("t", np.arange(3, dtype=np.float32), "FP32")
        assert client.infer("g", [table, put("i", np.array([2]), "INT64")]).as_numpy("y").tolist() == [2]
        with pytest.raises(InferenceServerException, match="cannot run the model") as e:
            client.infer("g", [table, put("i", np.array([99]), "INT64")])
        assert e.value.status() == "400"
        assert running.daemon.wait_for(p.Beat) and running.daemon.told(p.Beat)[-1].errors == 0


def ask(running: Worker, body: bytes, path: str = "/v2/models/adder/infer", **headers: str) -> httpx.Response:
    return asking.post(running.url + path, content=body, headers=headers)


GOOD = json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"", {}, 400, "JSON is wrong"),
        (b"nonsense", {}, 400, "JSON is wrong"),
        (GOOD, {"inference-header-content-length": "x"}, 400, "inference-header-content-length"),
        (GOOD, {"inference-header-content-length": "-1"}, 400, "inference-header-content-length"),
        (GOOD, {"inference-header-content-length": "9999"}, 400, "Content-Length is 9999"),
        (GOOD, {"inference-header-content-length": "10"}, 400, "JSON is wrong"),
        (GOOD, {"content-encoding": "br"}, 415, "encoding"),
        (GOOD, {"content-encoding": "gzip"}, 400, "damaged"),
        (gzip.compress(GOOD)[:-9], {"content-encoding": "gzip"}, 400, "ends early"),
        (gzip.compress(GOOD) + b"no gzip header", {"content-encoding": "gzip"}, 400, "damaged"),
        (gzip.compress(b"") * 200, {"content-encoding": "gzip"}, 400, "hold next to nothing"),
        (gzip.compress(bytes(3 << 20)), {"content-encoding": "gzip"}, 413, "larger than 1048576"),
        (zlib.compress(bytes(3 << 20)), {"content-encoding": "deflate"}, 413, "larger than 1048576"),
        (bytes(2 << 20), {}, 413, "larger than 1048576"),
    ],
    ids=range(14),
)
def test_bad_bodies_are_refused_in_the_protocols_words(
    adder: Worker, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = ask(adder, body, **headers)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"} and reason in answer.json()["error"]
    assert answer.json()["error"].startswith("cannot")
    good = ask(adder, GOOD)
    assert good.json()["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [6, 7]}]


def test_a_body_packed_in_two_parts_is_one_body(adder: Worker) -> None:
    packed = gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:])
    assert ask(adder, packed, **{"content-encoding": "gzip"}).status_code == 200


def test_a_body_packed_in_many_parts_that_hold_something_is_one_body(adder: Worker) -> None:
    parts = [GOOD, *[b" " * 1000] * 300]
    assert ask(adder, b"".join(map(gzip.compress, parts)), **{"content-encoding": "gzip"}).status_code == 200


def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    version = save(
        tmp_path / "aside",
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
    )
    numbers = np.random.default_rng(1).random(3_000_001, np.float32)
    with (
        worker(tmp_path / "w", sealed(version, "same-v1", "tensor"), kind="tensor") as running,
        client_of(running) as client,
    ):
        for _ in range(2):  # the connection is good for another request
            answer = client.infer("same", [put("x", numbers, "FP32")])
            assert np.array_equal(answer.as_numpy("y"), numbers)


def test_every_answer_says_which_version_gave_it(adder: Worker) -> None:
    for answer in (ask(adder, GOOD), ask(adder, b""), asking.get(adder.url + "/v2/models/adder")):
        assert answer.headers["x-model-version"] == "adder-v1.2" and len(answer.headers["x-model-digest"]) == 64


def test_tensors_are_not_transcribed(adder: Worker) -> None:
    for path in ("/api/predict", "/v1/audio/transcriptions"):
        answer = asking.post(adder.url + path, files={"audio": b"x", "file": b"x"})
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "wrong_kind"


def test_speech_has_health_and_metadata_and_says_where_to_go(tmp_path: Path) -> None:
    with worker(tmp_path, digits()) as running, client_of(running) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("dtmf")
        assert client.get_model_metadata("sensevoice")["versions"] == ["dtmf-v1.0"]
        refused = ask(running, GOOD, "/v2/models/dtmf/infer")
        assert refused.status_code == 400 and "/api/predict" in refused.json()["error"]


def test_without_a_model_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path, version="") as served:
        assert asking.get(served.url + "/v2/health/live").json() == {"live": True}
        ready = asking.get(served.url + "/v2/health/ready")
        assert (ready.status_code, ready.json(), ready.headers["retry-after"]) == (503, {"ready": False}, "1")
        assert asking.get(served.url + "/v2").json()["name"] == "modelward"
        for ask_for in ("/v2/models/x", "/v2/models/x/ready", "/v2/models/stats"):
            answer = asking.get(served.url + ask_for)
            assert answer.status_code == 503 and "no model is loaded" in answer.json()["error"]


def test_errors_of_the_edge_are_in_the_protocols_words_too(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        refused = asking.get(served.url + "/v2")
        assert refused.status_code == 401 and "bearer token" in refused.json()["error"]
        known = {"authorization": "Bearer secret"}
        missing = asking.get(served.url + "/v2/nothing", headers=known)
        assert missing.status_code == 404 and "/v2/nothing" in missing.json()["error"]


def test_onnx_knows_the_number_we_use_for_brain_floats() -> None:
    from modelward.worker.inference import tensor_model

    assert tensor_model._ONNX_BFLOAT16 == onnx.TensorProto.BFLOAT16


def test_without_a_daemon_the_index_is_what_the_worker_knows_and_nothing_is_loaded(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        index = asking.post(served.url + "/v2/repository/index")
        assert index.json() == [{"name": "v1", "version": "v1", "state": "READY", "reason": ""}]
        for verb in ("load", "unload"):
            refused = asking.post(f"{served.url}/v2/repository/models/v1/{verb}")
            assert refused.status_code == 503 and "api.sock" in refused.json()["error"]


@pytest.mark.parametrize("path", ["index", "models/v1/load", "models/v1/unload"])
def test_the_repository_is_for_this_machine_only(tmp_path: Path, path: str) -> None:
    with serving(tmp_path) as served:
        refused = asking.post(f"{served.url}/v2/repository/{path}", headers={"x-forwarded-for": "127.0.0.1"})
        assert refused.status_code == 403 and refused.json()["error"].startswith("cannot")
        too_large = asking.post(f"{served.url}/v2/repository/{path}", content=bytes(100_000))
        assert too_large.status_code == 413
        assert asking.post(f"{served.url}/v2/repository/{path}", content=b"[1]").status_code == 400
