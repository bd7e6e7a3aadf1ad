"""LitServe, a worker a core. It has no way to change a model: it is stopped (SIGINT, its graceful end) and started."""

from __future__ import annotations

import base64
import json
import sys

from tests.bench.clips import Clip
from tests.bench.load import Answer, post
from tests.bench.peers.peer import CORES, RECOGNIZER, Peer, itself


def serve(link: str, port: int, workers: int) -> None:
    import litserve
    from tests.bench.peers.litserve_api import Api

    server = litserve.LitServer(Api(link), accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


def ask(port: int, clip: Clip) -> Answer:
    body, _ = post(
        port, "/predict", json.dumps({"audio": base64.b64encode(clip.wav).decode()}).encode(), "application/json"
    )
    said = json.loads(body)
    return Answer(said["result"], said["version"])


PEER = Peer(
    name="litserve",
    title="LitServe",
    requirements=("litserve", *RECOGNIZER),
    command=itself("tests.bench.peers.litserve"),
    ask=ask,
    replace=None,
    parallel=CORES,
    setup="a worker for each core, one thread each; stopped and started",
)

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
