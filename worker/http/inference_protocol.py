"""The Open Inference Protocol over HTTP (`/v2`): health, what is served, and inference on tensors.

The model's name is the version's without its trailing version. The version's own name and the kind are accepted as
well, for clients that do not care. Inference is for models of kind tensor: speech has its own routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ..inference.loader import LoadedVersion
from ..inference.tensor_model import BadInput, TensorModel, TensorPort
from ..shared.installed_release import RELEASE
from .compressed import ENCODINGS, unpack
from .context import Service
from .errors import ApiError
from .inference import Count, run_model
from .json import as_json
from .middleware import trace_of
from .model_names import answers_to, is_version_of, split_name
from .pieces import answer
from .tensors import (
    InferRequest,
    check_size,
    known_bytes,
    read_request,
    write_answer,
)
from .unread_answers import Unread
from .upload import read_body

EXTENSIONS: Final = ("model_repository", "model_configuration", "statistics", "binary_tensor_data")
HEADER_LENGTH: Final = "inference-header-content-length"
_CONFIG_TYPES: Final = {"BYTES": "TYPE_STRING"}


async def server(request: Request) -> Response:
    """Describes this server."""
    return as_json({"name": "modelward", "version": RELEASE, "extensions": EXTENSIONS})


async def live(request: Request) -> Response:
    """200 while the process answers."""
    return as_json({"live": True})


async def ready(request: Request) -> Response:
    """200 when it takes requests."""
    service: Service = request.app.state.service
    good = service.engine.current is not None and not service.leaving() and not service.counters.refusing()
    return as_json({"ready": good}, 200 if good else 503, {} if good else {"retry-after": "1"})


async def metadata(request: Request) -> Response:
    """Inputs, outputs and the version that answers."""
    loaded = _named(request)
    inputs, outputs = _ports(loaded)
    return as_json(
        {
            "name": model_name(loaded.version, _kind(request)),
            "versions": [loaded.version],
            "platform": "onnx_onnxv1",
            "inputs": [_described(port) for port in inputs],
            "outputs": [_described(port) for port in outputs],
            "parameters": {"digest": loaded.digest, "kind": _kind(request)},
        }
    )


async def model_ready(request: Request) -> Response:
    """200 when this model answers."""
    loaded = _named(request)
    return as_json({"name": model_name(loaded.version, _kind(request)), "ready": True})


async def config(request: Request) -> Response:
    """The same in the form of Triton's model configuration."""
    loaded = _named(request)
    inputs, outputs = _ports(loaded)
    return as_json(
        {
            "name": model_name(loaded.version, _kind(request)),
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "max_batch_size": 0,
            "input": [_configured(port) for port in inputs],
            "output": [_configured(port) for port in outputs],
            "parameters": {"digest": {"string_value": loaded.digest}, "kind": {"string_value": _kind(request)}},
        }
    )


async def stats(request: Request) -> Response:
    """This worker's counts: requests answered and failed since it started, whatever the version."""
    service: Service = request.app.state.service
    loaded = _named(request)
    good = service.counters.requests - service.counters.errors
    entry = {
        "name": model_name(loaded.version, _kind(request)),
        "version": loaded.version,
        "inference_count": good,
        "execution_count": good,
        "inference_stats": {"success": {"count": good}, "fail": {"count": service.counters.errors}},
    }
    return as_json({"model_stats": [entry]})


async def infer(request: Request) -> Response:
    """Runs the model on the request's tensors."""
    service: Service = request.app.state.service

    async def read(count: Count) -> bytearray:
        return await read_body(
            request,
            max_bytes=service.settings.max_upload_bytes,
            count=count,
            seconds=service.settings.request_timeout_seconds,
        )

    async def job(body: bytearray, loaded: LoadedVersion) -> Response:
        _check_name(request, loaded)
        if not isinstance(loaded.model, TensorModel):
            raise ApiError(
                400, f"cannot infer: {loaded.version} takes audio; ask at /api/predict or under /v1", "wrong_kind"
            )
        return await _run(request, service, body, loaded, loaded.model)

    _, answer = await run_model(request, verb="infer", read=read, job=job)
    return answer


