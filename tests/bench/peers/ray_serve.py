"""Ray Serve, two replicas, which take another version by `reconfigure`: the application is deployed anew with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from tests.bench.peers.peer import (
    CORES,
    RECOGNIZER,
    Peer,
    Place,
    asked_by_form,
    itself,
)


def serve(link: str, port: int, replicas: int) -> None:
    import ray
    from ray import serve
    from starlette.requests import Request
    from tests.bench.peers.recognizer import Recognizer

    class Asr:
        def reconfigure(self, config: dict[str, str]) -> None:
            self.recognizer = Recognizer(config["version"], 1)

        async def __call__(self, request: Request) -> dict[str, str]:
            import asyncio

            form = await request.form()
            audio = await form["audio"].read()
            text = await asyncio.to_thread(self.recognizer.text, audio)
            return {"result": text, "version": self.recognizer.version}

    deployment = serve.deployment(
        Asr, num_replicas=replicas, max_ongoing_requests=2, ray_actor_options={"num_cpus": 0.5}
    )
    ray.init(num_cpus=replicas, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    again = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: again.set())
    Path("driver.pid").write_text(str(os.getpid()))
    while True:
        again.clear()
        serve.run(deployment.options(user_config={"version": str(Path(link).resolve())}).bind(), route_prefix="/")
        while not again.wait(1.0):
            pass


def replace(place: Place) -> None:
    os.kill(int((place.scratch / "driver.pid").read_text()), signal.SIGHUP)


PEER = Peer(
    name="ray",
    title="Ray Serve",
    requirements=("ray[serve]", "python-multipart", *RECOGNIZER),
    command=itself("tests.bench.peers.ray_serve"),
    ask=asked_by_form("/"),
    replace=replace,
    parallel=CORES,
    setup="a replica for each core, one thread each; `serve.run` with another `user_config`",
    environment={"RAY_USAGE_STATS_ENABLED": "0"},
)

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
