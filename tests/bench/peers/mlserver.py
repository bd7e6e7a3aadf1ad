"""MLServer with a runtime of its own around the session, a process a core, reloaded over its repository API."""

from __future__ import annotations

import base64
import json

from tests.bench.clips import Clip
from tests.bench.load import Answer, post
from tests.bench.peers.peer import CORES, RECOGNIZER, Peer, Place

MODEL, TENSOR = "asr", "audio"


def command(place: Place) -> list[str]:
    (place.scratch / MODEL).mkdir(parents=True, exist_ok=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": place.port,
        "grpc_port": place.port + 1,
        "metrics_port": place.port + 2,
    }
    (place.scratch / "settings.json").write_text(json.dumps(settings | {"parallel_workers": place.workers}))
    model = {"name": MODEL, "implementation": "tests.bench.peers.mlserver_runtime.Runtime"}
    model |= {"parameters": {"extra": {"link": str(place.link)}}}
    (place.scratch / MODEL / "model-settings.json").write_text(json.dumps(model))
    return [str(place.bin / "mlserver"), "start", str(place.scratch)]


def ask(port: int, clip: Clip) -> Answer:
    audio = base64.b64encode(clip.wav).decode()
    tensor = {"name": TENSOR, "shape": [1], "datatype": "BYTES", "data": [audio]}
    body, _ = post(port, f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [tensor]}).encode(), "application/json")
    text, version = (output["data"][0] for output in json.loads(body)["outputs"])
    return Answer(text, version)


def replace(place: Place) -> None:
    post(place.port, f"/v2/repository/models/{MODEL}/load", b"{}", "application/json")


PEER = Peer(
    name="mlserver",
    title="MLServer",
    requirements=("mlserver", "uvloop<0.22", *RECOGNIZER),  # its workers end in a loop with a newer uvloop
    command=command,
    ask=ask,
    replace=replace,
    parallel=CORES,
    setup="an inference process for each core, one thread each; `/v2/repository/models/asr/load`",
)