async def _run(
    request: Request, service: Service, body: bytearray, loaded: LoadedVersion, model: TensorModel
) -> Response:
    work, encoding, json_bytes = service.work, _encoding(request), _json_bytes(request)

    def read(go_on: Callable[[], None]) -> InferRequest:
        whole = body if encoding is None else unpack(body, encoding, service.settings.max_upload_bytes, go_on)
        return read_request(whole, json_bytes, model.inputs, model.outputs)

    options = model.options()
    try:
        async with work.reserved(len(body) if encoding is None else service.settings.max_upload_bytes) as became:
            wanted = await work.stoppable(read)
            became(wanted.bytes)
            _allow(service, request, known_bytes(wanted, model.outputs))
            answers = await work.infer(lambda threads: model.infer(wanted.feeds, tuple(wanted.outputs), options))
            _allow(service, request, sum(array.nbytes for array in answers))
            head = {
                "model_name": model_name(loaded.version, _kind(request)),
                "model_version": loaded.version,
                "parameters": {"digest": loaded.digest},
            }
            parts = await work.decode(write_answer, head, wanted, model.outputs, answers)
    except BadInput as e:
        raise ApiError(400, str(e), "bad_input") from e
    finally:
        # Only needed while it still runs: its answer is not awaited any more.
        options.terminate = True
    if len(parts) == 1:
        return answer(parts, {}, "application/json")
    return answer(parts, {HEADER_LENGTH: str(len(parts[0]))}, "application/octet-stream")


def _allow(service: Service, request: Request, size: int) -> None:
    """Allows an answer of this size. Raises ApiError 400 when it is too large, 503 when too much is unread."""
    check_size(size)
    try:
        service.answers.allow(trace_of(request.scope), size)
    except Unread as e:
        service.refusing.refused(str(e))
        raise ApiError(503, str(e), "busy") from e


def model_name(version: str, kind: str) -> str:
    """The name of a model, whatever its version."""
    return split_name(version)[0] or kind


def _named(request: Request) -> LoadedVersion:
    """The served version, if the path names it. Raises ApiError 404, 503 (as NoModel)."""
    service: Service = request.app.state.service
    loaded = service.engine.take()
    trace_of(request.scope).took(loaded)
    _check_name(request, loaded)
    return loaded


def _check_name(request: Request, loaded: LoadedVersion) -> None:
    name: str | None = request.path_params.get("model")
    version: str | None = request.path_params.get("version")
    if name is None:
        return
    if name != _kind(request) and not answers_to(name, loaded.version):
        served = f"{model_name(loaded.version, _kind(request))} (version {loaded.version})"
        raise ApiError(404, f"cannot find the model {name[:100]!r}: {served} is served", "not_found")
    if version is not None and not is_version_of(version, loaded.version):
        raise ApiError(
            404, f"cannot find version {version[:100]!r} of {name[:100]}: {loaded.version} is served", "not_found"
        )


def _ports(loaded: LoadedVersion) -> tuple[tuple[TensorPort, ...], tuple[TensorPort, ...]]:
    return (loaded.model.inputs, loaded.model.outputs) if isinstance(loaded.model, TensorModel) else ((), ())


def _described(port: TensorPort) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": port.shape}


def _configured(port: TensorPort) -> dict[str, Any]:
    kind = _CONFIG_TYPES.get(port.datatype, f"TYPE_{port.datatype}")
    return {"name": port.name, "data_type": kind, "dims": port.shape}


def _kind(request: Request) -> str:
    service: Service = request.app.state.service
    return service.settings.kind


def _encoding(request: Request) -> int | None:
    name = request.headers.get("content-encoding", "identity").strip().lower()
    if name == "identity":
        return None
    if name not in ENCODINGS:
        raise ApiError(
            415, f"cannot read the request: its encoding is {name[:40]!r}, not gzip or deflate", "bad_request"
        )
    return ENCODINGS[name]


def _json_bytes(request: Request) -> int | None:
    text = request.headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError(400, f"cannot read the request: {HEADER_LENGTH} is {text[:40]!r}", "bad_request")
    return int(text)
